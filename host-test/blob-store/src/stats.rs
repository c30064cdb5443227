//! Counts of what clients did. Bytes are those of bodies, heads not counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::request::OperationKind;

/// What clients did since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Requests by operation; operations that nobody asked for are left out. Requests that a fault
    /// hit count too.
    pub by_operation: BTreeMap<OperationKind, u64>,
    /// Bytes of request bodies that arrived.
    pub bytes_in: u64,
    /// Bytes of answer bodies that were handed to the connection.
    pub bytes_out: u64,
    /// The most requests that were under way at once, from head to the end of the answer.
    pub max_in_flight: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Requests that a fault hit, by one or several.
    pub faulted: u64,
}

impl Stats {
    /// All requests.
    pub fn requests(&self) -> u64 {
        self.by_operation.values().sum()
    }

    /// The requests for one operation.
    pub fn of(&self, operation: OperationKind) -> u64 {
        self.by_operation
            .get(&operation)
            .copied()
            .unwrap_or_default()
    }
}

/// The live counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_operation: [AtomicU64; OperationKind::ALL.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
    connections: AtomicU64,
    faulted: AtomicU64,
}

impl Counters {
    pub fn connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub fn fault(&self) {
        self.faulted.fetch_add(1, Relaxed);
    }

    /// Counts a request; it is under way until the answer is dropped.
    pub fn begin(self: &Arc<Self>, operation: OperationKind) -> InFlight {
        self.by_operation[operation as usize].fetch_add(1, Relaxed);
        let now = self.in_flight.fetch_add(1, Relaxed) + 1;
        self.max_in_flight.fetch_max(now, Relaxed);
        InFlight(Arc::clone(self))
    }

    pub fn snapshot(&self) -> Stats {
        let counts = OperationKind::ALL.map(|operation| {
            (
                operation,
                self.by_operation[operation as usize].load(Relaxed),
            )
        });
        Stats {
            by_operation: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            max_in_flight: self.max_in_flight.load(Relaxed),
            connections: self.connections.load(Relaxed),
            faulted: self.faulted.load(Relaxed),
        }
    }

    /// Begins anew. What is under way stays so, and counts for the next maximum.
    pub fn reset(&self) {
        let others = [
            &self.bytes_in,
            &self.bytes_out,
            &self.connections,
            &self.faulted,
        ];
        for count in self.by_operation.iter().chain(others) {
            count.store(0, Relaxed);
        }
        self.max_in_flight
            .store(self.in_flight.load(Relaxed), Relaxed);
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Counters>);

impl InFlight {
    pub fn bytes_in(&self, bytes: u64) {
        self.0.bytes_in.fetch_add(bytes, Relaxed);
    }

    pub fn bytes_out(&self, bytes: u64) {
        self.0.bytes_out.fetch_add(bytes, Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_is_of_requests_at_one_time() {
        let counters = Arc::new(Counters::default());
        drop(counters.begin(OperationKind::GetBlob));
        let (one, two) = (
            counters.begin(OperationKind::GetBlob),
            counters.begin(OperationKind::PutBlob),
        );
        let stats = counters.snapshot();
        assert_eq!(
            (
                stats.requests(),
                stats.of(OperationKind::GetBlob),
                stats.max_in_flight
            ),
            (3, 2, 2)
        );
        drop(two);
        counters.reset();
        assert_eq!(
            counters.snapshot(),
            Stats {
                max_in_flight: 1,
                ..Stats::default()
            }
        );
        drop(one);
    }

    #[test]
    fn every_operation_has_a_count_of_its_own() {
        for (place, operation) in OperationKind::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, place);
        }
    }
}
