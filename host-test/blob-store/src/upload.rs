//! A request's body on its way in: counted, slowed down, paused or cut as the plan says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::plan::{Plan, Stall};
use crate::refusal::Refusal;
use crate::stats::InFlight;

/// How much of a body is read for nothing, so that a client that sends all before it reads gets to
/// see why it was refused.
const MAX_DRAINED_BYTES: u64 = 256 << 20;

/// The connection broke, or a fault says that it does. There is nobody to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is cut")]
pub(crate) struct Broken;

/// Why an operation gave no answer of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Refused(Refusal),
    Broken,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Broken> for Failure {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

/// Holds bytes back so that no more than a rate pass.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    since: Instant,
    passed: u64,
}

impl Pace {
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            since: Instant::now(),
            passed: 0,
        }
    }

    /// What may pass at once, so that a slow body still looks like a flow: a twentieth of a second.
    pub fn step(&self) -> u64 {
        (self.bytes_per_second / 20).max(1)
    }

    /// Waits until these bytes were allowed to pass.
    pub async fn pass(&mut self, bytes: u64) {
        self.passed += bytes;
        let due = Duration::from_secs_f64(self.passed as f64 / self.bytes_per_second as f64);
        let early = due.saturating_sub(self.since.elapsed());
        if !early.is_zero() {
            tokio::time::sleep(early).await;
        }
    }
}

/// The same bytes but for one, if it is among them.
pub(crate) fn corrupted(bytes: Bytes, at: u64) -> Bytes {
    if at >= bytes.len() as u64 {
        return bytes;
    }
    let mut changed = bytes.to_vec();
    // A digit becomes another digit: the worst that can happen to a number.
    changed[at as usize] ^= 1;
    changed.into()
}

/// A request's body.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    /// `Content-Length`; hyper sees to it that the body has it.
    pub declared: Option<u64>,
    expects_continue: bool,
    received: u64,
    cut: Option<u64>,
    corrupt: Option<u64>,
    stall: Option<Stall>,
    pace: Option<Pace>,
}

impl Upload {
    pub fn new(body: Incoming, parts: &Parts, plan: &Plan) -> Self {
        let declared = parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            body,
            declared,
            expects_continue: parts.headers.contains_key(EXPECT),
            received: 0,
            cut: plan.cut_request,
            corrupt: plan.corrupt_request,
            stall: plan.stall_request,
            pace: plan.bytes_per_second.map(Pace::new),
        }
    }

    /// The next bytes; `None` at the end of a body that is whole.
    pub async fn next(&mut self, request: &InFlight) -> Result<Option<Bytes>, Broken> {
        while let Some(frame) = self.body.frame().await {
            let Ok(mut bytes) = frame.map_err(|_| Broken)?.into_data() else {
                continue;
            };
            let count = bytes.len() as u64;
            if let Some(at) = self.corrupt.and_then(|at| at.checked_sub(self.received)) {
                bytes = corrupted(bytes, at);
            }
            self.received += count;
            request.bytes_in(count);
            if self.cut.is_some_and(|after| self.received >= after) {
                return Err(Broken);
            }
            if let Some(stall) = self.stall.take_if(|stall| self.received >= stall.after) {
                tokio::time::sleep(stall.pause).await;
            }
            if let Some(pace) = &mut self.pace {
                pace.pass(count).await;
            }
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    /// Reads what the client still sends, unless it waits to be asked or there is too much.
    pub async fn drain(&mut self) {
        if self.expects_continue && self.received == 0 {
            return;
        }
        let mut left = MAX_DRAINED_BYTES;
        while left > 0 {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64))
                }
                _ => return,
            }
        }
    }
}
