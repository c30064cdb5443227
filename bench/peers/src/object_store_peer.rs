//! `object_store`: parts by `WriteMultipart`, which sends each in a task of its own, and ranged
//! reads side by side, each in a task of its own too.

use std::sync::Arc;

use anyhow::Result;
use bench_contest::Place;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutMode, PutPayload, WriteMultipart};

use crate::peer::{PART_BYTES, Peer};

/// The client.
pub struct ObjectStore(Arc<MicrosoftAzure>);

impl ObjectStore {
    /// A client for one container.
    pub fn open(place: &Place) -> Result<Self> {
        let store = MicrosoftAzureBuilder::new()
            .with_endpoint(place.account_url.clone())
            .with_allow_http(true)
            .with_account(&place.account)
            .with_access_key(&place.key)
            .with_container_name(&place.container)
            .build()?;
        Ok(Self(Arc::new(store)))
    }
}

impl Peer for ObjectStore {
    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        async move {
            match self.0.head(&Path::from(key)).await {
                Ok(meta) => Ok(Some(meta.size)),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Bytes>> {
        async move { Ok(self.0.get(&Path::from(key)).await?.bytes().await?) }.boxed()
    }

    fn put<'a>(&'a self, key: &'a str, bytes: Bytes, new: bool) -> BoxFuture<'a, Result<()>> {
        let mode = if new {
            PutMode::Create
        } else {
            PutMode::Overwrite
        };
        async move {
            let payload = PutPayload::from(bytes);
            object_store::ObjectStore::put_opts(&*self.0, &Path::from(key), payload, mode.into())
                .await?;
            Ok(())
        }
        .boxed()
    }

    fn put_parts<'a>(
        &'a self,
        key: &'a str,
        mut parts: BoxStream<'a, Result<Bytes>>,
        parts_at_once: usize,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let upload = self.0.put_multipart(&Path::from(key)).await?;
            let mut write = WriteMultipart::new_with_chunk_size(upload, PART_BYTES as usize);
            while let Some(part) = parts.try_next().await? {
                write.wait_for_capacity(parts_at_once).await?;
                write.put(part);
            }
            write.finish().await?;
            Ok(())
        }
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        key: &'a str,
        size: u64,
        parts_at_once: usize,
    ) -> BoxStream<'a, Result<Bytes>> {
        stream::iter((0..size).step_by(PART_BYTES as usize))
            .map(move |offset| {
                let (store, key) = (Arc::clone(&self.0), Path::from(key));
                let range = offset..size.min(offset + PART_BYTES);
                tokio::spawn(async move { store.get_range(&key, range).await })
            })
            .buffered(parts_at_once)
            .map(|part| Ok(part??))
            .boxed()
    }

    fn count<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<usize>> {
        let prefix = Path::from(prefix);
        async move {
            let entries = object_store::ObjectStore::list(&*self.0, Some(&prefix));
            let count = entries.try_fold(0, async |count, _| Ok(count + 1));
            Ok(count.await?)
        }
        .boxed()
    }
}
