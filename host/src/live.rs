//! A cache for a host that lives for weeks: instances come and go behind it.
//!
//! An instance of a plugin cannot live for ever. It traps, it reaches a limit,
//! it stops answering; its memory only ever grows; and the plugin itself may be
//! swapped. So no caller keeps an instance. A caller takes a [`Lease`] for each
//! call, and the lease is on an instance that is alive and not yet due to
//! retire. What retires is not ended: the calls and streams that run on it hold
//! it until the last of them is done. What has died is never leased again, and
//! the next lease opens another.
//!
//! Two things keep the peace. Admission: so many calls run at once, and more
//! wait in the order in which they came. A pause: a plugin that dies again and
//! again, or cannot be opened, is not opened in a tight loop.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::{Cache, Error, OpenOptions, Plugin, Registry};

/// When the instances behind a [`LiveCache`] retire, and how many calls run at
/// once. The defaults suit a server that many builds share.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// The most calls at once. A call counts until its lease, and every stream
    /// and clone of the cache that came of it, has been dropped. More calls
    /// wait in the order in which they came. At least 1.
    pub max_calls_at_once: usize,
    /// An instance that has been leased so many times gets no more calls.
    pub retire_after_calls: u64,
    /// An instance that has ever had more memory than this, in bytes, gets no
    /// more calls: memory of a plugin grows, and never shrinks.
    pub retire_above_memory_bytes: usize,
    /// An instance that was opened so long ago gets no more calls.
    pub retire_after_age: Duration,
    /// How long to wait before a plugin is opened again that failed twice in a
    /// row, or that could not be opened. Doubled with each further failure.
    pub first_pause: Duration,
    /// The longest such wait.
    pub longest_pause: Duration,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            // Each sends up to some dozens of requests of its own.
            max_calls_at_once: 64,
            retire_after_calls: 10_000,
            // Twice what the largest caches that were seen need; opening
            // another takes less than a millisecond.
            retire_above_memory_bytes: 128 << 20,
            retire_after_age: Duration::from_secs(60 * 60),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// An instance that has lived for so long before it died is not one of a row of
/// failures.
const SETTLED: Duration = Duration::from_secs(60);

impl Lifecycle {
    /// Whether an instance should get no more calls.
    fn is_over(&self, calls: u64, peak_memory_bytes: usize, age: Duration) -> bool {
        calls >= self.retire_after_calls.max(1)
            || peak_memory_bytes > self.retire_above_memory_bytes
            || age >= self.retire_after_age
    }

    /// How long to wait after so many failures in a row, for the second time
    /// or more.
    fn pause(&self, failures_before: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures_before.min(30));
        self.first_pause
            .saturating_mul(factor)
            .min(self.longest_pause)
    }
}

/// A cache for as long as the host runs. Each [`LiveCache::lease`] gives an
/// instance for one call: alive, not due to retire, and of the plugin that the
/// registry has at that moment. Calls that run on an earlier one finish there.
pub struct LiveCache {
    registry: Arc<Registry>,
    r#type: String,
    attributes: Vec<(String, String)>,
    options: OpenOptions,
    lifecycle: Lifecycle,
    admission: Arc<Semaphore>,
    /// The permits of `admission` in all.
    at_once: u32,
    /// Held while an instance is opened, so that one is opened for all who wait.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The plugin that served the type when a lease was last asked for.
    plugin: Option<Plugin>,
    current: Option<Open>,
    setbacks: Setbacks,
}

/// The instance that gets the calls.
struct Open {
    cache: Cache,
    since: Instant,
    calls: u64,
}

impl State {
    /// Lets go of what another plugin opened. What went wrong there says nothing
    /// of this one.
    fn follow(&mut self, plugin: &Plugin) {
        if !self.plugin.as_ref().is_some_and(|last| last.is(plugin)) {
            *self = Self {
                plugin: Some(plugin.clone()),
                ..Self::default()
            };
        }
    }

