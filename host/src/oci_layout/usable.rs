//! From what a directory says of a cache to what a builder can use of it: a
//! layer that nobody can use costs the steps that need it, and not the cache.
//!
//! BuildKit does the same where it reads such a directory: the steps whose
//! layers it does not know run again.

use std::fmt;
use std::path::Path;

use super::{LayoutError, NotAssembled, blob_path, damaged, document::Draft};
use crate::{Digest, Manifest};

/// What can be used of a cache in a directory.
#[derive(Debug, Clone)]
pub struct Usable {
    /// The cache, one that BuildKit could use
    /// ([`Manifest::validate_for_buildkit`]).
    pub manifest: Manifest,
    /// The layers that nobody can use, in their order. Those that lie on them
    /// went too, and are not named.
    pub left_out: Vec<LeftOut>,
    /// How many layers went, with those that lie on them.
    pub layers_left_out: usize,
    /// How many records lost their result.
    pub records: usize,
}

/// A layer that nobody can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its place among the layers, from 0.
    pub layer: usize,
    /// What the directory calls its blob.
    pub blob: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob: String = self.blob.chars().take(100).collect();
        write!(f, "layer {}, {blob}, {}", self.layer, self.reason)
    }
}

/// Takes out of a draft what nobody can use. `config` is the file that the draft
/// was read from.
///
/// # Errors
/// When the rest does not hold together, or there is no rest.
pub(super) fn usable(root: &Path, config: &Path, draft: Draft) -> Result<Usable, LayoutError> {
    let is_here = |blob: &Digest| blob_path(root, blob).exists();
    of_draft(draft, &is_here).map_err(|error| match error {
        NotAssembled::Damaged { reason, .. } => damaged(config, reason),
        NotAssembled::Manifest(error) => error.into(),
        other => damaged(config, other),
    })
}

/// Takes out of a draft what nobody can use, where `is_here` tells which blobs are
/// there.
///
/// # Errors
/// When the rest does not hold together, or there is no rest.
pub(super) fn of_draft(
    draft: Draft,
    is_here: &dyn Fn(&Digest) -> bool,
) -> Result<Usable, NotAssembled> {
    let Draft {
        manifest,
        mut unusable,
    } = draft;
    for (index, error) in manifest.unfit_for_buildkit() {
        if unusable.iter().all(|left_out| left_out.layer != index) {
            let (blob, error) = (manifest.layers[index].blob.to_string(), error.to_string());
            let named = format!("layer {index}, {blob}, ");
            let reason = error.strip_prefix(&named).unwrap_or(&error).to_owned();
            unusable.push(LeftOut {
                layer: index,
                blob,
                reason,
            });
        }
    }
    for (index, layer) in manifest.layers.iter().enumerate() {
        // Builders keep such a layer where it comes from, so that its bytes need
        // not be here.
        let is_elsewhere = is_not_distributable(&layer.media_type)
            && !is_here(&layer.blob)
            && unusable.iter().all(|left_out| left_out.layer != index);
        if is_elsewhere {
            unusable.push(LeftOut {
                layer: index,
                blob: layer.blob.to_string(),
                reason: "is one that may not be distributed, and its bytes are not in the \
                         directory"
                    .to_owned(),
            });
        }
    }
    if unusable.is_empty() {
        manifest.validate_for_buildkit()?;
        return Ok(Usable {
            manifest,
            left_out: unusable,
            layers_left_out: 0,
            records: 0,
        });
    }
    unusable.sort_by_key(|left_out| left_out.layer);
    let pruned = manifest.without(|index, _| {
        let found = unusable.binary_search_by_key(&index, |left_out| left_out.layer);
        found.is_ok()
    })?;
    if pruned.manifest.layers.is_empty() {
        let reason = format!("none of its layers can be used: {}", unusable[0]);
        return Err(NotAssembled::Damaged {
            document: None,
            reason,
        });
    }
    pruned.manifest.validate_for_buildkit()?;
    Ok(Usable {
        manifest: pruned.manifest,
        left_out: unusable,
        layers_left_out: pruned.layers.len(),
        records: pruned.records,
    })
}

fn is_not_distributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
}
