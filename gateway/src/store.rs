//! What the gateway needs of a store: the calls of the contract's `layers` and
//! `names`, and some of its `inventory`.
//!
//! [`CacheStore`] is a plugin's cache. The tests have one in memory
//! ([`MemoryStore`](crate::memory::MemoryStore)), which counts its calls and
//! fails on demand.

use build_cache_host::{
    BlobInfo, ByteStream, Cache, Digest, Error, LiveCache, Manifest, NamedManifest, Precondition,
    StoreOutcome, StoredLayer,
};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};

/// Layers that were last used longer ago than this are marked as used when a
/// manifest that needs them is published. A sweep that keeps what was used in
/// the last days then leaves them.
const TOUCH_OLDER_THAN: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// A store as the gateway uses it. Calls may run side by side.
pub trait Store: Send + Sync + 'static {
    /// Looks for layers, and answers for each in the order given.
    fn find<'a>(
        &'a self,
        blobs: &'a [Digest],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredLayer>>, Error>>;

    /// Stores a layer whose bytes are in the spool. Durable on return.
    fn store<'a>(
        &'a self,
        blob: &'a Digest,
        size: u64,
    ) -> BoxFuture<'a, Result<StoreOutcome, Error>>;

    /// Streams a layer from `offset`, to its end or for `length` bytes.
    fn read<'a>(
        &'a self,
        blob: &'a Digest,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<Option<ByteStream>, Error>>;

    /// Loads the manifest of a name.
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<NamedManifest>, Error>>;

    /// Writes a manifest whose layers are stored under a name.
    fn publish<'a>(
        &'a self,
        name: &'a str,
        manifest: &'a Manifest,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes a layer if it is still what [`Self::find`] saw.
    fn remove<'a>(
        &'a self,
        blob: &'a Digest,
        seen: &'a StoredLayer,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Lists all layers.
    fn blobs(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<BlobInfo, Error>>, Error>>;

    /// Lists the names of all manifests.
    fn names(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<String, Error>>, Error>>;
}

/// The cache of a plugin, which may be swapped for another plugin's while the
/// gateway runs.
pub struct CacheStore {
    live: LiveCache,
}

impl CacheStore {
    /// Serves from this cache.
    pub fn new(live: LiveCache) -> Self {
        Self { live }
    }

    async fn cache(&self) -> Result<Cache, Error> {
        self.live.get().await
    }
}

impl Store for CacheStore {
    fn find<'a>(
        &'a self,
        blobs: &'a [Digest],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredLayer>>, Error>> {
        Box::pin(async move { self.cache().await?.find(blobs).await })
    }

    fn store<'a>(
        &'a self,
        blob: &'a Digest,
        size: u64,
    ) -> BoxFuture<'a, Result<StoreOutcome, Error>> {
        Box::pin(async move { self.cache().await?.store(blob, size).await })
    }

    fn read<'a>(
        &'a self,
        blob: &'a Digest,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<Option<ByteStream>, Error>> {
        Box::pin(async move { self.cache().await?.read(blob, offset, length).await })
    }

    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<NamedManifest>, Error>> {
        Box::pin(async move { self.cache().await?.load(name).await })
    }

    fn publish<'a>(
        &'a self,
        name: &'a str,
        manifest: &'a Manifest,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let cache = self.cache().await?;
            let names = [name.to_owned()];
            let touching = Some(TOUCH_OLDER_THAN);
            match cache
                .publish(&names, manifest, Precondition::Any, touching)
                .await
            {
                // A store that cannot mark layers as used has nothing to mark.
                Err(Error::Unsupported(_)) => {
                    cache
                        .publish(&names, manifest, Precondition::Any, None)
                        .await
                }
                outcome => outcome,
            }
        })
    }

    fn remove<'a>(
        &'a self,
        blob: &'a Digest,
        seen: &'a StoredLayer,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let info = BlobInfo {
                blob: blob.clone(),
                size: seen.size,
                modified: seen.modified,
                version: seen.version.clone(),
                used: None,
            };
            self.cache().await?.remove_blob(&info).await
        })
    }

    fn blobs(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<BlobInfo, Error>>, Error>> {
        Box::pin(async move { self.cache().await?.blobs().await })
    }

    fn names(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<String, Error>>, Error>> {
        Box::pin(async move {
            let manifests = self.cache().await?.manifests().await?;
            Ok(manifests.map(|info| info.map(|info| info.name)).boxed())
        })
    }
}
