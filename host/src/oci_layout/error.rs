//! What can be wrong with a cache directory.

use std::io;
use std::path::PathBuf;

use crate::text::shown_name;
use crate::{Digest, ManifestError};

/// Why a BuildKit cache directory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The directory holds no cache.
    #[error(
        "`{dir}` is not a BuildKit cache directory: it has no `index.json`; \
         `docker buildx build --cache-to type=local,dest=DIR` writes one"
    )]
    NotALayout {
        /// The directory.
        dir: PathBuf,
    },
    /// There is nothing in the directory: buildx leaves it so where the result
    /// of a build is empty.
    #[error(
        "there is no cache in `{dir}`: the directory is empty, as buildx leaves it when the \
         result of a build is empty"
    )]
    Empty {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory holds caches, but none under this tag.
    #[error("`{dir}` has no cache tagged `{}`; its tags are: {}", shown_name(.tag), list(.tags))]
    NoSuchTag {
        /// The directory.
        dir: PathBuf,
        /// What was asked for.
        tag: String,
        /// What is there.
        tags: Vec<String>,
    },
    /// Several caches, none of them `latest`, and none was asked for.
    #[error("`{dir}` has several caches and none is tagged `latest`: name a tag; its tags are: {}", list(.tags))]
    ChooseTag {
        /// The directory.
        dir: PathBuf,
        /// What is there.
        tags: Vec<String>,
    },
    /// The entry is something else, such as an image.
    #[error("{path}: this is not a build cache but {found}")]
    NotACache {
        /// The manifest's file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// A file is not what it should be.
    #[error("`{path}` is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer's blob is not there.
    #[error("layer {blob} is missing: there is no file `{path}`; building again writes it")]
    BlobMissing {
        /// The blob.
        blob: Digest,
        /// Where it should be.
        path: PathBuf,
    },
    /// Bytes arrived that are not the layer's.
    #[error("layer {blob} arrived damaged: {reason}; nothing was stored under its name")]
    ArrivedDamaged {
        /// The blob.
        blob: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// The cache is not one that BuildKit could use.
    #[error("the cache cannot be used: {0}")]
    Manifest(#[from] ManifestError),
    /// Another program is writing to the directory.
    #[error(
        "`{path}` is locked by another program, and has been for {seconds} s: wait for it, or end it"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The operating system refused.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The program is ending, and its work with it.
    #[error("the work on the cache directory was broken off")]
    Stopped,
}

fn list(tags: &[String]) -> String {
    let quoted: Vec<_> = tags
        .iter()
        .map(|tag| format!("`{}`", shown_name(tag)))
        .collect();
    if quoted.is_empty() {
        "none".to_owned()
    } else {
        quoted.join(", ")
    }
}
