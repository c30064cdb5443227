//! A store in memory, for tests: it counts its calls, loses and spoils layers,
//! fails and waits on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use build_cache_host::{
    BlobInfo, ByteStream, Content, Digest, Error, Manifest, NamedManifest, StoreOutcome,
    StoredLayer,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::store::Store;

/// How many bytes a stream gives at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    content: Option<Arc<dyn Content>>,
    blobs: HashMap<Digest, Bytes>,
    names: BTreeMap<String, (Manifest, u64)>,
    calls: Calls,
    versions: u64,
    failing: Option<String>,
    listing_refused: bool,
    breaks: usize,
    break_after: usize,
    delay: Duration,
}

/// How often each call was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls of `find`.
    pub find: u32,
    /// Calls of `store`.
    pub store: u32,
    /// Calls of `read`.
    pub read: u32,
    /// Calls of `load`.
    pub load: u32,
    /// Calls of `publish`.
    pub publish: u32,
    /// Calls of `remove`.
    pub remove: u32,
    /// Listings of layers.
    pub list: u32,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Where the bytes of layers to store come from.
    pub fn set_content(&self, content: Arc<dyn Content>) {
        self.state().content = Some(content);
    }

    /// Puts a layer there.
    pub fn insert(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.state().blobs.insert(digest.clone(), bytes);
        digest
    }

    /// Replaces the bytes of a layer by others.
    pub fn spoil(&self, blob: &Digest, bytes: impl Into<Bytes>) {
        self.state().blobs.insert(blob.clone(), bytes.into());
    }

    /// The bytes of a layer.
    pub fn get(&self, blob: &Digest) -> Option<Bytes> {
        self.state().blobs.get(blob).cloned()
    }

    /// Loses a layer.
    pub fn lose(&self, blob: &Digest) {
        self.state().blobs.remove(blob);
    }

    /// Loses all layers.
    pub fn remove_all(&self) {
        self.state().blobs.clear();
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.state().blobs.len()
    }

    /// The manifest of a name.
    pub fn manifest(&self, name: &str) -> Option<Manifest> {
        let state = self.state();
        state.names.get(name).map(|(manifest, _)| manifest.clone())
    }

    /// How often each call was made.
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// Fails every call with this text, or none.
    pub fn fail(&self, text: Option<&str>) {
        self.state().failing = text.map(str::to_owned);
    }

    /// Lists nothing from now on.
    pub fn refuse_listing(&self) {
        self.state().listing_refused = true;
    }

    /// Breaks the next `times` streams after so many bytes.
    pub fn break_reads(&self, times: usize, after: usize) {
        let mut state = self.state();
        (state.breaks, state.break_after) = (times, after);
    }

    /// Lets every call take this long.
    pub fn set_delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and lets it wait or fail where that was demanded.
    async fn call(&self, count: impl FnOnce(&mut Calls)) -> Result<(), Error> {
        let (delay, failing) = {
            let mut state = self.state();
            count(&mut state.calls);
            (state.delay, state.failing.clone())
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match failing {
            Some(text) => Err(Error::Unavailable(text)),
            None => Ok(()),
        }
    }
}

impl State {
    fn find(&self, blob: &Digest) -> Option<StoredLayer> {
        self.blobs.get(blob).map(|bytes| StoredLayer {
            size: bytes.len() as u64,
            modified: 1,
            version: Digest::of(bytes).hex(),
        })
    }
}

