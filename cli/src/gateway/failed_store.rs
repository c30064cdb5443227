//! A store that could not be opened, where the user wants no build to fail for
//! that: every call ends with the reason.

use build_cache_gateway::Store;
use build_cache_host::{
    BlobInfo, ByteStream, Digest, Error, Manifest, NamedManifest, StoreOutcome, StoredLayer,
};
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::BoxStream;

/// Why the store could not be opened.
pub struct FailedStore(pub String);

impl FailedStore {
    fn fails<T: Send + 'static>(&self) -> BoxFuture<'static, Result<T, Error>> {
        ready(Err(Error::Unavailable(self.0.clone()))).boxed()
    }
}

impl Store for FailedStore {
    fn find<'a>(
        &'a self,
        _: &'a [Digest],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredLayer>>, Error>> {
        self.fails()
    }

    fn store<'a>(&'a self, _: &'a Digest, _: u64) -> BoxFuture<'a, Result<StoreOutcome, Error>> {
        self.fails()
    }

    fn read<'a>(
        &'a self,
        _: &'a Digest,
        _: u64,
        _: Option<u64>,
    ) -> BoxFuture<'a, Result<Option<ByteStream>, Error>> {
        self.fails()
    }

    fn load<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<NamedManifest>, Error>> {
        self.fails()
    }

    fn publish<'a>(&'a self, _: &'a str, _: &'a Manifest) -> BoxFuture<'a, Result<(), Error>> {
        self.fails()
    }

    fn remove<'a>(
        &'a self,
        _: &'a Digest,
        _: &'a StoredLayer,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.fails()
    }

    fn blobs(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<BlobInfo, Error>>, Error>> {
        self.fails()
    }

    fn names(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<String, Error>>, Error>> {
        self.fails()
    }
}
