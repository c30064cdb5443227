//! The Blob service: one function an operation, sent with retries. Knows
//! requests, answers and Azure's error codes; does not know caches.

mod advice;
mod block_id;
mod checksum;
mod concern;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod operations;
mod properties;
mod retry;
mod sending;
mod xml;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::time::SystemTime;

use futures::lock::Mutex;

pub(crate) use block_id::BlockIds;
pub(crate) use concern::Concern;
pub(crate) use failure::Failure;
pub(crate) use operations::{Condition, LONGEST_PAGE, MAX_PUT_BLOB, Page, Span, Whole};
pub(crate) use properties::{Properties, State};
pub(crate) use xml::Listed;

use failure::Refusal;

use crate::config::Config;
use crate::credential::Credential;
use crate::transport::Transport;

/// The version of the service's interface that requests ask for: BuildKit's
/// SDK sends the same, and Azurite 3.35 knows it.
const VERSION: &str = "2024-11-04";

/// The Blob service as one call of a cache uses it.
///
/// It belongs to one call, so that its counters count that call, and calls
/// side by side never wake one another.
pub(crate) struct Blobs<'a, T> {
    transport: &'a T,
    config: &'a Config,
    credential: &'a Credential,
    /// Requests sent, those sent again included.
    requests: Cell<u32>,
    /// Requests sent again.
    retries: Cell<u32>,
    /// How far the server's clock is ahead of ours, in seconds, once a
    /// request was refused for its date.
    clock_ahead: Cell<i64>,
    /// What is known of the container.
    container: Container,
    /// What Azure says to a GET of what it refuses without a word; asked for
    /// once, and held while it is.
    explanation: Mutex<Option<Refusal>>,
}

/// What one call knows of its container.
#[derive(Default)]
struct Container {
    /// An answer said that there is none.
    is_missing: Cell<bool>,
    /// How often it was made: an answer from before says nothing.
    times_made: Cell<u32>,
    /// Held while it is made, so that it is made once.
    making: Mutex<()>,
}

impl<'a, T: Transport> Blobs<'a, T> {
    /// The service for one call.
    pub(crate) fn new(transport: &'a T, config: &'a Config, credential: &'a Credential) -> Self {
        Self {
            transport,
            config,
            credential,
            requests: Cell::new(0),
            retries: Cell::new(0),
            clock_ahead: Cell::new(0),
            container: Container::default(),
            explanation: Mutex::default(),
        }
    }

    /// The time of day, in seconds since the Unix epoch: by the server's clock
    /// where ours turned out to be wrong.
    pub(crate) fn now(&self) -> u64 {
        let now = sending::shift(self.transport.time_of_day(), self.clock_ahead.get());
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    /// Requests sent so far, those sent again included.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// Whether an answer said that there is no such container.
    pub(crate) fn has_no_container(&self) -> bool {
        self.container.is_missing.get()
    }

    /// Requests sent again so far.
    pub(crate) fn retries(&self) -> u32 {
        self.retries.get()
    }
}
