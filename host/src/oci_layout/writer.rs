//! Writes a cache into a directory, so that a reader finds the old cache or the
//! new one at every moment, and nothing half-written under a final name.
//!
//! Every file comes in by way of `ingest/`, blobs first and `index.json` last.
//! Several writers do each other no harm: blobs are what their names say
//! no matter which program writes them, and `index.json` is read, changed and replaced under a
//! lock.

use std::fs;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};

use super::document::LAYOUT;
use super::files::{blocking, check_folders, damaged, failed, hash_file};
use super::incoming::{IncomingBlob, remove_stale, replace, sync_names};
use super::index::Index;
use super::lock::IndexLock;
use super::{
    BUILDKIT_JSON_BYTES, Documents, INDEX_FILE, LayoutError, at_once, blob_path, blobs, check_size,
    distinct, read_index,
};
use crate::{Digest, Layer, Manifest};

/// How closely to look at a layer's blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Its size, which costs nothing.
    Size,
    /// Its size and its bytes, all of which are read.
    Digest,
}

/// A BuildKit cache directory, to write to.
#[derive(Debug, Clone)]
pub struct LayoutWriter {
    root: PathBuf,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The digest of the cache's manifest, as `digest=` of `--cache-from` takes.
    pub manifest: Digest,
    /// What the user should know.
    pub warnings: Vec<LayoutWarning>,
}

/// Something that the user should know of a cache that was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutWarning {
    /// The directory's `index.json` could not be used, and was replaced: the
    /// tags that it held are gone.
    #[error(
        "{reason}; it was replaced, so that other tags that the directory had are gone: pull them \
         again"
    )]
    IndexReplaced {
        /// What was wrong with it; names the file.
        reason: String,
    },
    /// The cache is whole, but BuildKit will not read it from a directory.
    #[error(
        "the cache's {what} has {bytes} bytes, and BuildKit reads no more than {BUILDKIT_JSON_BYTES} \
         from a local directory: a build from there will run without this cache"
    )]
    TooLargeForBuildKit {
        /// `manifest` or `config`.
        what: &'static str,
        /// Its size.
        bytes: u64,
    },
}

impl LayoutWriter {
    /// Makes `dir` ready to write to, with all directories above it, and
    /// removes what earlier writers of ours left unfinished for a day.
    ///
    /// # Errors
    /// When that is not possible. An `index.json` that cannot be used is none: it
    /// will be replaced ([`LayoutWarning::IndexReplaced`]).
    pub async fn create(dir: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let root = dir.into();
        blocking(move || {
            check_folders(&root)?;
            let writer = Self { root };
            for dir in [blobs(&writer.root), writer.ingest()] {
                let made = fs::create_dir_all(&dir).and_then(|()| sync_names(&dir));
                made.map_err(failed("create", &dir))?;
            }
            let index = writer.root.join(INDEX_FILE);
            if fs::symlink_metadata(&index).is_ok_and(|found| found.is_dir()) {
                return Err(damaged(&index, "it is a directory: remove it"));
            }
            remove_stale(&writer.ingest());
            Ok(writer)
        })
        .await
    }

    /// The layers of `manifest`, one for each blob, that are not there or not
    /// whole.
    ///
    /// # Errors
    /// When BuildKit could not use the cache
    /// ([`Manifest::validate_for_buildkit`]), or a file cannot be read.
    pub async fn missing(
        &self,
        manifest: &Manifest,
        check: Check,
    ) -> Result<Vec<Layer>, LayoutError> {
        manifest.validate_for_buildkit()?;
        let layers = distinct(manifest).into_iter().map(|layer| {
            let root = self.root.clone();
            blocking(move || Ok((!is_whole(&root, &layer, check)?).then_some(layer)))
        });
        let missing = stream::iter(layers)
            .buffered(at_once())
            .try_collect::<Vec<_>>()
            .await?;
        Ok(missing.into_iter().flatten().collect())
    }

    /// Starts a layer's blob.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub async fn begin(&self, layer: &Layer) -> Result<IncomingBlob, LayoutError> {
        let (ingest, path) = (self.ingest(), blob_path(&self.root, &layer.blob));
        let layer = layer.clone();
        blocking(move || IncomingBlob::create(&ingest, &layer, path)).await
    }

    /// Writes the config, the manifest and, last, `index.json`, where the cache
    /// replaces what had each of `tags`. The form is one that BuildKit reads
    /// ([`Documents::of`]).
    ///
    /// # Errors
    /// When BuildKit could not use the cache, a layer is not there or has
    /// another size, or a file cannot be written. The tags then stand as they
    /// were.
    pub async fn finish(
        &self,
        manifest: &Manifest,
        tags: &[String],
    ) -> Result<Written, LayoutError> {
        let (writer, manifest, tags) = (self.clone(), manifest.clone(), tags.to_vec());
        blocking(move || writer.write_cache(&manifest, &tags)).await
    }

    fn write_cache(&self, manifest: &Manifest, tags: &[String]) -> Result<Written, LayoutError> {
        manifest.validate_for_buildkit()?;
        distinct(manifest)
            .iter()
            .try_for_each(|layer| check_size(&self.root, layer))?;
        let failed = failed("write the cache to", &self.root);
        let unwritable = |error: serde_json::Error| failed(error.into());
        let ingest = self.ingest();
        let documents = Documents::of(manifest)?;
        for document in documents.iter() {
            let path = blob_path(&self.root, &document.digest);
            replace(&ingest, &path, &document.json)?;
        }

        let _lock = IndexLock::acquire(&self.root)?;
        replace(&ingest, &self.root.join("oci-layout"), LAYOUT)?;
        let (mut index, replaced) = match read_index(&self.root) {
            Ok(index) => (index.unwrap_or_default(), None),
            // It holds no bytes of a cache, which can be pulled again: there is
            // no reason to fail on it.
            Err(error) => (Index::default(), Some(error.to_string())),
        };
        for tag in tags {
            index
                .put(&documents.top().descriptor(), tag)
                .map_err(unwritable)?;
        }
        let index_json = index.to_json().map_err(unwritable)?;
        replace(&ingest, &self.root.join(INDEX_FILE), &index_json)?;
        let replaced = replaced.map(|reason| LayoutWarning::IndexReplaced { reason });
        let mut warnings = too_large(&documents);
        warnings.extend(replaced);
        Ok(Written {
            warnings,
            manifest: documents.top().digest.clone(),
        })
    }

    fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }
}

/// Whether a layer's blob is there and need not be fetched.
fn is_whole(root: &Path, layer: &Layer, check: Check) -> Result<bool, LayoutError> {
    match check_size(root, layer) {
        Err(LayoutError::BlobMissing { .. } | LayoutError::Damaged { .. }) => return Ok(false),
        Err(error) => return Err(error),
        Ok(()) if check == Check::Size => return Ok(true),
        Ok(()) => {}
    }
    Ok(hash_file(&blob_path(root, &layer.blob))? == layer.blob)
}

/// What the user should know of a cache before it is written to any directory.
///
/// # Errors
/// When its records are not JSON.
pub fn warnings(manifest: &Manifest) -> Result<Vec<LayoutWarning>, LayoutError> {
    Ok(too_large(&Documents::of(manifest)?))
}

fn too_large(documents: &Documents) -> Vec<LayoutWarning> {
    let large = documents.too_large().into_iter();
    large
        .map(|(what, bytes)| LayoutWarning::TooLargeForBuildKit { what, bytes })
        .collect()
}
