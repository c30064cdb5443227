//! Lends the layers of a directory to a backend, and sees to it that no layer
//! whose bytes are not what its name says is ever stored.
//!
//! A layer is hashed when the backend first reads of it, so that a push with
//! nothing to send hashes nothing. Meanwhile its bytes are on their way, all
//! but the last: those wait for the hash. A store names no blob of which it
//! lacks the end, and so a damaged one gets no name.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::Semaphore;

use super::{Layout, at_once};
use crate::{Content, Digest, DirContent, Layer, Manifest};

/// How the check of a layer ends; an error's text names the file.
type Verdict = Shared<BoxFuture<'static, Result<(), String>>>;

/// The layers of one cache in a directory, each checked before the last of its
/// bytes is given away.
///
/// A layer that turns out to be another fails the read that would have ended
/// it, and every later one.
#[derive(Debug)]
pub struct VerifiedContent {
    content: DirContent,
    layers: HashMap<Digest, (Layer, OnceLock<Verdict>)>,
    checks: Checks,
}

/// What all checks share.
#[derive(Debug, Clone)]
struct Checks {
    layout: Arc<Layout>,
    /// One check a processor at a time.
    at_once: Arc<Semaphore>,
    first_damage: Arc<Mutex<Option<String>>>,
}

impl VerifiedContent {
    /// Lends the layers of `manifest`, and no others. It must be used within a
    /// tokio runtime.
    pub fn new(layout: Layout, manifest: &Manifest) -> Self {
        let layers = manifest.layers.iter();
        Self {
            content: layout.content(),
            layers: layers
                .map(|layer| (layer.blob.clone(), (layer.clone(), OnceLock::new())))
                .collect(),
            checks: Checks {
                layout: Arc::new(layout),
                at_once: Arc::new(Semaphore::new(at_once())),
                first_damage: Arc::default(),
            },
        }
    }

    /// What was wrong with the first layer that was found damaged, and in which
    /// file: a backend's own error may say less.
    pub fn damage(&self) -> Option<String> {
        let damage = self
            .checks
            .first_damage
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        damage.clone()
    }
}

impl Checks {
    /// Starts to check a layer. The check goes on when nobody waits for it:
    /// a later reader finds it further on.
    fn start(&self, layer: &Layer) -> Verdict {
        let (checks, layer) = (self.clone(), layer.clone());
        let task = tokio::spawn(async move {
            let _permit = checks.at_once.acquire().await;
            let verdict = checks.layout.verify_blob(&layer).await;
            verdict.map_err(|error| {
                let text = error.to_string();
                let mut first = checks
                    .first_damage
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| text.clone());
                text
            })
        });
        task.map(|ended| ended.unwrap_or_else(|error| Err(error.to_string())))
            .boxed()
            .shared()
    }
}

impl Content for VerifiedContent {
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let Some((layer, verdict)) = self.layers.get(blob) else {
            let error = format!("{blob} is not a layer of this cache");
            return stream::iter([Err(io::Error::new(io::ErrorKind::NotFound, error))]).boxed();
        };
        let verdict = verdict.get_or_init(|| self.checks.start(layer)).clone();
        let reaches_the_end = offset.saturating_add(length) >= layer.size;
        let mut left = length;
        self.content
            .read(blob, offset, length)
            .then(move |chunk| {
                left = left.saturating_sub(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64));
                let verdict = (reaches_the_end && left == 0).then(|| verdict.clone());
                async move {
                    if let Some(verdict) = verdict {
                        verdict.await.map_err(io::Error::other)?;
                    }
                    chunk
                }
            })
            .boxed()
    }
}
