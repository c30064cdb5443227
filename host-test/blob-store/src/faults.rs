//! A script of what goes wrong: plain data that a test, a file or the admin path hands in, and the
//! decision what of it hits a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::request::OperationKind;

/// One rule: which requests it hits, and what happens to them.
///
/// ```
/// use blob_store::{Action, Fault, OperationKind};
///
/// let third_block = Fault::new(Action::CutRequest { after: 1000 }).on(OperationKind::PutBlock).skip(2).times(1);
/// let as_json = r#"{"operation":"PutBlock","skip":2,"times":1,"action":{"cut-request":{"after":1000}}}"#;
/// assert_eq!(serde_json::to_string(&third_block).unwrap(), as_json);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation: Option<OperationKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    skip: u64,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    every: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    action: Action,
}

fn one() -> u64 {
    1
}

fn is_one(every: &u64) -> bool {
    *every == 1
}

fn is_zero(skip: &u64) -> bool {
    *skip == 0
}

impl Fault {
    /// Hits every request.
    pub fn new(action: Action) -> Self {
        Self {
            operation: None,
            key: None,
            skip: 0,
            every: 1,
            times: None,
            action,
        }
    }

    /// Hits this operation only.
    pub fn on(mut self, operation: OperationKind) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Hits blobs only whose key contains this.
    pub fn key(mut self, part: impl Into<String>) -> Self {
        self.key = Some(part.into());
        self
    }

    /// Lets the first `requests` that it would hit pass.
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Hits the first of each `requests` after those that pass.
    pub fn every(mut self, requests: u64) -> Self {
        self.every = requests;
        self
    }

    /// Hits this many requests and no more.
    pub fn times(mut self, requests: u64) -> Self {
        self.times = Some(requests);
        self
    }

    /// What it does.
    pub fn action(&self) -> &Action {
        &self.action
    }

    fn is_about(&self, operation: OperationKind, key: &str) -> bool {
        self.operation.is_none_or(|on| on == operation)
            && self.key.as_ref().is_none_or(|part| key.contains(part))
    }

    /// Whether it hits the request that `seen` others like it came before.
    fn hits(&self, seen: u64) -> bool {
        let Some(past) = seen.checked_sub(self.skip) else {
            return false;
        };
        let every = self.every.max(1);
        past % every == 0 && self.times.is_none_or(|times| past / every < times)
    }
}

