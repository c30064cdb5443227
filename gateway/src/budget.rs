//! How many bytes the spool may take. A request that finds it full is held
//! while layers are on their way to the store, whose room becomes free then;
//! clients would repeat a refused request at once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The room in the spool.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    /// The part of it that becomes free by itself.
    leaving: u64,
}

/// Some of the room. It is free again when this is dropped.
#[derive(Debug)]
pub struct Room {
    budget: Arc<Budget>,
    bytes: u64,
    leaving: u64,
}

/// There is no room, and none becomes free by waiting.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    /// How much there is in all, in bytes.
    pub limit: u64,
}

impl Budget {
    /// Room for `limit` bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// How much is taken, in bytes.
    pub fn used(&self) -> u64 {
        self.state().used
    }

    /// An empty room, to grow.
    pub fn room(self: &Arc<Self>) -> Room {
        Room {
            budget: Arc::clone(self),
            bytes: 0,
            leaving: 0,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Takes `bytes` more. Waits while others' room is about to become free.
    pub async fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        let budget = Arc::clone(&self.budget);
        loop {
            let mut changed = std::pin::pin!(budget.changed.notified());
            // Before the look, so that no change in between is missed.
            changed.as_mut().enable();
            {
                let mut state = budget.state();
                if bytes <= budget.limit.saturating_sub(state.used) {
                    state.used += bytes;
                    self.bytes += bytes;
                    return Ok(());
                }
                if state.leaving == 0 {
                    return Err(Full {
                        limit: budget.limit,
                    });
                }
            }
            changed.await;
        }
    }

    /// Another room in the same budget, with nothing in it.
    pub fn empty(&self) -> Self {
        self.budget.room()
    }

    /// Says whether this room becomes free by itself, since its content is on
    /// its way to the store.
    pub fn set_leaving(&mut self, is_leaving: bool) {
        let mut state = self.budget.state();
        state.leaving -= self.leaving;
        self.leaving = if is_leaving { self.bytes } else { 0 };
        state.leaving += self.leaving;
        drop(state);
        self.budget.changed.notify_waiters();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.used -= self.bytes;
        state.leaving -= self.leaving;
        drop(state);
        self.budget.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_for_what_leaves() {
        let budget = Budget::new(10);
        let mut one = budget.room();
        one.grow(8).await.expect("room");
        let mut two = budget.room();
        assert_eq!(two.grow(3).await, Err(Full { limit: 10 }));
        one.set_leaving(true);
        let waiting = tokio::spawn(async move {
            two.grow(3).await.expect("room");
            two
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished() && budget.used() == 8);
        drop(one);
        let two = waiting.await.expect("room");
        assert_eq!(budget.used(), 3);
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_what_will_not_leave_after_all_is_told() {
        let budget = Budget::new(10);
        let mut one = budget.room();
        one.grow(10).await.expect("room");
        one.set_leaving(true);
        let mut two = budget.room();
        let waiting = tokio::spawn(async move { two.grow(1).await });
        tokio::task::yield_now().await;
        one.set_leaving(false);
        assert_eq!(waiting.await.expect("an end"), Err(Full { limit: 10 }));
    }
}