    /// Gives no more calls to an instance that has died or is due to retire. It
    /// ends with the last call that it runs.
    fn let_go(&mut self, lifecycle: &Lifecycle) {
        let Some(open) = &self.current else { return };
        let age = open.since.elapsed();
        if !open.cache.is_alive() {
            self.setbacks.died(age, lifecycle);
            self.current = None;
        } else if lifecycle.is_over(open.calls, open.cache.peak_memory_bytes(), age) {
            self.setbacks = Setbacks::default();
            self.current = None;
        }
    }
}

/// What went wrong lately.
#[derive(Default)]
struct Setbacks {
    /// How many instances died young, or could not be opened, in a row.
    in_a_row: u32,
    /// No other is opened before this.
    pause_ends: Option<Instant>,
    /// Why the last attempt to open one failed.
    refusal: Option<Error>,
}

impl Setbacks {
    /// An instance died. One failure may be one bad blob's, so that the next
    /// instance is opened at once.
    fn died(&mut self, age: Duration, lifecycle: &Lifecycle) {
        if age >= SETTLED {
            *self = Self::default();
        }
        self.pause_ends = (self.in_a_row > 0)
            .then(|| Instant::now().checked_add(lifecycle.pause(self.in_a_row - 1)))
            .flatten();
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    /// An instance could not be opened.
    fn refused(&mut self, error: Error, lifecycle: &Lifecycle) {
        self.pause_ends = Instant::now().checked_add(lifecycle.pause(self.in_a_row));
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.refusal = Some(error);
    }
}

/// An instance for one call: a [`Cache`] that counts as one of the calls at
/// once. It counts until the lease has been dropped, and with it every stream
/// and clone that came of the cache.
///
/// A caller that waits for a second lease while it holds one may wait for
/// itself where all others do the same: take one at a time.
#[derive(Debug)]
pub struct Lease(Cache);

impl Deref for Lease {
    type Target = Cache;

    fn deref(&self) -> &Cache {
        &self.0
    }
}

impl LiveCache {
    pub(crate) fn new(
        registry: Arc<Registry>,
        r#type: &str,
        attributes: Vec<(String, String)>,
        options: OpenOptions,
        lifecycle: Lifecycle,
    ) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let at_once = lifecycle.max_calls_at_once.clamp(1, most);
        Self {
            registry,
            r#type: r#type.to_owned(),
            attributes,
            options,
            lifecycle,
            admission: Arc::new(Semaphore::new(at_once)),
            at_once: u32::try_from(at_once).unwrap_or(u32::MAX),
            state: Mutex::default(),
        }
    }

    /// Waits until one more call may run, and gives an instance for it. Opens
    /// one where there is none, where the last one has died or is due to
    /// retire, and where another plugin serves the type by now.
    ///
    /// # Errors
    /// When no plugin serves the type, or none can be opened. That is the error
    /// of this call alone: a later call tries again, after a pause that grows
    /// while it keeps failing, and gets the same error until then.
    pub async fn lease(&self) -> Result<Lease, Error> {
        let permit = Arc::clone(&self.admission).acquire_owned().await;
        let permit = permit.map_err(|error| Error::Other(error.to_string()))?;
        let mut state = self.state.lock().await;
        let plugin = self.registry.get(&self.r#type)?;
        state.follow(&plugin);
        state.let_go(&self.lifecycle);
        if state.current.is_none() {
            let cache = self.open(&mut state.setbacks, &plugin).await?;
            state.current = Some(Open {
                cache,
                since: Instant::now(),
                calls: 0,
            });
        }
        let current = state.current.as_mut();
        let current = current.ok_or_else(|| Error::Other("no instance is open".into()))?;
        current.calls += 1;
        Ok(Lease(current.cache.admitted(permit)))
    }

    /// The cache of a [`Self::lease`]: it counts as a call until it has been
    /// dropped, with every stream and clone that came of it.
    ///
    /// # Errors
    /// Those of [`Self::lease`].
    pub async fn get(&self) -> Result<Cache, Error> {
        self.lease().await.map(|lease| lease.0)
    }

    /// Runs one call on a leased instance.
    ///
    /// # Errors
    /// Those of [`LiveCache::lease`], and those of the call.
    pub async fn with<T>(
        &self,
        call: impl AsyncFnOnce(&Cache) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let lease = self.lease().await?;
        call(&lease).await
    }

    /// Gives no more calls to the instance of the moment, and waits until all
    /// calls that are under way have ended: before a server ends, say. Calls
    /// that come meanwhile wait, and then run on another instance.
    pub async fn drain(&self) {
        self.state.lock().await.current = None;
        let _all = self.admission.acquire_many(self.at_once).await;
    }

    /// How many more calls could run at this moment.
    pub fn free_calls(&self) -> usize {
        self.admission.available_permits()
    }

    async fn open(&self, setbacks: &mut Setbacks, plugin: &Plugin) -> Result<Cache, Error> {
        if let Some(pause_ends) = setbacks.pause_ends.filter(|at| Instant::now() < *at) {
            match &setbacks.refusal {
                Some(refusal) => return Err(refusal.again()),
                None => sleep_until(pause_ends).await,
            }
        }
        let opened = plugin.open(&self.attributes, self.options.clone()).await;
        match &opened {
            Ok(_) => setbacks.refusal = None,
            Err(error) => setbacks.refused(error.again(), &self.lifecycle),
        }
        opened
    }
}

impl fmt::Debug for LiveCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveCache")
            .field("type", &self.r#type)
            .field("lifecycle", &self.lifecycle)
            .finish_non_exhaustive()
    }
}

