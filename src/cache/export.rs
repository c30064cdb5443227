//! Export: what the store lacks, then the manifest under every name.
//!
//! A layer is sent as soon as it is known to be missing; no name is written
//! before all layers are durable. One that can be neither used as the store
//! holds it nor replaced stops no other: it is named at the end, and no name is
//! written that would promise it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use futures::channel::mpsc;
use futures::future::try_join3;
use futures::stream::StreamExt as _;

use super::Cache;
use super::manifest::Manifest;
use super::upload::Upload;
use super::usable::Step;
use crate::blob::{Blobs, Properties};
use crate::digest::Digest;
use crate::error::Error;
use crate::side_by_side::{Job, side_by_side};
use crate::transport::{Event, Transport};

/// A layer up to this size, in bytes, is no more than the host reads of one at a
/// time.
const SMALL: u64 = 512 * 1024;

/// What an export did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub(crate) layers_stored: u32,
    pub(crate) layers_reused: u32,
    /// The layers' bytes that were stored, each counted once.
    pub(crate) bytes_stored: u64,
    /// Requests sent, those sent again included.
    pub(crate) requests: u32,
    /// Requests sent again.
    pub(crate) retries: u32,
}

impl<T: Transport> Cache<T> {
    /// Stores the layers that the store lacks, then the manifest.
    pub(crate) async fn export(&self, manifest: Manifest) -> Result<Summary, Error> {
        let unusable = |why| Error::Other(format!("this cache cannot be stored: {why}"));
        let json = manifest.to_json().map_err(unusable)?;
        let layers = layers_once(&manifest).map_err(unusable)?;
        // All that is needed of it is in the two, and memory is short.
        drop(manifest);
        let blobs = &self.blobs();

        // What is missing is sent while the rest is still being looked up.
        let uploads = RefCell::new(Vec::new());
        let named = Cell::new(0);
        let (small, small_parts) = mpsc::unbounded();
        let (large, large_parts) = mpsc::unbounded();
        let looking = async {
            let digests = layers.iter().map(|(digest, _)| *digest).collect();
            let sizes: HashMap<_, _> = layers.iter().copied().collect();
            let (small, large) = (small, large);
            self.look_up(blobs, digests, &|digest, found| {
                let size = sizes.get(&digest).copied().unwrap_or_default();
                if let Some(step) = self.step(digest, size, found, &named) {
                    let upload = Rc::new(self.upload(blobs, digest, size, step));
                    uploads.borrow_mut().push(Rc::clone(&upload));
                    let queue = if size > SMALL { &large } else { &small };
                    for number in 0..upload.parts() {
                        // The other end outlives this one.
                        let _ = queue.unbounded_send((Rc::clone(&upload), number));
                    }
                }
            })
            .await
        };
        // One budget for all parts of large layers, whichever they are of: they
        // fill the line alike. Small layers wait for the store most of their
        // time, so there may be more of them.
        let tuning = &self.config.tuning;
        let sending_small = send_all(small_parts, tuning.small_requests());
        let sending_large = send_all(large_parts, tuning.parallelism);
        try_join3(looking, sending_small, sending_large).await?;

        let uploads = uploads.into_inner();
        self.check_for_obstacles(&uploads)?;
        self.publish_any(blobs, &self.config.names, json).await?;

        let stored = || uploads.iter().filter(|upload| upload.has_stored());
        let layers_stored = count(stored().count());
        Ok(Summary {
            layers_stored,
            layers_reused: count(layers.len()) - layers_stored,
            bytes_stored: stored().map(|upload| upload.size()).sum(),
            requests: blobs.requests(),
            retries: blobs.retries(),
        })
    }

    /// What to do about a layer, given what the store holds of it: none if that
    /// is the layer.
    pub(super) fn step(
        &self,
        digest: Digest,
        size: u64,
        found: Option<Properties>,
        named: &Cell<u32>,
    ) -> Option<Step> {
        let step = Step::of(found.as_ref(), size, None);
        let obstacle = found.and_then(|found| found.obstacle(size));
        match (&step, obstacle) {
            (Step::Reuse, _) => {
                self.transport.emit(Event::LayerReused(digest));
                return None;
            }
            (Step::Write(_) | Step::Remove(_), Some(obstacle)) => {
                self.warn(named, || {
                    format!("{digest} cannot be used as it is stored: {obstacle}. Replacing it")
                });
            }
            _ => {}
        }
        Some(step)
    }

    /// Fails if there are layers that can be neither used nor replaced.
    pub(super) fn check_for_obstacles(&self, uploads: &[Rc<Upload<'_, T>>]) -> Result<(), Error> {
        let obstacles = uploads.iter().filter_map(|upload| {
            let why = upload.given_up()?;
            Some(format!("{}: {why}", upload.digest()))
        });
        let mut obstacles: Vec<_> = obstacles.collect();
        if obstacles.is_empty() {
            return Ok(());
        }
        let count = obstacles.len();
        obstacles.truncate(3);
        let more = if count > obstacles.len() {
            "; and others"
        } else {
            ""
        };
        Err(Error::Corrupt(format!(
            "no name may promise a layer that can be neither used as it is stored nor replaced. {}{more}",
            obstacles.join("; ")
        )))
    }

    /// A layer to be sent.
    pub(super) fn upload<'a>(
        &'a self,
        blobs: &'a Blobs<'a, T>,
        digest: Digest,
        size: u64,
        step: Step,
    ) -> Upload<'a, T> {
        let key = self.config.layout.blob(digest);
        let block_size = self.config.tuning.block_size;
        Upload::new(
            &self.transport,
            blobs,
            key,
            (digest, size),
            step,
            block_size,
        )
    }
}

/// Parts of layers on their way to be sent.
type Parts<'a, T> = mpsc::UnboundedReceiver<(Rc<Upload<'a, T>>, u32)>;

/// Sends parts as they come, so many at once.
async fn send_all<T: Transport>(parts: Parts<'_, T>, limit: usize) -> Result<(), Error> {
    let sending =
        parts.map(|(upload, number)| -> Job { Box::pin(async move { upload.send(number).await }) });
    side_by_side(limit, sending.boxed_local()).await
}

/// The layers and their sizes, each digest once, in their order.
pub(super) fn layers_once(manifest: &Manifest) -> Result<Vec<(Digest, u64)>, String> {
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        match sizes.insert(layer.blob, layer.size) {
            None => layers.push((layer.blob, layer.size)),
            Some(size) if size == layer.size => {}
            Some(_) => return Err(format!("it gives {} two sizes", layer.blob)),
        }
    }
    Ok(layers)
}

/// A count for the summary; the wasm32 component cannot hold more.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
