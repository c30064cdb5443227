//! BuildKit's local cache directories: what
//! `docker buildx build --cache-to type=local,dest=DIR` writes and
//! `--cache-from type=local,src=DIR` reads.
//!
//! Such a directory is an [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md):
//! `index.json` names a manifest for each tag, and all blobs lie in
//! `blobs/sha256/` under their digests. [`Layout`] reads every form that
//! BuildKit writes; [`LayoutWriter`] writes BuildKit's default form, and the
//! inline form where BuildKit would not read that ([`Documents`]).
//!
//! What is read is not trusted. Files are found by parsed digests alone, so
//! nothing leads out of the directory, and only regular files are opened. Sizes
//! and digests of the JSON are checked on reading; the layers' sizes by
//! [`Layout::check`] and their bytes by [`Layout::verify`].

mod document;
mod error;
mod files;
mod forms;
mod incoming;
mod index;
mod inline;
mod lock;
mod usable;
mod verified;
mod writer;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};

pub use error::LayoutError;
pub use forms::{
    Assembly, BUILDKIT_JSON_BYTES, Document, DocumentRef, Documents, Form, NotAssembled, assemble,
};
pub use incoming::IncomingBlob;
pub use usable::{LeftOut, Usable};
pub use verified::VerifiedContent;
pub use writer::{Check, LayoutWarning, LayoutWriter, Written, warnings};

use crate::{Digest, DirContent, Layer, Manifest};
use document::Descriptor;
pub(crate) use files::open_regular;
use files::{blocking, check_folders, damaged, failed, hash_file, read_json};
use index::Index;

/// The tag that BuildKit writes and reads unless told otherwise.
pub const DEFAULT_TAG: &str = "latest";

const INDEX_FILE: &str = "index.json";

/// A BuildKit cache directory, to read from.
#[derive(Debug)]
pub struct Layout {
    root: PathBuf,
    index: Index,
}

impl Layout {
    /// Opens a directory and reads its `index.json`.
    ///
    /// # Errors
    /// When there is no such directory, or it has no `index.json`, or one that
    /// is not an OCI index. [`LayoutError::Empty`] when nothing was ever stored in
    /// the directory.
    pub async fn open(dir: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let root = dir.into();
        blocking(move || {
            fs::read_dir(&root).map_err(failed("open", &root))?;
            check_folders(&root)?;
            let index_file = root.join(INDEX_FILE);
            if fs::metadata(&index_file).is_ok_and(|file| file.is_file() && file.len() == 0) {
                // To BuildKit an index without entries; here, all that there
                // was may have been lost.
                return Err(damaged(&index_file, "it has been cut off: it has no bytes"));
            }
            match read_index(&root)? {
                Some(index) if index.is_empty() => Err(LayoutError::Empty { dir: root }),
                Some(index) => Ok(Self { root, index }),
                None if holds_nothing(&root) => Err(LayoutError::Empty { dir: root }),
                None => Err(LayoutError::NotALayout { dir: root }),
            }
        })
        .await
    }

    /// The tags in the directory, in the order of its index.
    pub fn tags(&self) -> Vec<String> {
        self.index.tags()
    }

    /// Reads the cache under `tag`; without one, that under `latest`, or the
    /// only one there is.
    ///
    /// The cache is one that BuildKit could use
    /// ([`Manifest::validate_for_buildkit`]). Whether its layers are there,
    /// [`Self::check`] tells.
    ///
    /// # Errors
    /// When there is no such tag, or it is not a cache or a damaged one, be it in
    /// one layer: [`Self::read_usable`] goes on without such a layer.
    pub async fn read(&self, tag: Option<&str>) -> Result<Manifest, LayoutError> {
        let usable = self.read_usable(tag).await?;
        match usable.left_out.first() {
            Some(left_out) => Err(damaged(&self.root.join(INDEX_FILE), left_out)),
            None => Ok(usable.manifest),
        }
    }

    /// Reads what can be used of a cache: a layer that nobody can use, as it has
    /// no diff ID, say, is left out with the results that need it.
    ///
    /// # Errors
    /// When there is no such tag, or it is not a cache, or one of which nothing can
    /// be used.
    pub async fn read_usable(&self, tag: Option<&str>) -> Result<Usable, LayoutError> {
        let entry = match tag {
            Some(tag) => self.index.get(tag).ok_or_else(|| LayoutError::NoSuchTag {
                dir: self.root.clone(),
                tag: tag.to_owned(),
                tags: self.tags(),
            })?,
            None => self
                .index
                .get(DEFAULT_TAG)
                .or_else(|| self.index.only())
                .ok_or_else(|| LayoutError::ChooseTag {
                    dir: self.root.clone(),
                    tags: self.tags(),
                })?,
        };
        let entry: Descriptor = serde_json::from_str(entry.get()).map_err(|error| {
            damaged(
                &self.root.join(INDEX_FILE),
                format!("an entry is wrong: {error}"),
            )
        })?;
        let root = self.root.clone();
        blocking(move || read_cache(&root, &entry)).await
    }

    /// The layers of this directory, for an export of what was verified before;
    /// [`VerifiedContent`] verifies on the way.
    pub fn content(&self) -> DirContent {
        DirContent::new(blobs(&self.root))
    }

    /// Checks that every layer of `manifest` is there as a regular file of the
    /// size it should have. Reads no bytes.
    ///
    /// # Errors
    /// The first layer for which that does not hold.
    pub async fn check(&self, manifest: &Manifest) -> Result<(), LayoutError> {
        let (root, layers) = (self.root.clone(), distinct(manifest));
        blocking(move || layers.iter().try_for_each(|layer| check_size(&root, layer))).await
    }

