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

use build_cache_host::oci_layout::Layout;
use build_cache_host::{Content, Digest, DirContent, Layer, Manifest};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::Semaphore;

/// How the check of a layer ends; an error's text names the file.
type Verdict = Shared<BoxFuture<'static, Result<(), String>>>;

/// The layers of one cache in a directory.
pub struct VerifiedContent {
    content: DirContent,
    layers: HashMap<Digest, (Layer, OnceLock<Verdict>)>,
    checks: Checks,
}

/// What all checks share.
#[derive(Clone)]
struct Checks {
    layout: Arc<Layout>,
    /// One check a processor at a time.
    at_once: Arc<Semaphore>,
    first_damage: Arc<Mutex<Option<String>>>,
}

impl VerifiedContent {
    /// Lends the layers of `manifest`, and no others.
    pub fn new(layout: Layout, manifest: &Manifest) -> Self {
        let layers = manifest.layers.iter();
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            content: layout.content(),
            layers: layers
                .map(|layer| (layer.blob.clone(), (layer.clone(), OnceLock::new())))
                .collect(),
            checks: Checks {
                layout: Arc::new(layout),
                at_once: Arc::new(Semaphore::new(processors)),
                first_damage: Arc::default(),
            },
        }
    }

    /// What was wrong with the first layer that was found damaged.
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
    /// whoever reads again finds it further on.
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
            let error = format!("{blob} is no layer of this cache");
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
