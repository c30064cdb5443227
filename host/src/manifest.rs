//! A build cache as the host sees it, whichever store it came from.

use crate::Digest;

/// A build cache: its layer blobs, and the solver's records over them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The layers, each once; records and parents refer to them by index.
    pub layers: Vec<Layer>,
    /// The `records` of BuildKit's `CacheConfig`, a JSON array.
    pub records: String,
}

/// One layer blob of a build cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob as stored.
    pub blob: Digest,
    /// Size of the blob as stored, in bytes.
    pub size: u64,
    /// OCI media type, which names the compression.
    pub media_type: String,
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// RFC 3339; none where nobody knows.
    pub created_at: Option<String>,
    /// Index in [`Manifest::layers`] of the layer below; none for a base layer.
    pub parent: Option<u32>,
}
