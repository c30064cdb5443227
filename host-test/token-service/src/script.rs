//! A script of what goes wrong: plain data that a test or a file hands in, and the decision what of
//! it hits a request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;

/// One rule: which requests it hits, and what happens to them.
///
/// ```
/// use token_service::{Action, Endpoint, Fault};
///
/// let busy_twice = Fault::new(Action::throttle(3)).on(Endpoint::Imds).times(2);
/// # let _ = busy_twice;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    #[serde(default)]
    endpoint: Option<Endpoint>,
    #[serde(default)]
    skip: u64,
    #[serde(default)]
    times: Option<u64>,
    action: Action,
}

impl Fault {
    /// Hits every request.
    pub fn new(action: Action) -> Self {
        Self {
            endpoint: None,
            skip: 0,
            times: None,
            action,
        }
    }

    /// Hits this endpoint only.
    pub fn on(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Lets the first `requests` that it would hit pass.
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Hits this many requests and no more.
    pub fn times(mut self, requests: u64) -> Self {
        self.times = Some(requests);
        self
    }

    /// Whether it hits the request that `seen` others like it came before.
    fn hits(&self, seen: u64) -> bool {
        seen.checked_sub(self.skip)
            .is_some_and(|past| self.times.is_none_or(|times| past < times))
    }
}

/// What happens to a request. Several that hit one request all happen; of several answers the last
/// is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// The answer comes later.
    Delay {
        /// How much later, in milliseconds.
        ms: u64,
    },
    /// The answer is this, whatever was asked.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The headers, `Content-Type` among them.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// The answer is one of Entra's errors.
    EntraError {
        /// The HTTP status.
        status: u16,
        /// OAuth's error, such as `invalid_client`.
        error: String,
        /// The number after `AADSTS`.
        code: u32,
        /// What comes after the number.
        message: String,
    },
    /// The connection is closed instead of an answer.
    Close,
    /// A token that is given is good for another time than usual.
    Lifetime {
        /// How long it is good.
        seconds: u64,
        /// After how many seconds a client may ask for the next; `None` to say nothing of it.
        #[serde(default)]
        refresh_in: Option<u64>,
    },
}

impl Action {
    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self::Answer {
            status,
            headers: headers.iter().map(owned).collect(),
            body: body.to_owned(),
        }
    }

    /// This status with a JSON error that says nothing of use.
    pub fn status(status: u16) -> Self {
        let body = r#"{"error":"temporarily_unavailable","error_description":"The service is not itself today."}"#;
        Self::answer(status, &[("Content-Type", "application/json")], body)
    }

    /// 429 with `Retry-After`.
    pub fn throttle(retry_after_seconds: u64) -> Self {
        let seconds = retry_after_seconds.to_string();
        let headers = [
            ("Content-Type", "application/json"),
            ("Retry-After", seconds.as_str()),
        ];
        Self::answer(429, &headers, r#"{"error":"temporarily_unavailable"}"#)
    }

    /// The web page of a proxy that stands in between; 200 is a status that they give too.
    pub fn html(status: u16) -> Self {
        let headers = [("Content-Type", "text/html")];
        Self::answer(status, &headers, "<html><body>Please log in.</body></html>")
    }

    /// 200 with JSON that breaks off.
    pub fn broken_json() -> Self {
        let headers = [("Content-Type", "application/json")];
        Self::answer(
            200,
            &headers,
            r#"{"token_type":"Bearer","access_token":"ey"#,
        )
    }

    /// 307 to another place, which a client must not follow with what it carries.
    pub fn redirect(to: &str) -> Self {
        Self::answer(307, &[("Location", to)], "")
    }

    /// What Docker Desktop's proxy says in the place of an IMDS that is not there.
    pub fn docker_desktop() -> Self {
        let headers = [("Content-Type", "text/plain")];
        let body = "connecting to 169.254.169.254:80: connect: A socket operation was attempted to an unreachable host.";
        Self::answer(403, &headers, body)
    }
}

/// The rules in force, each with the number of requests that it was about.
#[derive(Debug, Default)]
pub(crate) struct Script(Mutex<Vec<(Fault, u64)>>);

impl Script {
    fn rules(&self) -> MutexGuard<'_, Vec<(Fault, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule, which counts from now on.
    pub fn push(&self, fault: Fault) {
        self.rules().push((fault, 0));
    }

    /// Lets all go well again.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// Counts a request, and says what happens to it.
    pub fn plan(&self, endpoint: Endpoint) -> Plan {
        let mut plan = Plan::default();
        for (fault, seen) in self.rules().iter_mut() {
            if fault.endpoint.is_some_and(|on| on != endpoint) {
                continue;
            }
            if fault.hits(*seen) {
                plan.add(&fault.action);
            }
            *seen += 1;
        }
        plan
    }
}

/// All that happens to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub delay: Duration,
    /// An [`Action::Answer`] or [`Action::EntraError`].
    pub instead: Option<Action>,
    pub close: bool,
    /// Seconds, and the `refresh_in` that goes with them.
    pub lifetime: Option<(u64, Option<u64>)>,
}

impl Plan {
    fn add(&mut self, action: &Action) {
        match *action {
            Action::Delay { ms } => self.delay += Duration::from_millis(ms),
            Action::Answer { .. } | Action::EntraError { .. } => {
                self.instead = Some(action.clone());
            }
            Action::Close => self.close = true,
            Action::Lifetime {
                seconds,
                refresh_in,
            } => self.lifetime = Some((seconds, refresh_in)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_the_requests_it_is_about() {
        let script = Script::default();
        script.push(
            Fault::new(Action::Close)
                .on(Endpoint::Imds)
                .skip(1)
                .times(2),
        );
        let closed = |endpoint| script.plan(endpoint).close;
        assert!(!closed(Endpoint::Imds));
        assert!(!closed(Endpoint::Token));
        assert!(closed(Endpoint::Imds));
        assert!(closed(Endpoint::Imds));
        assert!(!closed(Endpoint::Imds));
    }

    #[test]
    fn several_rules_hit_one_request() {
        let script = Script::default();
        script.push(Fault::new(Action::Delay { ms: 1 }));
        script.push(Fault::new(Action::Delay { ms: 2 }));
        script.push(Fault::new(Action::Lifetime {
            seconds: 9,
            refresh_in: None,
        }));
        let plan = script.plan(Endpoint::Token);
        assert_eq!(plan.delay, Duration::from_millis(3));
        assert_eq!(plan.lifetime, Some((9, None)));
        script.clear();
        assert_eq!(script.plan(Endpoint::Token), Plan::default());
    }

    #[test]
    fn a_rule_can_be_written_as_json() {
        let text = r#"{"endpoint":"imds-probe","times":1,"action":{"answer":{"status":410}}}"#;
        let rule: Fault = serde_json::from_str(text).unwrap();
        assert!(rule.hits(0) && !rule.hits(1));
        assert!(serde_json::from_str::<Fault>(r#"{"action":"close","time":1}"#).is_err());
    }
}
