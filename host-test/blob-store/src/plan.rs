//! All that the fault script has for one request, put together: what the rooms that read and answer
//! requests look at.

use std::time::Duration;

use crate::faults::Action;

/// A point in a body where something happens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    pub after: u64,
    pub pause: Duration,
}

/// What the client gets instead of the real answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    Error {
        status: u16,
        code: String,
        headers: Vec<(String, String)>,
    },
    ProxyPage {
        status: u16,
    },
    Redirect {
        to: String,
    },
}

/// All that happens to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whether there is anything.
    pub is_hit: bool,
    pub delay: Duration,
    pub bytes_per_second: Option<u64>,
    pub instead: Option<Instead>,
    pub refuse: bool,
    pub cut_request: Option<u64>,
    pub cut_after_request: bool,
    pub corrupt_request: Option<u64>,
    pub stall_request: Option<Stall>,
    pub lose_answer: bool,
    pub cut_response: Option<u64>,
    pub stall_response: Option<Stall>,
    pub corrupt: Option<u64>,
    pub short: u64,
    pub oversize: u64,
    pub wrong_length: i64,
    pub drop_blob: bool,
    pub clock_skew_s: i64,
}

impl Plan {
    /// Adds what one rule does.
    pub fn add(&mut self, action: &Action) {
        let stall = |after, ms| {
            Some(Stall {
                after,
                pause: Duration::from_millis(ms),
            })
        };
        match *action {
            Action::Delay { ms } => self.delay += Duration::from_millis(ms),
            Action::Throttle { bytes_per_second } => {
                self.bytes_per_second = Some(bytes_per_second.max(1))
            }
            Action::Answer {
                status,
                ref code,
                ref headers,
            } => {
                self.instead = Some(Instead::Error {
                    status,
                    code: code.clone(),
                    headers: headers.clone(),
                });
            }
            Action::ProxyPage { status } => self.instead = Some(Instead::ProxyPage { status }),
            Action::Redirect { ref to } => {
                self.instead = Some(Instead::Redirect { to: to.clone() })
            }
            Action::Refuse => self.refuse = true,
            Action::CutRequest { after } => self.cut_request = Some(after),
            Action::CutAfterRequest => self.cut_after_request = true,
            Action::CorruptRequest { at } => self.corrupt_request = Some(at),
            Action::StallRequest { after, ms } => self.stall_request = stall(after, ms),
            Action::LoseAnswer => self.lose_answer = true,
            Action::CutResponse { after } => self.cut_response = Some(after),
            Action::StallResponse { after, ms } => self.stall_response = stall(after, ms),
            Action::Corrupt { at } => self.corrupt = Some(at),
            Action::Short { by } => self.short = by,
            Action::Oversize { by } => self.oversize = by,
            Action::WrongLength { by } => self.wrong_length = by,
            Action::DropBlob => self.drop_blob = true,
            Action::ClockSkew { seconds } => self.clock_skew_s = seconds,
        }
    }
}
