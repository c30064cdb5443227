//! The limits on one instance: memory, tables, handles, what it hands over,
//! and the time that it computes for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::{ResourceLimiter, UpdateDeadline};

use crate::Grants;
use crate::activity::Activity;
use crate::state::{State, TICK};

/// The limits on one instance, and how near it came to them.
pub(crate) struct Limits {
    memory_bytes: usize,
    memories: usize,
    table_elements: usize,
    tables: usize,
    handles: usize,
    message_bytes: usize,
    /// The most memory that the guest had so far, in bytes.
    pub(crate) peak_memory_bytes: Arc<AtomicUsize>,
    compute_ticks: u64,
    /// Ticks spent computing since something moved.
    ticks: u64,
    activity: Activity,
    /// What the activity was at the last tick.
    seen: u64,
}

impl Limits {
    pub(crate) fn new(grants: &Grants) -> Self {
        let ticks = grants.compute_time.as_millis() / TICK.as_millis();
        Self {
            memory_bytes: grants.memory_bytes,
            memories: 0,
            table_elements: grants.table_elements,
            tables: 0,
            handles: grants.handles,
            message_bytes: grants.message_bytes,
            peak_memory_bytes: Arc::default(),
            compute_ticks: u64::try_from(ticks).unwrap_or(u64::MAX).max(1),
            ticks: 0,
            activity: Activity::default(),
            seen: 0,
        }
    }

    /// What moves bytes for the instance notes it here.
    pub(crate) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// A tick passed while guest code was running: lets others on, and ends a
    /// guest that moves nothing.
    pub(crate) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let last = self.activity.last();
        if self.seen != last {
            self.seen = last;
            self.ticks = 0;
        }
        self.ticks += 1;
        if self.ticks > self.compute_ticks {
            wasmtime::bail!(
                "it computed for {:?} without moving a byte, and was stopped",
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
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.tables = self.tables - current.min(self.tables) + desired;
        if self.tables > self.table_elements {
            wasmtime::bail!(
                "it asked for tables of {} entries, and may have {}",
                self.tables,
                self.table_elements
            );
        }
        Ok(true)
    }
}

/// Puts an instance's store under its limits.
pub(crate) fn apply(store: &mut wasmtime::Store<State>) {
    let limits = &store.data().limits;
    let (handles, message_bytes) = (limits.handles, limits.message_bytes);
    store.set_max_component_handles(handles);
    store.set_hostcall_fuel(message_bytes);
    store.limiter(|state| &mut state.limits);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| store.data_mut().limits.tick());
}

/// Why an instance ended, in a line, without the guest's stack.
pub(crate) fn explain(trap: &wasmtime::Error, limits: &Limits) -> String {
    if let Some(trap) = trap.downcast_ref::<wasmtime::Trap>() {
        return match trap {
            wasmtime::Trap::UnreachableCodeReached => {
                "it gave up (a panic, or memory that it could not get)".into()
            }
            wasmtime::Trap::StackOverflow => "its calls went too deep for the stack".into(),
            trap => format!("it trapped: {trap}"),
        };
    }
    // wasmtime has no types for these.
    match trap.root_cause().to_string() {
        text if text.contains("handle limit exceeded") => format!(
            "it had more than {} streams, futures, requests and tasks at once",
            limits.handles
        ),
        text if text.contains("fuel allocated for hostcalls") => format!(
            "it handed more than {} bytes to the host at once",
            limits.message_bytes
        ),
        text => text,
    }
}
