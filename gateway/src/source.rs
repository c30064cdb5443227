//! A store, and what is remembered of it: which layers it has. Clients ask about
//! one layer at a time, and a request to the store for each would cost a round
//! trip each time. So questions that come together are asked together, what was
//! answered is remembered for a while, and where the store is not too large, its
//! listing answers the rest.
//!
//! A memory that is wrong does no harm: a layer that was wrongly said to be there
//! is found out when the manifest is published, and one that was wrongly said to
//! be absent is sent again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use build_cache_host::{Digest, Error, StoredLayer};
use futures::StreamExt;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::stats::{LayerOutcome, Stats};
use crate::store::Store;

/// How long a layer that was there is taken to be there still. Publishing looks
/// for it again.
const PRESENT_FOR: Duration = Duration::from_secs(600);
/// How long a layer that was not there is taken to be absent. Another client
/// may have stored it meanwhile; then it is sent in vain.
const ABSENT_FOR: Duration = Duration::from_secs(20);
/// A manifest that is given out promises its layers, and a build fails on one
/// that is not there. So what was seen longer ago is looked for again.
const CERTAIN_FOR: Duration = Duration::from_secs(15);
/// How long a question waits for others, so as to be asked together with them.
const TOGETHER: Duration = Duration::from_millis(3);
/// How long a listing tells what is absent.
const LISTED_FOR: Duration = Duration::from_secs(60);
/// A listing is given up when it is longer than this. A store of that size has
/// many caches, and most of what it lists is of no interest.
const LISTED_LAYERS: usize = 40_000;
/// When a listing failed or was too long, none is tried for this time.
const LISTING_PAUSE: Duration = Duration::from_secs(600);
/// As many layers are remembered, some 100 bytes each.
const REMEMBERED: usize = 200_000;

/// The answer of a store to many questions at once.
type Answers = Result<HashMap<Digest, Option<StoredLayer>>, Arc<Error>>;

/// A store, and what is remembered of it.
pub(crate) struct Source {
    /// What messages call it.
    pub label: String,
    /// The store itself.
    pub store: Arc<dyn Store>,
    stats: Arc<Stats>,
    memory: Mutex<HashMap<Digest, Seen>>,
    batch: Mutex<Option<Batch>>,
    listing: Mutex<Listing>,
    /// Layers whose bytes were found to be wrong.
    spoiled: Mutex<HashSet<Digest>>,
    /// Whether a spoiled layer may be removed from it.
    is_target: bool,
}

#[derive(Clone)]
struct Seen {
    layer: Option<StoredLayer>,
    at: Instant,
}

/// Questions that wait to be asked together.
struct Batch {
    blobs: Vec<Digest>,
    answers: watch::Receiver<Option<Arc<Answers>>>,
}

#[derive(Default)]
struct Listing {
    /// When the last whole one began.
    listed: Option<Instant>,
    /// None is begun before.
    not_before: Option<Instant>,
    running: Option<watch::Receiver<()>>,
}

