//! The interface `layers`.

use super::convert::digest_from;
use crate::bindings::exports::build_cache::plugin::layers::{
    CacheBorrow, CallId, Error, Guest, Outcome, StoredLayer,
};
use crate::cache::Reading;
use crate::transport::call;
use crate::transport::wasi::{self, Outgoing};
use crate::{Component, OpenCache, error};

impl Guest for Component {
    async fn find(
        cache: CacheBorrow<'_>,
        call: CallId,
        blobs: Vec<String>,
    ) -> Result<Vec<Option<StoredLayer>>, Error> {
        let cache = &cache.get::<OpenCache>().0;
        let found = call::within(call, cache.find(digests_from(&blobs)?)).await?;
        let found = found.into_iter().map(|found| {
            found.map(|found| StoredLayer {
                size: found.size,
                modified: found.modified,
                version: found.etag,
            })
        });
        Ok(found.collect())
    }

    async fn store(
        cache: CacheBorrow<'_>,
        call: CallId,
        blob: String,
        size: u64,
    ) -> Result<Outcome, Error> {
        let cache = &cache.get::<OpenCache>().0;
        let stored = cache.store(digest_from(&blob)?, size);
        Ok(match call::within(call, stored).await? {
            true => Outcome::Stored,
            false => Outcome::Reused,
        })
    }

    async fn read(
        cache: CacheBorrow<'_>,
        call: CallId,
        blob: String,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Option<Outgoing>, Error> {
        let cache = &cache.get::<OpenCache>().0;
        let digest = digest_from(&blob)?;
        let read = cache.read(digest, offset, length);
        Ok(match call::within(call, read).await? {
            Reading::Absent => None,
            Reading::Nothing => Some(wasi::nothing()),
            Reading::Bytes(body) => Some(body.hand_on(cache.describe(digest))),
        })
    }

    async fn touch(
        cache: CacheBorrow<'_>,
        call: CallId,
        blobs: Vec<String>,
    ) -> Result<Vec<bool>, Error> {
        let cache = &cache.get::<OpenCache>().0;
        Ok(call::within(call, cache.touch(digests_from(&blobs)?)).await?)
    }
}

fn digests_from(texts: &[String]) -> Result<Vec<crate::digest::Digest>, error::Error> {
    texts.iter().map(|text| digest_from(text)).collect()
}
