//! The limits on one instance: memory, tables, and time spent computing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use wasmtime::{ResourceLimiter, UpdateDeadline};

use crate::Grants;
use crate::state::{State, TICK};

/// More table entries than a component of megabytes of code has.
const TABLE_ELEMENTS: usize = 100_000;

/// The limits on one instance, and how near it came to them.
pub(crate) struct Limits {
    memory_bytes: usize,
    memories: usize,
    /// The most memory that the guest had so far, in bytes.
    pub(crate) peak_memory_bytes: Arc<AtomicUsize>,
    compute_ticks: u64,
    /// Ticks spent computing since the guest last asked the host for anything.
    ticks: Activity,
}

/// Notes from outside the store that an instance is not only computing: bytes
/// that it waits for have moved.
#[derive(Clone, Default)]
pub(crate) struct Activity(Arc<AtomicU64>);

impl Activity {
    pub(crate) fn note(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Limits {
    pub(crate) fn new(grants: &Grants) -> Self {
        let ticks = grants.compute_time.as_millis() / TICK.as_millis();
        Self {
            memory_bytes: grants.memory_bytes,
            memories: 0,
            peak_memory_bytes: Arc::default(),
            compute_ticks: u64::try_from(ticks).unwrap_or(u64::MAX).max(1),
            ticks: Activity::default(),
        }
    }

    /// The guest does something other than compute.
    pub(crate) fn asked_the_host(&mut self) {
        self.ticks.note();
    }

    /// For what moves bytes without the instance.
    pub(crate) fn activity(&self) -> Activity {
        self.ticks.clone()
    }

    /// A tick passed while guest code was running: lets others on, and ends a
    /// guest that never asks for anything.
    pub(crate) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let before = self.ticks.0.fetch_add(1, Ordering::Relaxed);
        if before >= self.compute_ticks {
            wasmtime::bail!(
                "it computed for {:?} without asking the host for anything, and was stopped",
                TICK * u32::try_from(self.compute_ticks).unwrap_or(u32::MAX)
            );
        }
        Ok(UpdateDeadline::Yield(1))
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A component may have several memories: count what they have in all.
        self.memories = self.memories - current.min(self.memories) + desired;
        if self.memories > self.memory_bytes {
            wasmtime::bail!(
                "it asked for {} bytes of memory, and may have {}",
                self.memories,
                self.memory_bytes
            );
        }
        self.peak_memory_bytes
            .fetch_max(self.memories, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            wasmtime::bail!(
                "it asked for a table of {desired} entries, and may have {TABLE_ELEMENTS}"
            );
        }
        Ok(true)
    }
}

/// Puts an instance's store under its limits.
pub(crate) fn apply(store: &mut wasmtime::Store<State>) {
    store.limiter(|state| &mut state.limits);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| store.data_mut().limits.tick());
}