impl Source {
    /// A store to read from.
    pub fn new(label: String, store: Arc<dyn Store>, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self::over(label, store, stats, false))
    }

    /// The store that is written to.
    pub fn target(label: String, store: Arc<dyn Store>, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self::over(label, store, stats, true))
    }

    fn over(label: String, store: Arc<dyn Store>, stats: Arc<Stats>, is_target: bool) -> Self {
        Self {
            label,
            store,
            stats,
            memory: Mutex::default(),
            batch: Mutex::default(),
            listing: Mutex::default(),
            spoiled: Mutex::default(),
            is_target,
        }
    }

    /// Whether the store has a layer, for a client that would otherwise send it.
    pub async fn has(self: &Arc<Self>, blob: &Digest) -> Result<Option<StoredLayer>, Arc<Error>> {
        if self.is_spoiled(blob) {
            // So that the client sends a good one.
            return Ok(None);
        }
        if let Some(known) = self.recall(blob) {
            self.stats.lookup(true, known.is_some());
            return Ok(known);
        }
        let listing = self.list();
        let mut asked = std::pin::pin!(self.ask(blob));
        if let Some(mut listing) = listing {
            tokio::select! {
                answer = &mut asked => return self.answered(answer),
                _ = listing.changed() => {}
            }
            if let Some(known) = self.recall(blob) {
                self.stats.lookup(true, known.is_some());
                return Ok(known);
            }
        }
        let answer = asked.await;
        self.answered(answer)
    }

    fn answered(
        &self,
        answer: Result<Option<StoredLayer>, Arc<Error>>,
    ) -> Result<Option<StoredLayer>, Arc<Error>> {
        if let Ok(found) = &answer {
            self.stats.lookup(false, found.is_some());
        }
        answer
    }

    /// A layer to be read: what is remembered, else what the store says.
    pub async fn find(self: &Arc<Self>, blob: &Digest) -> Result<Option<StoredLayer>, Arc<Error>> {
        if self.is_spoiled(blob) {
            return Ok(None);
        }
        if let Some(Some(known)) = self.recall(blob) {
            return Ok(Some(known));
        }
        self.ask(blob).await
    }

    /// Which of these layers the store can give, for a manifest that promises
    /// them. Those that were found spoiled it cannot.
    pub async fn find_all(
        &self,
        blobs: &[Digest],
    ) -> Result<HashMap<Digest, Option<StoredLayer>>, Arc<Error>> {
        let mut found = HashMap::with_capacity(blobs.len());
        {
            let (memory, spoiled) = (self.memory(), self.spoiled());
            for blob in blobs {
                if spoiled.contains(blob) {
                    found.insert(blob.clone(), None);
                } else if let Some(seen) = memory.get(blob)
                    && seen.layer.is_some()
                    && seen.at.elapsed() < CERTAIN_FOR
                {
                    found.insert(blob.clone(), seen.layer.clone());
                }
            }
        }
        let asked: Vec<_> = blobs
            .iter()
            .filter(|blob| !found.contains_key(*blob))
            .cloned()
            .collect();
        if !asked.is_empty() {
            let answers = self.ask_store(&asked).await?;
            found.extend(answers);
        }
        Ok(found)
    }

    /// Remembers that a layer was just stored.
    pub fn learn_stored(&self, blob: &Digest, size: u64) {
        self.spoiled().remove(blob);
        let layer = StoredLayer {
            size,
            modified: 0,
            version: String::new(),
        };
        self.learn([(blob.clone(), Some(layer))]);
    }

    /// Forgets layers that turned out not to be there.
    pub fn learn_absent(&self, blobs: &[Digest]) {
        self.learn(blobs.iter().map(|blob| (blob.clone(), None)));
    }

    /// Whether the store's copy was found to be damaged.
    pub fn is_spoiled(&self, blob: &Digest) -> bool {
        self.spoiled().contains(blob)
    }

    /// Remembers that the store's copy is damaged: it is promised no more, and
    /// replaced as soon as a client sends it.
    pub fn learn_spoiled(self: &Arc<Self>, blob: &Digest, reason: &str) {
        self.doubt();
        if self.spoiled().insert(blob.clone()) {
            self.stats.lost(
                LayerOutcome::Spoiled,
                format!(
                    "{}: the stored copy of layer {blob} is damaged: {reason}. It is left out of the caches from now on; the next push that has it replaces it",
                    self.label
                ),
            );
            if self.is_target {
                tokio::spawn(Arc::clone(self).take_away(blob.clone()));
            }
        }
    }

    /// Removes a spoiled layer, so that no other gateway promises it. It is read
    /// once more first: it may have been spoiled on its way.
    async fn take_away(self: Arc<Self>, blob: Digest) {
        let label = &self.label;
        match self.try_take_away(&blob).await {
            Ok(true) => self
                .stats
                .warn(format!("{label}: the damaged layer {blob} was removed")),
            Ok(false) => {}
            Err(error) => self.stats.warn(format!(
                "{label}: the damaged layer {blob} stays in the store, since it could not be removed: {error}"
            )),
        }
    }

    async fn try_take_away(&self, blob: &Digest) -> Result<bool, Error> {
        let found = self.store.find(std::slice::from_ref(blob)).await?;
        let Some(Some(seen)) = found.into_iter().next() else {
            return Ok(false);
        };
        let Some(mut chunks) = self.store.read(blob, 0, None).await? else {
            return Ok(false);
        };
        let mut hash = Sha256::new();
        while let Some(chunk) = chunks.next().await {
            hash.update(&chunk?);
        }
        if Digest::from_hash(hash.finalize().into()) == *blob {
            self.spoiled().remove(blob);
            return Ok(false);
        }
        // A push may have replaced it meanwhile, which makes it another version.
        self.store.remove(blob, &seen).await
    }

    /// Forgets which layers are there: where one is gone or damaged, others may
    /// be too, and a builder would fail on each of them in turn.
    fn doubt(&self) {
        self.memory().retain(|_, seen| seen.layer.is_none());
        self.listing().listed = None;
    }

    /// Remembers that a layer which was promised is gone.
    pub fn learn_lost(&self, blob: &Digest) {
        self.doubt();
        self.learn_absent(std::slice::from_ref(blob));
        self.stats.lost(
            LayerOutcome::Lost,
            format!(
                "{}: layer {blob} is gone from the store. It is left out of the caches from now on",
                self.label
            ),
        );
    }

    /// Begins a listing where there is none that still tells. Gives what ends
    /// when it does.
    pub fn list(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let mut listing = self.listing();
        if let Some(running) = &listing.running {
            return Some(running.clone());
        }
        let now = Instant::now();
        let is_fresh = listing
            .listed
            .is_some_and(|at| now.duration_since(at) < LISTED_FOR);
        if is_fresh || listing.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let (ended, running) = watch::channel(());
        listing.running = Some(running.clone());
        drop(listing);
        let source = Arc::clone(self);
        tokio::spawn(async move {
            let whole = source.read_listing().await;
            let mut listing = source.listing();
            listing.running = None;
            match whole {
                true => listing.listed = Some(now),
                false => listing.not_before = Some(Instant::now() + LISTING_PAUSE),
            }
            drop(listing);
            drop(ended);
        });
        Some(running)
    }

    /// Learns all that the store lists. False where it lists too much, or
    /// nothing: then layers are asked for one by one, and errors show there.
    async fn read_listing(&self) -> bool {
        let Ok(mut blobs) = self.store.blobs().await else {
            return false;
        };
        let mut listed = Vec::new();
        while let Some(blob) = blobs.next().await {
            let Ok(blob) = blob else { return false };
            if listed.len() == LISTED_LAYERS {
                return false;
            }
            let layer = StoredLayer {
                size: blob.size,
                modified: blob.modified,
                version: blob.version,
            };
            listed.push((blob.blob, Some(layer)));
        }
        self.learn(listed);
        true
    }

    /// What is known of a layer without asking.
    fn recall(&self, blob: &Digest) -> Option<Option<StoredLayer>> {
        let seen = self.memory().get(blob).cloned();
        if let Some(seen) = seen {
            let valid = if seen.layer.is_some() {
                PRESENT_FOR
            } else {
                ABSENT_FOR
            };
            if seen.at.elapsed() < valid {
                return Some(seen.layer);
            }
            return None;
        }
        let listed = self.listing().listed;
        listed
            .is_some_and(|at| at.elapsed() < LISTED_FOR)
            .then_some(None)
    }

    fn learn(&self, layers: impl IntoIterator<Item = (Digest, Option<StoredLayer>)>) {
        let at = Instant::now();
        let mut memory = self.memory();
        memory.extend(
            layers
                .into_iter()
                .map(|(blob, layer)| (blob, Seen { layer, at })),
        );
        if memory.len() > REMEMBERED {
            memory.retain(|_, seen| seen.at.elapsed() < ABSENT_FOR);
            if memory.len() > REMEMBERED {
                memory.clear();
            }
        }
    }

    /// Asks the store, together with other requests of the same milliseconds.
    async fn ask(self: &Arc<Self>, blob: &Digest) -> Result<Option<StoredLayer>, Arc<Error>> {
        let mut answers = self.join_batch(blob);
        let answers = answers.wait_for(Option::is_some).await;
        let answers = answers.map_err(|_| Arc::new(ended()))?.clone();
        match answers.as_deref() {
            Some(Ok(answers)) => Ok(answers.get(blob).cloned().flatten()),
            Some(Err(error)) => Err(Arc::clone(error)),
            None => Err(Arc::new(ended())),
        }
    }

    fn join_batch(self: &Arc<Self>, blob: &Digest) -> watch::Receiver<Option<Arc<Answers>>> {
        let mut batch = self.batch();
        if let Some(batch) = &mut *batch {
            batch.blobs.push(blob.clone());
            return batch.answers.clone();
        }
        let (sender, answers) = watch::channel(None);
        *batch = Some(Batch {
            blobs: vec![blob.clone()],
            answers: answers.clone(),
        });
        let source = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(TOGETHER).await;
            let blobs = source.batch().take().map(|batch| batch.blobs);
            let answer = source.ask_store(&blobs.unwrap_or_default()).await;
            sender.send_replace(Some(Arc::new(answer)));
        });
        answers
    }

    async fn ask_store(&self, blobs: &[Digest]) -> Answers {
        let found = self.store.find(blobs).await.map_err(Arc::new)?;
        let answers: HashMap<_, _> = blobs.iter().cloned().zip(found).collect();
        self.learn(answers.clone());
        Ok(answers)
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<Digest, Seen>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self) -> MutexGuard<'_, Option<Batch>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listing(&self) -> MutexGuard<'_, Listing> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spoiled(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.spoiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gateway ends, and nobody answers any more.
fn ended() -> Error {
    Error::Unavailable("the gateway is ending".to_owned())
}

#[cfg(test)]
mod tests;