/// What a leased cache, and every clone and stream of it, holds.
pub(crate) type Admission = Arc<OwnedSemaphorePermit>;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_instance_retires_after_calls_above_memory_and_by_age() {
        let lifecycle = Lifecycle {
            retire_after_calls: 10,
            retire_above_memory_bytes: 1000,
            retire_after_age: MINUTE,
            ..Lifecycle::default()
        };
        for (calls, memory, age, is_over) in [
            (0, 0, Duration::ZERO, false),
            (9, 1000, MINUTE / 2, false),
            (10, 0, Duration::ZERO, true),
            (0, 1001, Duration::ZERO, true),
            (0, 0, MINUTE, true),
        ] {
            let outcome = lifecycle.is_over(calls, memory, age);
            assert_eq!(outcome, is_over, "{calls} {memory} {age:?}");
        }
    }

    #[test]
    fn an_instance_gets_one_call_at_least() {
        let lifecycle = Lifecycle {
            retire_after_calls: 0,
            ..Lifecycle::default()
        };
        assert!(!lifecycle.is_over(0, 0, Duration::ZERO));
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let lifecycle = Lifecycle::default();
        let pauses = [0, 1, 2, 5, 6, 100, u32::MAX].map(|row| lifecycle.pause(row).as_millis());
        assert_eq!(pauses, [100, 200, 400, 3200, 5000, 5000, 5000]);
    }

    fn pause_of(setbacks: &Setbacks) -> Duration {
        setbacks
            .pause_ends
            .map_or(Duration::ZERO, |at| at.duration_since(Instant::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn one_death_costs_no_pause_and_a_row_of_them_does() {
        let lifecycle = Lifecycle::default();
        let mut setbacks = Setbacks::default();
        let pauses: Vec<_> = (0..4)
            .map(|_| {
                setbacks.died(Duration::from_secs(1), &lifecycle);
                pause_of(&setbacks).as_millis()
            })
            .collect();
        assert_eq!(pauses, [0, 100, 200, 400]);
        setbacks.died(SETTLED, &lifecycle);
        assert_eq!(pause_of(&setbacks), Duration::ZERO, "it had lived for long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_cannot_be_opened_is_not_tried_again_at_once() {
        let lifecycle = Lifecycle::default();
        let mut setbacks = Setbacks::default();
        for pause in [100, 200, 400] {
            setbacks.refused(Error::Other("no".into()), &lifecycle);
            assert_eq!(pause_of(&setbacks), Duration::from_millis(pause));
        }
    }
}