/// What happens to a request. Several that hit one request all happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// The work is done at once, the answer comes later.
    Delay {
        /// How much later, in milliseconds.
        ms: u64,
    },
    /// Both bodies pass no faster than this.
    Throttle {
        /// On this connection.
        bytes_per_second: u64,
    },
    /// Nothing is done; the answer is an error of the service.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The service's error code, such as `ServerBusy`.
        code: String,
        /// Further headers, such as `Retry-After`.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Nothing is done; the answer is the web page of a proxy that stands in between.
    ProxyPage {
        /// The HTTP status, 200 included.
        status: u16,
    },
    /// Nothing is done; the answer sends the client elsewhere.
    Redirect {
        /// The URL that it is sent to.
        to: String,
    },
    /// The connection is closed before the body is read.
    Refuse,
    /// The connection is closed in the middle of the request's body.
    CutRequest {
        /// How many bytes of the body are read before, or a little more.
        after: u64,
    },
    /// The connection is closed when all of the request's body is read; nothing is done.
    CutAfterRequest,
    /// One byte of the request's body arrives as another.
    CorruptRequest {
        /// Its position in the body.
        at: u64,
    },
    /// Reading the request's body pauses.
    StallRequest {
        /// How many bytes of the body are read before, or a little more.
        after: u64,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// The work is done, but the connection is closed instead of an answer.
    LoseAnswer,
    /// The connection is closed in the middle of the answer's body.
    CutResponse {
        /// How many bytes of the body are sent before; fewer, if the client reads none for a while.
        after: u64,
    },
    /// Sending the answer's body pauses.
    StallResponse {
        /// How many bytes of the body are sent before.
        after: u64,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// One byte of the answer's body is another.
    Corrupt {
        /// Its position in the body.
        at: u64,
    },
    /// The answer is well-formed, but its body lacks the last bytes.
    Short {
        /// How many.
        by: u64,
    },
    /// The answer is well-formed, but more follows what its body should be.
    Oversize {
        /// How many bytes.
        by: u64,
    },
    /// The answer says that its body has another length than it has. A body that is said to be
    /// shorter ends there; one that is said to be longer breaks off. What answers a question about
    /// a blob has no body, and says a wrong size.
    WrongLength {
        /// How many bytes are said to be there beyond those that are; too few, if negative.
        by: i64,
    },
    /// All goes well, and then the blob is gone: a write that did not last, or a blob that is
    /// removed between a look at it and a read.
    DropBlob,
    /// The server's clock is wrong.
    ClockSkew {
        /// How far ahead it is; behind, if negative.
        seconds: i64,
    },
}

impl Action {
    /// An error of the service without further headers.
    pub fn refuse_with(status: u16, code: &str) -> Self {
        Self::Answer {
            status,
            code: code.to_owned(),
            headers: Vec::new(),
        }
    }
}

/// The script that a running store follows. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Scripted>>>);

#[derive(Debug)]
struct Scripted {
    fault: Fault,
    /// How many requests it was about.
    seen: u64,
}

impl Faults {
    fn script(&self) -> MutexGuard<'_, Vec<Scripted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule, which counts from now on.
    pub fn push(&self, fault: Fault) {
        self.script().push(Scripted { fault, seen: 0 });
    }

    /// Puts these rules in the place of all others.
    pub fn set(&self, faults: Vec<Fault>) {
        *self.script() = faults
            .into_iter()
            .map(|fault| Scripted { fault, seen: 0 })
            .collect();
    }

    /// Lets all go well again.
    pub fn clear(&self) {
        self.script().clear();
    }

    /// The rules.
    pub fn list(&self) -> Vec<Fault> {
        self.script()
            .iter()
            .map(|scripted| scripted.fault.clone())
            .collect()
    }

    /// Counts a request, and says what happens to it.
    pub(crate) fn plan(&self, operation: OperationKind, key: &str) -> Plan {
        let mut plan = Plan::default();
        for scripted in self
            .script()
            .iter_mut()
            .filter(|scripted| scripted.fault.is_about(operation, key))
        {
            if scripted.fault.hits(scripted.seen) {
                plan.is_hit = true;
                plan.add(&scripted.fault.action);
            }
            scripted.seen += 1;
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Which of ten requests the rule hits.
    fn hit(fault: Fault) -> Vec<u64> {
        (0..10).filter(|seen| fault.hits(*seen)).collect()
    }

    #[test]
    fn a_rule_counts_the_requests_it_is_about() {
        let fault = || Fault::new(Action::Refuse);
        assert_eq!(hit(fault()), (0..10).collect::<Vec<_>>());
        assert_eq!(hit(fault().skip(7)), [7, 8, 9]);
        assert_eq!(hit(fault().times(2)), [0, 1]);
        assert_eq!(hit(fault().every(4)), [0, 4, 8]);
        assert_eq!(hit(fault().skip(1).every(3).times(2)), [1, 4]);
    }

    #[test]
    fn a_rule_is_about_an_operation_and_a_key() {
        let faults = Faults::default();
        faults.push(
            Fault::new(Action::Refuse)
                .on(OperationKind::PutBlock)
                .key("sha256:ab")
                .skip(1),
        );
        for (operation, key, refused) in [
            (OperationKind::PutBlock, "blobs/sha256:abc", false),
            (OperationKind::PutBlob, "blobs/sha256:abc", false),
            (OperationKind::PutBlock, "blobs/sha256:cba", false),
            (OperationKind::PutBlock, "blobs/sha256:abc", true),
        ] {
            assert_eq!(
                faults.plan(operation, key).refuse,
                refused,
                "{operation:?} {key}"
            );
        }
    }

    #[test]
    fn several_rules_hit_one_request() {
        let faults = Faults::default();
        faults.push(Fault::new(Action::Delay { ms: 1 }));
        faults.push(Fault::new(Action::Delay { ms: 2 }));
        faults.push(Fault::new(Action::LoseAnswer));
        let plan = faults.plan(OperationKind::GetBlob, "");
        assert_eq!(
            (plan.delay, plan.lose_answer),
            (Duration::from_millis(3), true)
        );
    }

    #[test]
    fn a_misspelt_rule_is_refused() {
        assert!(serde_json::from_str::<Fault>(r#"{"action":"refuse"}"#).is_ok());
        assert!(serde_json::from_str::<Fault>(r#"{"action":"refuse","time":1}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"action":{"delay":{"s":1}}}"#).is_err());
    }
}
