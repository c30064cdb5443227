//! Ways into a store past its backend: to look at what a backend wrote, and to
//! put there what no backend writes.

use std::sync::Arc;

use blob_store::RunningStore;
use build_cache_host::Digest;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Failure, NotRun, Outcome};

/// The blobs of one place in a store, by their keys.
pub trait RawStore: Send + Sync {
    /// A blob's bytes; none where there is no such blob.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome<Option<Bytes>>>;
    /// Stores a blob, over one that may be there.
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Outcome>;
    /// Removes a blob.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome>;
    /// Moves a blob to the archive tier, where it is shown and cannot be read.
    fn archive<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome>;
    /// Leaves a block waiting under a key, as an upload that broke off does.
    fn leave_block<'a>(
        &'a self,
        key: &'a str,
        id_base64: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Outcome>;
}

/// A way into a store past its backend, which knows where that one puts layers.
#[derive(Clone)]
pub struct BackDoor {
    store: Arc<dyn RawStore>,
    layer_key: fn(&Digest) -> String,
    has_archive: bool,
}

impl BackDoor {
    /// A way in, and the key that the backend gives to a layer.
    pub fn new(store: Arc<dyn RawStore>, layer_key: fn(&Digest) -> String) -> Self {
        Self {
            store,
            layer_key,
            has_archive: true,
        }
    }

    /// The same for a backend that knows of no archive tier.
    #[must_use]
    pub fn without_archive(self) -> Self {
        Self {
            has_archive: false,
            ..self
        }
    }

    /// The store.
    pub fn store(&self) -> &dyn RawStore {
        &*self.store
    }

    /// The key of a layer.
    pub fn layer_key(&self, blob: &Digest) -> String {
        (self.layer_key)(blob)
    }

    /// Stores a layer, over one that may be there, with whatever bytes.
    ///
    /// # Errors
    /// The store refused it.
    pub async fn put_layer(&self, blob: &Digest, bytes: impl Into<Bytes>) -> Outcome {
        self.store.put(&self.layer_key(blob), bytes.into()).await
    }

    /// Moves a layer to the archive tier.
    ///
    /// # Errors
    /// There is no such tier, or the store does not have the layer.
    pub async fn archive_layer(&self, blob: &Digest) -> Outcome {
        if !self.has_archive {
            return Err(NotRun::NoArchive.into());
        }
        self.store.archive(&self.layer_key(blob)).await
    }

    /// Removes a layer.
    ///
    /// # Errors
    /// The store refused, or does not have it.
    pub async fn delete_layer(&self, blob: &Digest) -> Outcome {
        self.store.delete(&self.layer_key(blob)).await
    }
}

/// A container of our own blob store in this process.
pub struct OurContainer {
    store: Arc<RunningStore>,
    container: String,
}

impl OurContainer {
    /// A container of a store. Makes it where it is missing.
    ///
    /// # Errors
    /// The name breaks the store's rules.
    pub fn new(store: Arc<RunningStore>, container: impl Into<String>) -> Outcome<Self> {
        let container = container.into();
        let created = store.create_container(&container);
        created.map_err(failed("create", &container))?;
        Ok(Self { store, container })
    }
}

impl RawStore for OurContainer {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome<Option<Bytes>>> {
        Box::pin(async move {
            let blob = self.store.blob(&self.container, key);
            blob.map_err(failed("get", key))
        })
    }

    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let put = self.store.put_blob(&self.container, key, &bytes);
            put.map_err(failed("put", key))
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.store.delete_blob(&self.container, key) {
                Ok(true) => Ok(()),
                Ok(false) => Err(failed("delete", key)("there is no such blob")),
                Err(error) => Err(failed("delete", key)(error)),
            }
        })
    }

    fn archive<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let moved = self.store.set_tier(&self.container, key, "Archive");
            moved.map_err(failed("archive", key))
        })
    }

    fn leave_block<'a>(
        &'a self,
        key: &'a str,
        id_base64: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let left = self
                .store
                .leave_block(&self.container, key, id_base64, &bytes);
            left.map_err(failed("leave a block of", key))
        })
    }
}

/// Makes a failure of what a store said.
pub(crate) fn failed<E: ToString>(action: &'static str, what: &str) -> impl FnOnce(E) -> Failure {
    let what = what.to_owned();
    move |error| Failure::Store {
        action,
        what,
        reason: error.to_string(),
    }
}
