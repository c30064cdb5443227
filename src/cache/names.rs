//! Names as arguments: where the manifest of a name is, and loading it alone.
//!
//! BuildKit makes keys of names by Go's path rules, so `a//b` and `a/b` are one
//! name. A name that those rules lead out of the manifests' folder is refused.

use super::Cache;
use super::layout::BlobKey;
use super::manifest::Manifest;
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::Transport;

/// A manifest, and the version in which it was read.
pub(crate) struct Named {
    pub(crate) manifest: Manifest,
    /// The ETag.
    pub(crate) version: String,
}

impl<T: Transport> Cache<T> {
    /// The names that the attributes give, in their order.
    pub(crate) fn configured_names(&self) -> &[String] {
        &self.config.names
    }

    /// Loads one manifest, and looks for none of its layers. None where the
    /// store has no such name.
    pub(crate) async fn load_name(&self, name: &str) -> Result<Option<Named>, Error> {
        let key = self.key_of(name)?;
        let Some((parsed, version)) = self.load(&self.blobs(), &key).await? else {
            return Ok(None);
        };
        // Whoever asks for a manifest alone is not told of layers to leave out.
        match parsed.unusable.first() {
            Some(unusable) => Err(self.damaged(&key, unusable)),
            None => Ok(Some(Named {
                manifest: parsed.manifest,
                version,
            })),
        }
    }

    /// The key of a name that the host chose.
    pub(super) fn key_of(&self, name: &str) -> Result<BlobKey, Error> {
        let layout = &self.config.layout;
        let refused = |why: &str| Error::Other(format!("the name `{name}` cannot be used: {why}"));
        if name.is_empty() {
            return Err(refused("it is empty"));
        }
        layout
            .check(&[name.to_owned()])
            .map_err(|(_, why)| refused(&why))?;
        let key = layout.manifest(name);
        let is_below = |folder: String| {
            let rest = key.as_str().strip_prefix(&*folder)?;
            (!rest.is_empty()).then_some(rest)
        };
        if is_below(layout.manifests_begin_with()).is_none() {
            return Err(refused("its key would be outside of the manifests' folder"));
        }
        // Prefixes may nest.
        if is_below(layout.blobs_begin_with()).is_some_and(|rest| rest.parse::<Digest>().is_ok()) {
            return Err(refused("its key would be that of a layer"));
        }
        Ok(key)
    }
}
