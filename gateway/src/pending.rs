//! Layers on their way from the spool to the store. They are stored as soon as
//! they are whole, side by side, while the client goes on; a request that needs
//! one to be durable waits for it here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use build_cache_host::{Digest, Error, StoreOutcome};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::source::Source;
use crate::spool::Spooled;
use crate::stats::Stats;

/// How much is stored at once: a layer up to [`SMALL`] counts for 1, a larger one
/// for [`LARGE_SHARE`], since the plugin sends its blocks side by side.
const AT_ONCE: usize = 64;
const SMALL: u64 = 512 << 10;
const LARGE_SHARE: u32 = 16;
/// After a failure of the store, clients that begin an upload get an error at
/// once for this time, so that they do not send what cannot be stored.
const DOWN_FOR: Duration = Duration::from_secs(5);

/// The layers on their way to one store.
pub(crate) struct Pending {
    source: Arc<Source>,
    stats: Arc<Stats>,
    layers: Mutex<HashMap<Digest, Arc<Entry>>>,
    permits: Semaphore,
    last_failure: Mutex<Option<(Instant, Arc<Error>)>>,
}

struct Entry {
    spooled: Arc<Spooled>,
    state: watch::Sender<State>,
    since: Instant,
}

#[derive(Clone)]
enum State {
    Running,
    Stored,
    Failed(Arc<Error>),
}

impl Pending {
    pub fn new(source: Arc<Source>, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self {
            source,
            stats,
            layers: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
            last_failure: Mutex::default(),
        })
    }

    /// Begins to store a layer, unless that is under way.
    pub fn submit(self: &Arc<Self>, spooled: Arc<Spooled>) {
        let entry = {
            let mut layers = self.layers();
            let known = layers.get(&spooled.digest);
            if known.is_some_and(|entry| !matches!(*entry.state.borrow(), State::Failed(_))) {
                return;
            }
            let entry = Arc::new(Entry {
                spooled,
                state: watch::Sender::new(State::Running),
                since: Instant::now(),
            });
            layers.insert(entry.spooled.digest.clone(), Arc::clone(&entry));
            entry
        };
        entry.spooled.set_leaving(true);
        let pending = Arc::clone(self);
        tokio::spawn(async move { pending.run(entry).await });
    }

    async fn run(&self, entry: Arc<Entry>) {
        let (blob, size) = (&entry.spooled.digest, entry.spooled.size);
        let share = if size > SMALL { LARGE_SHARE } else { 1 };
        let _permit = self.permits.acquire_many(share).await;
        let began = Instant::now();
        match self.store(blob, size).await {
            Ok(outcome) => {
                let reused = outcome == StoreOutcome::Reused;
                self.source.learn_stored(blob, size);
                self.stats.stored(blob, size, reused, began.elapsed());
                *self.failure() = None;
                self.layers().remove(blob);
                entry.state.send_replace(State::Stored);
            }
            Err(error) => {
                self.stats
                    .warn(format!("layer {blob} could not be stored: {error}"));
                let error = Arc::new(error);
                *self.failure() = Some((Instant::now(), Arc::clone(&error)));
                entry.spooled.set_leaving(false);
                entry.state.send_replace(State::Failed(error));
            }
        }
    }

    /// Stores a layer. A copy of it that was found damaged goes first, as a
    /// store leaves one of the right size alone.
    async fn store(&self, blob: &Digest, size: u64) -> Result<StoreOutcome, Error> {
        let store = &self.source.store;
        if self.source.is_spoiled(blob) {
            let blobs = std::slice::from_ref(blob);
            if let Some(Some(seen)) = store.find(blobs).await?.into_iter().next() {
                store.remove(blob, &seen).await?;
            }
        }
        store.store(blob, size).await
    }

    /// The layer, if it is on its way or could not be stored.
    pub fn get(&self, blob: &Digest) -> Option<Arc<Spooled>> {
        let layers = self.layers();
        layers.get(blob).map(|entry| Arc::clone(&entry.spooled))
    }

    /// Waits until these layers are stored, as far as they are on their way.
    /// One that failed is tried once more.
    pub async fn settle(
        self: &Arc<Self>,
        blobs: impl IntoIterator<Item = Digest>,
    ) -> Result<(), Arc<Error>> {
        let blobs: Vec<_> = blobs.into_iter().collect();
        for blob in &blobs {
            let failed = {
                let layers = self.layers();
                let entry = layers.get(blob);
                entry
                    .filter(|entry| matches!(*entry.state.borrow(), State::Failed(_)))
                    .map(|entry| Arc::clone(&entry.spooled))
            };
            if let Some(spooled) = failed {
                self.submit(spooled);
            }
        }
        for blob in blobs {
            let entry = self.layers().get(&blob).cloned();
            let Some(entry) = entry else { continue };
            let mut state = entry.state.subscribe();
            let state = state
                .wait_for(|state| !matches!(state, State::Running))
                .await;
            if let Ok(State::Failed(error)) = state.as_deref() {
                return Err(Arc::clone(error));
            }
        }
        Ok(())
    }

    /// What the store said just now, if it failed.
    pub fn recent_failure(&self) -> Option<Arc<Error>> {
        let failure = self.failure();
        let (at, error) = failure.as_ref()?;
        (at.elapsed() < DOWN_FOR).then(|| Arc::clone(error))
    }

    /// Waits until nothing is on its way any more.
    pub async fn idle(&self) {
        loop {
            let running = {
                let layers = self.layers();
                let mut entries = layers.values();
                entries
                    .find(|entry| matches!(*entry.state.borrow(), State::Running))
                    .map(|entry| entry.state.subscribe())
            };
            let Some(mut running) = running else { return };
            let _ = running
                .wait_for(|state| !matches!(state, State::Running))
                .await;
        }
    }

    /// The layers that are not stored, whether they are on their way or failed.
    pub fn unfinished(&self) -> Vec<Digest> {
        self.layers().keys().cloned().collect()
    }

    /// Gives up layers that failed longer ago than this.
    pub fn sweep(&self, age: Duration) {
        self.layers().retain(|_, entry| {
            let failed = matches!(*entry.state.borrow(), State::Failed(_));
            !(failed && entry.since.elapsed() > age)
        });
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Entry>>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> MutexGuard<'_, Option<(Instant, Arc<Error>)>> {
        self.last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
