//! Whether an instance gets anywhere: when it last moved a byte, and how long
//! the server that it asked may be silent.
//!
//! What a plugin asks for, says or computes does not count: all of that it can
//! do for ever. Two limits look at this: the one on computing
//! ([`Limits`](crate::limits::Limits)) and the one on idling
//! ([`Instance`](crate::instance::Instance)). A single request has one of its
//! own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When something last moved. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
    /// Until when a server may be silent, in milliseconds after `start`.
    silent_until: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            last: AtomicU64::new(0),
            silent_until: AtomicU64::new(0),
        }))
    }
}

impl Activity {
    /// Something has moved.
    pub(crate) fn note(&self) {
        self.0
            .last
            .store(self.after(Duration::ZERO), Ordering::Relaxed);
    }

    /// When something last moved, in milliseconds since some time.
    pub(crate) fn last(&self) -> u64 {
        self.0.last.load(Ordering::Relaxed)
    }

    /// A server has been asked, and may be silent for this long from now on:
    /// the request has a limit of its own.
    pub(crate) fn expect_silence(&self, limit: Duration) {
        let until = self.after(limit);
        self.0.silent_until.fetch_max(until, Ordering::Relaxed);
    }

    /// Ends when, from now on, nothing has moved for `limit` although no
    /// server may be silent.
    pub(crate) async fn ceased(&self, limit: Duration) {
        let begun = self.after(Duration::ZERO);
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        loop {
            let silent_until = self.0.silent_until.load(Ordering::Relaxed);
            let since = begun.max(self.last()).max(silent_until);
            let deadline = Duration::from_millis(since.saturating_add(limit));
            // A time that no clock will ever show is no limit.
            let Some(deadline) = self.0.start.checked_add(deadline) else {
                return std::future::pending().await;
            };
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    /// So long from now, in milliseconds after the start.
    fn after(&self, time: Duration) -> u64 {
        let time = self.0.start.elapsed().saturating_add(time);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn what_moves_at_times_does_not_cease() {
        let activity = Activity::default();
        let moving = activity.clone();
        let moves = async move {
            for _ in 0..8 {
                tokio::time::sleep(LIMIT / 4).await;
                moving.note();
            }
        };
        tokio::select! {
            biased;
            () = moves => {}
            () = activity.ceased(LIMIT) => panic!("it moved all the time"),
        }
        activity.ceased(LIMIT).await;
    }

    #[tokio::test]
    async fn a_server_may_be_silent_before_it_counts_as_idling() {
        let activity = Activity::default();
        activity.expect_silence(LIMIT * 3);
        let begun = Instant::now();
        activity.ceased(LIMIT).await;
        assert!(begun.elapsed() >= LIMIT * 4, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_limit_without_end_is_none() {
        let ceased = Activity::default();
        let outcome = tokio::time::timeout(LIMIT, ceased.ceased(Duration::MAX)).await;
        assert!(outcome.is_err(), "it ceased");
    }

    #[tokio::test]
    async fn a_time_limit_starts_when_one_begins_to_wait() {
        let activity = Activity::default();
        tokio::time::sleep(LIMIT).await;
        let begun = Instant::now();
        activity.ceased(LIMIT).await;
        assert!(begun.elapsed() >= LIMIT);
    }
}
