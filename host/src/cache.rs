//! An open cache: the calls of the contract in this crate's types, with what
//! comes back from the plugin checked.

mod layers;
mod names;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::answers::Answers;
use crate::bindings::build_cache::plugin::types;
use crate::bindings::exports::build_cache::plugin::inventory;
use crate::instance::{Instance, Job};
use crate::listener::{Call, OnEvent};
use crate::live::Admission;
use crate::receive::Received;
use crate::text::Scrubber;
use crate::{Access, Digest, Error, Event, Manifest};

pub use layers::{StoreOutcome, StoredLayer};
pub use names::{NamedManifest, Precondition};

/// A cache in a store, open in an instance of its own. Cheap to clone; clones
/// share the instance, which ends with the last of them and of the streams
/// that it gave out. Its calls may run side by side.
///
/// Dropping the future of a call does not stop the call: the plugin finishes
/// it, unless the instance ends first.
#[derive(Clone)]
pub struct Cache {
    instance: Arc<Instance>,
    scrubber: Arc<Scrubber>,
    answers: Answers,
    /// Hears of the calls through this handle, in place of the instance's own
    /// listener.
    on_event: Option<OnEvent>,
    /// Held where the cache was leased from a [`LiveCache`](crate::LiveCache).
    admission: Option<Admission>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("plugin", &self.instance.plugin)
            .field("is_leased", &self.admission.is_some())
            .finish_non_exhaustive()
    }
}

/// What an export did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ExportSummary {
    /// Layers that were sent.
    pub layers_stored: u32,
    /// Layers that the store had.
    pub layers_reused: u32,
    /// The layers' bytes that were stored, each counted once.
    pub bytes_stored: u64,
    /// Requests sent, those that were tried again included.
    pub requests: u32,
    /// Requests that were sent again.
    pub retries: u32,
}

/// The manifest of one name.
#[derive(Debug)]
pub struct Imported {
    /// The name, exactly as the backend gave it: for comparing. It may hold any
    /// character; [`Cache::shown_name`] is for showing.
    pub name: String,
    /// The cache, or why this name cannot be used; other names still can.
    pub outcome: Result<Loaded, Error>,
}

/// A manifest, and how much of it the store still backs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The manifest, with digests, parents and records checked.
    pub manifest: Manifest,
    /// The layers that the store no longer has, or has at another size.
    pub missing: Vec<Digest>,
}

/// A manifest that the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Its name, exactly as the store has it: for comparing and for removing. It
    /// may hold any character; [`Cache::shown_name`] is for showing.
    pub name: String,
    /// In bytes, as stored.
    pub size: u64,
    /// When it was last written or touched, in seconds since the Unix epoch.
    pub modified: u64,
    /// When it was last written or read, in seconds since the Unix epoch, where
    /// the store keeps count of that.
    pub used: Option<u64>,
    /// Changes whenever it is written.
    pub version: String,
}

/// A layer blob that the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its digest.
    pub blob: Digest,
    /// In bytes, as stored.
    pub size: u64,
    /// When it was last written or touched, in seconds since the Unix epoch.
    pub modified: u64,
    /// When it was last written or read, in seconds since the Unix epoch, where
    /// the store keeps count of that.
    pub used: Option<u64>,
    /// Changes whenever it is written.
    pub version: String,
}

/// A layer's bytes as they arrive. It ends with an error, or because the bytes
/// did; nobody has compared them with the digest.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

impl Cache {
    pub(crate) fn new(instance: Instance, scrubber: Arc<Scrubber>) -> Self {
        Self {
            answers: Answers::new(&instance.plugin, Arc::clone(&scrubber)),
            instance: Arc::new(instance),
            scrubber,
            on_event: None,
            admission: None,
        }
    }

    /// Another handle to the same cache, of whose calls `on_event` hears instead
    /// of [`OpenOptions::on_event`](crate::OpenOptions): so a host that runs calls
    /// side by side tells whose events they are. It is called on the thread that
    /// runs the plugin, and must be quick.
    ///
    /// A plugin of contract 0.1 does not report which call an event belongs to:
    /// [`OpenOptions::on_event`](crate::OpenOptions) hears of its calls.
    #[must_use]
    pub fn with_events(&self, on_event: Arc<dyn Fn(Event) + Send + Sync>) -> Self {
        Self {
            on_event: Some(on_event),
            ..self.clone()
        }
    }

