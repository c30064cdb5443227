//! Blobs: layers, which the store has, and the configs of caches, which it does
//! not have in this form.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use build_cache_host::{Digest, Error};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::HeaderMap;
use http::header::{ACCEPT, RANGE};

use crate::fetch::Request as FetchRequest;
use crate::gateway::Inner;
use crate::range::{self, Wanted};
use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::source::Source;
use crate::spool::Spooled;

impl Inner {
    /// Whether a blob is there. Clients that push ask, and send what is not.
    pub async fn head_blob(
        self: &Arc<Self>,
        blob: &Digest,
        headers: &HeaderMap,
    ) -> Result<Reply, Refusal> {
        match self.size_for_push(blob, headers).await {
            Some(size) => Ok(reply::blob_head(blob, size)),
            None => Err(Refusal::no_blob(blob)),
        }
    }

    /// The size of a blob that need not be sent.
    pub async fn size_for_push(&self, blob: &Digest, headers: &HeaderMap) -> Option<u64> {
        if let Some(document) = self.documents.get(blob) {
            return Some(document.bytes.len() as u64);
        }
        if let Some(spooled) = self.spooled(blob) {
            return Some(spooled.size);
        }
        if asks_for_a_config(headers) {
            return None;
        }
        // Of a layer that only another store has, the one that is pushed to needs
        // a copy.
        let sources = match &self.to {
            Some(to) => std::slice::from_ref(&to.source),
            None => &self.from[..],
        };
        for source in sources {
            match source.has(blob).await {
                Ok(Some(layer)) => return Some(layer.size),
                Ok(None) => {}
                Err(error) => self.warn_unread(source, &error),
            }
        }
        None
    }

    /// A blob, or a part of it.
    pub async fn get_blob(
        self: &Arc<Self>,
        blob: &Digest,
        headers: &HeaderMap,
    ) -> Result<Reply, Refusal> {
        let asked = headers.get(RANGE).and_then(|range| range.to_str().ok());
        if let Some(document) = self.documents.get(blob) {
            let bytes = document.bytes;
            let size = bytes.len() as u64;
            return Ok(match range::wanted(asked, size) {
                Wanted::Whole => reply::blob_bytes(blob, bytes),
                Wanted::Nothing => reply::no_such_part(size),
                Wanted::Part(part) => {
                    let chunk = bytes.slice(part.start as usize..part.end as usize);
                    let chunks = stream::iter([Ok(chunk)]);
                    reply::blob_part(blob, &part, size, chunks)
                }
            });
        }
        if let Some(spooled) = self.spooled(blob) {
            let size = spooled.size;
            return Ok(answer(blob, size, asked, |part| {
                spooled.read(part.start, part.end - part.start)
            }));
        }
        let mut failure = None;
        for source in &self.from {
            match source.find(blob).await {
                Ok(Some(layer)) => {
                    match self.fetch_blob(source, blob, layer.size, asked).await {
                        Ok(reply) => {
                            self.stats.wanted(blob);
                            return Ok(reply);
                        }
                        // Another store may have it.
                        Err(refusal) => failure = Some(refusal),
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.warn_unread(source, &error);
                    failure = Some(Refusal::from_store(&error));
                }
            }
        }
        Err(failure.unwrap_or_else(|| Refusal::no_blob(blob)))
    }

    /// A layer, or a part of it, from a store. What cannot be given shows before
    /// the answer begins, as far as possible.
    async fn fetch_blob(
        &self,
        source: &Arc<Source>,
        blob: &Digest,
        size: u64,
        asked: Option<&str>,
    ) -> Result<Reply, Refusal> {
        let wanted = range::wanted(asked, size);
        let part = match &wanted {
            Wanted::Nothing => return Ok(reply::no_such_part(size)),
            Wanted::Part(part) => part.clone(),
            Wanted::Whole => 0..size,
        };
        let verify = part.end == size;
        let mut chunks = self.fetcher.fetch(FetchRequest {
            source: Arc::clone(source),
            blob: blob.clone(),
            part: part.clone(),
            verify,
        });
        let first = match chunks.recv().await {
            Some(Err(error)) if source.is_spoiled(blob) => {
                return Err(Refusal {
                    message: format!("the blob {blob} cannot be given: {error}"),
                    ..Refusal::no_blob(blob)
                });
            }
            Some(Err(error)) => {
                return Err(match error.downcast::<Error>() {
                    Ok(Error::LayerLost(_)) => Refusal::no_blob(blob),
                    Ok(error) => Refusal::from_store(&error),
                    Err(error) => Refusal::from_store(&Error::Unavailable(error.to_string())),
                });
            }
            Some(Ok(first)) => Some(Ok(first)),
            None => None,
        };
        let rest = stream::unfold(chunks, |mut chunks| async {
            chunks.recv().await.map(|chunk| (chunk, chunks))
        });
        let chunks = stream::iter(first).chain(rest);
        Ok(match wanted {
            Wanted::Part(part) => reply::blob_part(blob, &part, size, chunks),
            _ => reply::blob(blob, size, chunks),
        })
    }

    /// A blob that a client sent and that is not in the store yet.
    fn spooled(&self, blob: &Digest) -> Option<Arc<Spooled>> {
        self.to.as_ref().and_then(|to| to.pending.get(blob))
    }

    pub fn warn_unread(&self, source: &Source, error: &Error) {
        self.stats.warn(format!("{}: {error}", source.label));
    }
}

/// The answer to a client that may want a part.
fn answer<S>(
    blob: &Digest,
    size: u64,
    asked: Option<&str>,
    read: impl FnOnce(Range<u64>) -> S,
) -> Reply
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    match range::wanted(asked, size) {
        Wanted::Whole => reply::blob(blob, size, read(0..size)),
        Wanted::Nothing => reply::no_such_part(size),
        Wanted::Part(part) => reply::blob_part(blob, &part, size, read(part.clone())),
    }
}

/// Whether the client asks for a config, which the store has in another form:
/// clients say what they look for.
fn asks_for_a_config(headers: &HeaderMap) -> bool {
    const CONFIGS: [&str; 3] = [
        "application/vnd.buildkit.cacheconfig.",
        "application/vnd.oci.image.config.",
        "application/vnd.docker.container.image.",
    ];
    let mut accepted = headers.get_all(ACCEPT).iter();
    accepted.any(|accept| {
        let accept = accept.to_str().unwrap_or_default();
        CONFIGS.iter().any(|config| accept.contains(config))
    })
}
