//! The one error type of the harness: what was expected, and what was seen.

use build_cache_host::Error;

/// What a check comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The backend, the host or the store did otherwise than they should.
    #[error("{0}")]
    Broken(String),
    /// A call failed that should not.
    #[error("a call failed: {0}")]
    Call(#[from] Error),
    /// The check needs what there is not.
    #[error("{0}")]
    NotRun(#[from] NotRun),
    /// The store could not be reached past the backend.
    #[error("cannot {action} {what} in the store itself: {reason}")]
    Store {
        /// What was tried: `put`, `delete`, …
        action: &'static str,
        /// The blob.
        what: String,
        /// What came back.
        reason: String,
    },
    /// A server that the tests need did not start.
    #[error("cannot start {server}: {reason}")]
    Server {
        /// Which one.
        server: &'static str,
        /// Why, and what to do.
        reason: String,
    },
}

/// What a check needs and there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRun {
    /// A way into the store past the backend.
    #[error("it needs a way into the store past the backend")]
    NoBackDoor,
    /// The store's own list of what it holds.
    #[error("it needs a store that can list what it holds")]
    NoListing,
    /// A store that can make a layer newer without sending it again.
    #[error("it needs a store that can touch what it holds")]
    NoTouch,
    /// Single layers, and names as arguments.
    #[error("it needs a backend of contract 0.2")]
    OldContract,
    /// A store in which a blob can be moved to where it cannot be read.
    #[error("it needs a store with an archive tier, and a backend that knows it")]
    NoArchive,
}

/// Fails the check with a text unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::Failure::Broken(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;