impl Store for MemoryStore {
    fn find<'a>(
        &'a self,
        blobs: &'a [Digest],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredLayer>>, Error>> {
        Box::pin(async move {
            self.call(|calls| calls.find += 1).await?;
            let state = self.state();
            Ok(blobs.iter().map(|blob| state.find(blob)).collect())
        })
    }

    fn store<'a>(
        &'a self,
        blob: &'a Digest,
        size: u64,
    ) -> BoxFuture<'a, Result<StoreOutcome, Error>> {
        Box::pin(async move {
            self.call(|calls| calls.store += 1).await?;
            let content = {
                let state = self.state();
                if state.find(blob).is_some_and(|layer| layer.size == size) {
                    return Ok(StoreOutcome::Reused);
                }
                state.content.clone()
            };
            let content = content.ok_or_else(|| Error::Content("there is none".to_owned()))?;
            let read: Result<Vec<Bytes>, _> = content.read(blob, 0, size).try_collect().await;
            let bytes = read.map_err(|error| Error::Content(error.to_string()))?;
            self.state()
                .blobs
                .insert(blob.clone(), bytes.concat().into());
            Ok(StoreOutcome::Stored)
        })
    }

    fn read<'a>(
        &'a self,
        blob: &'a Digest,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<Option<ByteStream>, Error>> {
        Box::pin(async move {
            self.call(|calls| calls.read += 1).await?;
            let mut state = self.state();
            let Some(bytes) = state.blobs.get(blob).cloned() else {
                return Ok(None);
            };
            let start = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            let end = length.map_or(bytes.len(), |length| {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                start.saturating_add(length).min(bytes.len())
            });
            let mut rest = bytes.slice(start..end);
            let mut broken = None;
            if state.breaks > 0 && rest.len() > state.break_after {
                state.breaks -= 1;
                rest.truncate(state.break_after);
                broken = Some(Err(Error::Unavailable("the stream broke".to_owned())));
            }
            let chunks = std::iter::from_fn(move || {
                let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
                (!chunk.is_empty()).then_some(Ok(chunk))
            });
            Ok(Some(stream::iter(chunks.chain(broken)).boxed()))
        })
    }

    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<NamedManifest>, Error>> {
        Box::pin(async move {
            self.call(|calls| calls.load += 1).await?;
            let state = self.state();
            Ok(state
                .names
                .get(name)
                .map(|(manifest, version)| NamedManifest {
                    manifest: manifest.clone(),
                    version: version.to_string(),
                }))
        })
    }

    fn publish<'a>(
        &'a self,
        name: &'a str,
        manifest: &'a Manifest,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.call(|calls| calls.publish += 1).await?;
            let mut state = self.state();
            let missing: Vec<_> = manifest
                .layers
                .iter()
                .filter(|layer| {
                    let found = state.find(&layer.blob);
                    found.is_none_or(|found| found.size != layer.size)
                })
                .map(|layer| layer.blob.clone())
                .collect();
            if !missing.is_empty() {
                return Err(Error::MissingLayers(missing));
            }
            state.versions += 1;
            let version = state.versions;
            state
                .names
                .insert(name.to_owned(), (manifest.clone(), version));
            Ok(())
        })
    }

    fn remove<'a>(
        &'a self,
        blob: &'a Digest,
        seen: &'a StoredLayer,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.call(|calls| calls.remove += 1).await?;
            let mut state = self.state();
            let is_same = state.find(blob).as_ref() == Some(seen);
            if is_same {
                state.blobs.remove(blob);
            }
            Ok(is_same)
        })
    }

    fn blobs(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<BlobInfo, Error>>, Error>> {
        Box::pin(async move {
            self.call(|calls| calls.list += 1).await?;
            let state = self.state();
            if state.listing_refused {
                return Err(Error::Forbidden("no listing".to_owned()));
            }
            let infos: Vec<_> = state
                .blobs
                .keys()
                .filter_map(|blob| {
                    let layer = state.find(blob)?;
                    Some(Ok(BlobInfo {
                        blob: blob.clone(),
                        size: layer.size,
                        modified: layer.modified,
                        version: layer.version,
                        used: None,
                    }))
                })
                .collect();
            Ok(stream::iter(infos).boxed())
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<String, Error>>, Error>> {
        Box::pin(async move {
            self.call(|_| ()).await?;
            let names: Vec<_> = self.state().names.keys().cloned().map(Ok).collect();
            Ok(stream::iter(names).boxed())
        })
    }
}
