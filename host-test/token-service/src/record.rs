//! What clients did: every request with what it presented, in the order of the answers. No secret
//! is in it; those that went over the wire are kept apart, for tests that look whether one shows
//! where it must not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::endpoint::Endpoint;
use crate::entra::Proof;
use crate::secret::Secret;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// What was asked.
    pub endpoint: Endpoint,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The client or the identity that was named.
    pub client_id: Option<String>,
    /// What the client proved itself with, if Entra took it.
    pub proof: Option<Proof>,
    /// SHA-256 of the assertion, in hexadecimal digits.
    pub assertion_sha256: Option<String>,
    /// The audience that GitHub's token was asked for.
    pub audience: Option<String>,
    /// The status of the answer; `None` if the connection was closed instead.
    pub status: Option<u16>,
}

impl Seen {
    pub(crate) fn new(endpoint: Endpoint, method: &str, path: &str) -> Self {
        Self {
            endpoint,
            method: method.to_owned(),
            path: path.to_owned(),
            client_id: None,
            proof: None,
            assertion_sha256: None,
            audience: None,
            status: None,
        }
    }
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<(Vec<Seen>, Vec<Secret>)>);

impl Record {
    fn lock(&self) -> MutexGuard<'_, (Vec<Seen>, Vec<Secret>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn see(&self, seen: Seen) {
        self.lock().0.push(seen);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.lock().0.clone()
    }

    pub fn count(&self, endpoint: Endpoint) -> usize {
        let is_one = |seen: &&Seen| seen.endpoint == endpoint;
        self.lock().0.iter().filter(is_one).count()
    }

    /// Forgets the requests. The secrets stay: they must never show.
    pub fn reset(&self) {
        self.lock().0.clear();
    }

    pub fn keep_secret(&self, secret: Secret) {
        self.lock().1.push(secret);
    }

    pub fn secrets(&self) -> Vec<Secret> {
        self.lock().1.clone()
    }
}
