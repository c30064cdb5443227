//! Whether to send a failed request again, and when: plain decisions.

use std::time::Duration;

use super::failure::Cause;
use crate::transport::TransportError;

/// The first wait, at most; each later one may be twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait, the server's own wish included.
const LONGEST: Duration = Duration::from_secs(60);

/// What is known when a request has failed.
pub(super) struct Attempt {
    /// How often it has been sent.
    pub(super) sent: u32,
    /// How long ago it failed for the first time.
    pub(super) failing_for: Duration,
    /// How often it may be sent again.
    pub(super) max_retries: u32,
    /// How long it may go on failing.
    pub(super) stall_timeout: Duration,
    /// A random number.
    pub(super) random: u64,
}

/// How long to wait before sending the request again, or none to give up.
pub(super) fn wait(cause: &Cause, attempt: &Attempt) -> Option<Duration> {
    if !may_pass(cause) || attempt.sent > attempt.max_retries {
        return None;
    }
    let wished = match cause {
        Cause::Refused(refusal) => refusal.retry_after,
        _ => None,
    };
    let wait = match wished {
        Some(wished) => wished.min(LONGEST),
        None => backoff(attempt.sent, attempt.random),
    };
    (attempt.failing_for + wait <= attempt.stall_timeout).then_some(wait)
}

/// Whether the same request may succeed later.
fn may_pass(cause: &Cause) -> bool {
    match cause {
        Cause::Refused(refusal) => {
            // What was sent arrived with a wrong byte, or it is on its way out.
            is_passing(refusal.status)
                || matches!(&*refusal.code, "Md5Mismatch" | "ContainerBeingDeleted")
        }
        Cause::Strange { status, .. } => is_passing(*status),
        // Whoever gives tokens was asked again already.
        Cause::Credential(_) => false,
        Cause::Transport(error) => matches!(error, TransportError::Broken(_)),
    }
}

/// The statuses that say 'later'.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// A wait that doubles with each try, of which a random part is taken, so
/// that clients who failed together do not come back together.
fn backoff(sent: u32, random: u64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << (sent - 1).min(16));
    let most = u64::try_from(doubled.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % (most + 1))
}