    /// Checks what [`Self::check`] does, and that every layer's bytes have its
    /// digest. All of them are read, several files at a time: about half a
    /// second to two for a gigabyte and a processor.
    ///
    /// # Errors
    /// A layer for which that does not hold.
    pub async fn verify(&self, manifest: &Manifest) -> Result<(), LayoutError> {
        self.check(manifest).await?;
        let checks = distinct(manifest)
            .into_iter()
            .map(|layer| async move { self.verify_blob(&layer).await });
        stream::iter(checks)
            .buffer_unordered(at_once())
            .try_collect()
            .await
    }

    /// Checks that one layer's blob is there, of the right size, and that its
    /// bytes have its digest.
    ///
    /// # Errors
    /// When that does not hold; names the layer and the file.
    pub async fn verify_blob(&self, layer: &Layer) -> Result<(), LayoutError> {
        let (root, layer) = (self.root.clone(), layer.clone());
        blocking(move || {
            check_size(&root, &layer)?;
            let path = blob_path(&root, &layer.blob);
            let actual = hash_file(&path)?;
            if actual == layer.blob {
                return Ok(());
            }
            Err(damaged(
                &path,
                format!("its bytes have the digest {actual}; delete it and build again"),
            ))
        })
        .await
    }
}

/// How many files are hashed at a time: one a processor.
fn at_once() -> usize {
    /// More at once outrun any disk, and each has a file open.
    const MOST: usize = 32;
    std::thread::available_parallelism().map_or(2, |all| all.get().min(MOST))
}

/// One layer for each blob.
fn distinct(manifest: &Manifest) -> Vec<Layer> {
    let mut seen = HashSet::new();
    manifest
        .layers
        .iter()
        .filter(|layer| seen.insert(&layer.blob))
        .cloned()
        .collect()
}

fn blobs(root: &Path) -> PathBuf {
    root.join("blobs").join("sha256")
}

fn blob_path(root: &Path, blob: &Digest) -> PathBuf {
    blobs(root).join(blob.hex())
}

/// The directory's `index.json`, if it has one.
fn read_index(root: &Path) -> Result<Option<Index>, LayoutError> {
    let path = root.join(INDEX_FILE);
    match read_json(&path) {
        Ok(json) => Index::parse(&json, &path).map(Some),
        Err(LayoutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether nothing was ever stored in a directory without an index: there is no
/// more than what BuildKit makes before it stores anything.
fn holds_nothing(root: &Path) -> bool {
    let is_empty =
        |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let Ok(entries) = fs::read_dir(root) else {
        return false;
    };
    entries.into_iter().all(|entry| {
        let Ok(entry) = entry else { return false };
        let path = entry.path();
        match entry.file_name().to_str() {
            Some("oci-layout" | "index.json.lock") => true,
            Some("ingest") => is_empty(&path),
            Some("blobs") => is_empty(&path) || is_empty(&path.join("sha256")),
            _ => false,
        }
    })
}

/// Reads a cache from the entry that stands for it in the index.
fn read_cache(root: &Path, entry: &Descriptor) -> Result<Usable, LayoutError> {
    let path = blob_path(root, &entry.digest);
    let top = read_json_blob(&path, &entry.digest, entry.size)?;
    let mut documents = HashMap::new();
    loop {
        let needs = match forms::draft(&top, &documents) {
            Ok(forms::Drafting::Whole(draft)) => return usable::usable(root, &path, draft),
            Ok(forms::Drafting::Needs(needs)) => needs,
            Err(NotAssembled::NotACache { found }) => {
                return Err(LayoutError::NotACache { path, found });
            }
            Err(NotAssembled::Damaged { document, reason }) => {
                let path = document.map_or(path, |document| blob_path(root, &document));
                return Err(damaged(&path, reason));
            }
            Err(error @ NotAssembled::TooMuch { .. }) => return Err(damaged(&path, error)),
            Err(NotAssembled::Manifest(error)) => return Err(error.into()),
        };
        for need in needs {
            let json = read_json_blob(&blob_path(root, &need.digest), &need.digest, need.size)?;
            documents.insert(need.digest, json);
        }
    }
}

/// A blob of JSON, of the size and the digest that it should have.
fn read_json_blob(path: &Path, digest: &Digest, size: u64) -> Result<Vec<u8>, LayoutError> {
    let json = read_json(path)?;
    if json.len() as u64 != size {
        let (is, should) = (json.len(), size);
        return Err(damaged(
            path,
            format!("it has {is} bytes instead of {should}"),
        ));
    }
    let actual = Digest::of(&json);
    if actual != *digest {
        return Err(damaged(path, format!("its bytes have the digest {actual}")));
    }
    Ok(json)
}

/// Checks that a layer's blob is there, as a regular file of the right size.
fn check_size(root: &Path, layer: &Layer) -> Result<(), LayoutError> {
    let path = blob_path(root, &layer.blob);
    match fs::symlink_metadata(&path) {
        Ok(file) if !file.is_file() => Err(damaged(&path, "it is not a regular file")),
        Ok(file) if file.len() == layer.size => Ok(()),
        Ok(file) => {
            let (is, should) = (file.len(), layer.size);
            Err(damaged(
                &path,
                format!("it has {is} bytes instead of {should}; delete it and build again"),
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LayoutError::BlobMissing {
            blob: layer.blob.clone(),
            path,
        }),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

#[cfg(test)]
mod tests;
