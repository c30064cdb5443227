//! Whether an instance gets anywhere: when it last moved a byte, and how long
//! the server that it asked may be silent.
//!
//! What a plugin asks for, says or computes does not count, and neither does
//! beginning a request: all of that it can do for ever. Two limits look at
//! this: the one on computing ([`Limits`](crate::limits::Limits)) and the one on
//! idling ([`Instance`](crate::instance::Instance)). A single request has one of
//! its own, and so has every stream that a reader waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
    /// How many servers may be silent now.
    silent: AtomicUsize,
    /// How long a server that was asked since something last moved may be
    /// silent, in milliseconds.
    silence: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            last: AtomicU64::new(0),
            silent: AtomicUsize::new(0),
            silence: AtomicU64::new(0),
        }))
    }
}

/// A server that may be silent, until dropped.
#[derive(Debug)]
pub(crate) struct Silence(Activity);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.0.silent.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activity {
    /// Something has moved.
    pub(crate) fn note(&self) {
        let now = millis(self.0.start.elapsed());
        self.0.last.store(now, Ordering::Relaxed);
        if self.0.silent.load(Ordering::Relaxed) == 0 {
            self.0.silence.store(0, Ordering::Relaxed);
        }
    }

    /// When something last moved, in milliseconds since some time.
    pub(crate) fn last(&self) -> u64 {
        self.0.last.load(Ordering::Relaxed)
    }

    /// A server has been asked, and may be silent for this long: the request
    /// has a limit of its own. It is granted once until something moves, however
    /// many servers are asked one after another.
    pub(crate) fn expect_silence(&self, limit: Duration) -> Silence {
        self.0.silent.fetch_add(1, Ordering::Relaxed);
        self.0.silence.fetch_max(millis(limit), Ordering::Relaxed);
        Silence(self.clone())
    }

    /// Ends when, from now on, nothing has moved for `limit`, and for as long as
    /// a server may be silent beyond that.
    pub(crate) async fn ceased(&self, limit: Duration) {
        self.deadline(limit, |begun| begun.max(self.last())).await;
    }

    /// Ends after `limit` and as long as a server may be silent beyond that,
    /// whatever else moves meanwhile.
    pub(crate) async fn over(&self, limit: Duration) {
        self.deadline(limit, |begun| begun).await;
    }

    async fn deadline(&self, limit: Duration, since: impl Fn(u64) -> u64) {
        let begun = millis(self.0.start.elapsed());
        loop {
            let silence = self.0.silence.load(Ordering::Relaxed);
            let deadline = since(begun)
                .saturating_add(millis(limit))
                .saturating_add(silence);
            // A time that no clock will ever show is no limit.
            let deadline = self.0.start.checked_add(Duration::from_millis(deadline));
            let Some(deadline) = deadline else {
                return std::future::pending().await;
            };
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    async fn time_until_ceased(activity: &Activity) -> Duration {
        let begun = Instant::now();
        activity.ceased(LIMIT).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
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
        assert_eq!(time_until_ceased(&activity).await, LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_may_be_silent_before_it_counts_as_idling() {
        let activity = Activity::default();
        let _silence = activity.expect_silence(LIMIT * 3);
        assert_eq!(time_until_ceased(&activity).await, LIMIT * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn asking_again_and_again_moves_nothing() {
        let activity = Activity::default();
        let asking = async {
            loop {
                let _silence = activity.expect_silence(LIMIT);
                tokio::time::sleep(LIMIT / 4).await;
            }
        };
        tokio::select! {
            biased;
            () = asking => {}
            took = time_until_ceased(&activity) => assert_eq!(took, LIMIT * 2),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_may_still_be_silent_while_others_move() {
        let activity = Activity::default();
        let silence = activity.expect_silence(LIMIT * 3);
        activity.note();
        assert_eq!(time_until_ceased(&activity).await, LIMIT * 4);
        drop(silence);
        activity.note();
        assert_eq!(time_until_ceased(&activity).await, LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_of_its_own_is_over_whatever_else_moves() {
        let activity = Activity::default();
        let moving = async {
            loop {
                tokio::time::sleep(LIMIT / 4).await;
                activity.note();
            }
        };
        let begun = Instant::now();
        tokio::select! {
            biased;
            () = moving => {}
            () = activity.over(LIMIT) => assert_eq!(begun.elapsed(), LIMIT),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_without_end_is_none() {
        let ceased = Activity::default();
        let outcome = tokio::time::timeout(LIMIT, ceased.ceased(Duration::MAX)).await;
        assert!(outcome.is_err(), "it ceased");
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_starts_when_one_begins_to_wait() {
        let activity = Activity::default();
        tokio::time::sleep(LIMIT).await;
        assert_eq!(time_until_ceased(&activity).await, LIMIT);
    }
}
