//! `opendal`: `writer_with` and `reader_with`, with `chunk` and `concurrent`.

use anyhow::Result;
use bench_contest::Place;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use opendal::services::Azblob;
use opendal::{ErrorKind, Operator};

use crate::peer::{PART_BYTES, Peer};

/// The client.
pub struct Opendal(Operator);

impl Opendal {
    /// A client for one container.
    pub fn open(place: &Place) -> Result<Self> {
        opendal_http_transport_reqwest::install_default();
        let service = Azblob::default()
            .endpoint(&place.account_url)
            .account_name(&place.account)
            .account_key(&place.key)
            .container(&place.container);
        Ok(Self(Operator::new(service)?))
    }
}

impl Peer for Opendal {
    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        async move {
            match self.0.stat(key).await {
                Ok(metadata) => Ok(Some(metadata.content_length())),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Bytes>> {
        async move { Ok(self.0.read(key).await?.to_bytes()) }.boxed()
    }

    fn put<'a>(&'a self, key: &'a str, bytes: Bytes, new: bool) -> BoxFuture<'a, Result<()>> {
        async move {
            self.0.write_with(key, bytes).if_not_exists(new).await?;
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
            let mut writer = self
                .0
                .writer_with(key)
                .chunk(PART_BYTES as usize)
                .concurrent(parts_at_once)
                .if_not_exists(true)
                .await?;
            while let Some(part) = parts.try_next().await? {
                writer.write(part).await?;
            }
            writer.close().await?;
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
        let reader = self
            .0
            .reader_with(key)
            .chunk(PART_BYTES as usize)
            .concurrent(parts_at_once);
        let bytes = async move { reader.await?.into_bytes_stream(0..size).await };
        stream::once(bytes)
            .map_ok(|bytes| bytes.map_err(anyhow::Error::from))
            .map_err(anyhow::Error::from)
            .try_flatten()
            .boxed()
    }

    fn count<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<usize>> {
        async move {
            let entries = self.0.lister_with(prefix).recursive(true).await?;
            let count = entries.try_fold(0, async |count, _| Ok(count + 1));
            Ok(count.await?)
        }
        .boxed()
    }
}