    /// The same cache for one call that was admitted: the permit is held by it
    /// and by every clone and stream that comes of it.
    pub(crate) fn admitted(&self, permit: OwnedSemaphorePermit) -> Self {
        Self {
            admission: Some(Arc::new(permit)),
            ..self.clone()
        }
    }

    /// Whether the instance still runs calls. One that has trapped, has reached
    /// a limit or was stopped does not, and never will again.
    pub fn is_alive(&self) -> bool {
        self.instance.is_alive()
    }

    /// Stores every layer that the store lacks, then the manifest under each
    /// name. Refuses a manifest that does not hold together, and an answer that
    /// cannot be true.
    pub async fn export(&self, manifest: &Manifest) -> Result<ExportSummary, Error> {
        manifest.validate()?;
        let wit = manifest_to_wit(manifest);
        let summary = self.call(|reply| Job::Export(wit, reply)).await?;
        self.answers.check_summary(&summary, manifest)?;
        Ok(ExportSummary {
            layers_stored: summary.layers_stored,
            layers_reused: summary.layers_reused,
            bytes_stored: summary.bytes_stored,
            requests: summary.requests,
            retries: summary.retries,
        })
    }

    /// Loads the manifest of each name that the store has.
    pub async fn import(&self) -> Result<Vec<Imported>, Error> {
        let imported = self.call(Job::Import).await?;
        Ok(imported
            .into_iter()
            .map(|imported| Imported {
                name: imported.name,
                outcome: match imported.outcome {
                    Ok(loaded) => self.answers.loaded(loaded),
                    Err(error) => Err(Error::from_backend(error, &self.scrubber)),
                },
            })
            .collect())
    }

    /// Streams a stored layer from `offset`, to its end or for `length` bytes.
    /// None where the store has no such layer.
    pub async fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Option<ByteStream>, Error> {
        let (received, call) = self
            .begin(|reply| Job::Read {
                blob: blob.to_string(),
                offset,
                length,
                reply,
            })
            .await?;
        Ok(received.map(|received| self.stream(received, call)))
    }

    /// Says which credential is used, for which store, and tries what it may do
    /// there, on a probe that is taken away again.
    pub async fn check(&self) -> Result<Access, Error> {
        let access = self.call(Job::Check).await?;
        let mut access = Access::from_backend(access, &self.scrubber);
        let through = self.instance.traffic.through();
        for attempt in &mut access.attempts {
            let outcome = std::mem::replace(&mut attempt.outcome, Ok(()));
            attempt.outcome = outcome.map_err(|error| error.through(through));
        }
        Ok(access)
    }

    /// Lists the manifests of every name.
    pub async fn manifests(
        &self,
    ) -> Result<BoxStream<'static, Result<ManifestInfo, Error>>, Error> {
        let (received, call) = self.begin(Job::Manifests).await?;
        Ok(self
            .listing(received, call, |info| info.name.len() + info.version.len())
            .map(|item| {
                item.map(|info: inventory::ManifestInfo| ManifestInfo {
                    name: info.name,
                    size: info.size,
                    modified: info.modified,
                    used: info.used,
                    version: info.version,
                })
            })
            .boxed())
    }

    /// Lists the layer blobs.
    pub async fn blobs(&self) -> Result<BoxStream<'static, Result<BlobInfo, Error>>, Error> {
        let (received, call) = self.begin(Job::Blobs).await?;
        let answers = self.answers.clone();
        Ok(self
            .listing(received, call, |info| info.blob.len() + info.version.len())
            .map(move |item| {
                let info: inventory::BlobInfo = item?;
                Ok(BlobInfo {
                    blob: answers.digest(&info.blob)?,
                    size: info.size,
                    modified: info.modified,
                    used: info.used,
                    version: info.version,
                })
            })
            .boxed())
    }

    /// Removes a manifest if it is still the version that was listed.
    pub async fn remove_manifest(&self, info: &ManifestInfo) -> Result<bool, Error> {
        let info = inventory::ManifestInfo {
            name: info.name.clone(),
            size: info.size,
            modified: info.modified,
            used: info.used,
            version: info.version.clone(),
        };
        self.call(|reply| Job::RemoveManifest(info, reply)).await
    }

    /// Removes a layer blob if it is still the version that was listed.
    pub async fn remove_blob(&self, info: &BlobInfo) -> Result<bool, Error> {
        let info = inventory::BlobInfo {
            blob: info.blob.to_string(),
            size: info.size,
            modified: info.modified,
            used: info.used,
            version: info.version.clone(),
        };
        self.call(|reply| Job::RemoveBlob(info, reply)).await
    }

    /// A name as it may be shown: in one line, without what would move a
    /// terminal's cursor, and without the secrets that this cache was given.
    pub fn shown_name(&self, name: &str) -> String {
        self.scrubber.name(name)
    }

    /// The most memory that the plugin had so far, in bytes.
    pub fn peak_memory_bytes(&self) -> usize {
        self.instance.peak_memory_bytes.load(Ordering::Relaxed)
    }

    /// How many requests the plugin has sent so far.
    pub fn requests(&self) -> u64 {
        self.instance.traffic.requests.load(Ordering::Relaxed)
    }

    /// How many requests were denied because they went to an authority that
    /// the plugin was not granted.
    pub fn denied_requests(&self) -> u64 {
        self.instance.traffic.denied.load(Ordering::Relaxed)
    }

    async fn call<T>(
        &self,
        job: impl FnOnce(tokio::sync::oneshot::Sender<Result<T, types::Error>>) -> Job,
    ) -> Result<T, Error> {
        self.begin(job).await.map(|(answer, _)| answer)
    }

    /// What a backend reported, with the proxy that was between.
    fn error(&self, error: types::Error) -> Error {
        Error::from_backend(error, &self.scrubber).through(self.instance.traffic.through())
    }

    /// Makes a call whose events go on while its stream is read.
    async fn begin<T>(
        &self,
        job: impl FnOnce(tokio::sync::oneshot::Sender<Result<T, types::Error>>) -> Job,
    ) -> Result<(T, Call), Error> {
        let call = self.instance.number(self.on_event.clone());
        match self.instance.call(&call, job).await? {
            Ok(answer) => Ok((answer, call)),
            Err(error) => Err(self.error(error)),
        }
    }

    /// The chunks, then how the stream ended. Holds the instance and the call
    /// for as long.
    fn stream<T: Send + 'static>(
        &self,
        received: Received<T>,
        call: Call,
    ) -> BoxStream<'static, Result<T, Error>> {
        let cache = self.clone();
        stream::unfold(Some((cache, received)), move |state| {
            let call = call.clone();
            async move {
                let _call = call;
                let (cache, mut received) = state?;
                match cache.instance.watch_stream(received.chunks.next()).await {
                    Ok(Some(Ok(chunk))) => return Some((Ok(chunk), Some((cache, received)))),
                    Ok(Some(Err(error))) => return Some((Err(cache.error(error)), None)),
                    Ok(None) => {}
                    Err(stuck) => return Some((Err(stuck), None)),
                }
                match cache.instance.watch_stream(received.outcome).await {
                    Ok(Ok(Ok(()))) => None,
                    Ok(Ok(Err(error))) => Some((Err(cache.error(error)), None)),
                    Ok(Err(_)) => Some((Err(cache.instance.failed().await), None)),
                    Err(stuck) => Some((Err(stuck), None)),
                }
            }
        })
        .boxed()
    }

    /// The items of a listing, each of so many bytes, up to what was granted.
    fn listing<T: Send + 'static>(
        &self,
        received: Received<Vec<T>>,
        call: Call,
        bytes: fn(&T) -> usize,
    ) -> BoxStream<'static, Result<T, Error>> {
        /// What an item takes beside its texts.
        const ITEM_BYTES: usize = 64;
        let (answers, most) = (self.answers.clone(), self.instance.listing_bytes);
        let mut left = most;
        self.stream(received, call)
            .map(move |items: Result<Vec<T>, Error>| {
                let items = items?;
                let needed = items.iter().map(|item| ITEM_BYTES + bytes(item)).sum();
                left = left.checked_sub(needed).ok_or_else(|| {
                    answers.impossible(format!("it lists more than {most} bytes of names"))
                })?;
                Ok::<_, Error>(items)
            })
            .map_ok(|items| stream::iter(items.into_iter().map(Ok::<_, Error>)))
            .try_flatten()
            .boxed()
    }
}

fn manifest_to_wit(manifest: &Manifest) -> types::Manifest {
    types::Manifest {
        layers: manifest
            .layers
            .iter()
            .map(|layer| types::Layer {
                blob: layer.blob.to_string(),
                size: layer.size,
                media_type: layer.media_type.clone(),
                diff_id: layer.diff_id.to_string(),
                created_at: layer.created_at.clone(),
                parent: layer.parent,
            })
            .collect(),
        records: manifest.records.clone(),
    }
}
