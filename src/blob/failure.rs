//! A request that failed for good: what was tried, what came back, and what
//! that means to the user and to the cache.

use std::fmt;
use std::time::Duration;

use super::advice::{SentWith, advice};
use crate::error::Error;
use crate::transport::{Headers, TransportError};

/// A request that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Method and URL, without credentials.
    pub(crate) request: String,
    pub(crate) cause: Cause,
}

/// Why it failed.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    /// The service refused it.
    Refused(Box<Refusal>),
    /// There was no credential to send it with.
    Credential(Error),
    /// There was no whole answer.
    Transport(TransportError),
    /// There was an answer, but none that the Blob service gives.
    Strange {
        status: u16,
        /// What is strange about it.
        why: String,
    },
}

/// The service's refusal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Azure's error code, empty where there was none.
    pub(crate) code: String,
    /// What to quote to Azure's support.
    pub(crate) request_id: String,
    /// Azure's own words; empty where there were none.
    pub(crate) message: String,
    /// What Azure said beside: names such as `HeaderName`, and their values.
    pub(crate) details: Vec<(String, String)>,
    /// How far the server's clock was ahead of ours, in seconds.
    pub(crate) clock_ahead: Option<i64>,
    /// How long the server wants us to wait.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) sent_with: SentWith,
    /// The credential in words, without its secret.
    pub(crate) credential: String,
}

impl Refusal {
    /// The error code that tells what is meant. Azure's firewall has a code
    /// that the emulator gives a wrong signature.
    pub(super) fn meaning(&self) -> &str {
        match self.code.as_str() {
            "AuthorizationFailure" if self.message.contains("failed to authenticate") => {
                "AuthenticationFailed"
            }
            code => code,
        }
    }
}

impl Failure {
    /// The service's status and error code; 0 and nothing where it was not the
    /// service that answered.
    fn answer(&self) -> (u16, &str) {
        match &self.cause {
            Cause::Refused(refusal) => (refusal.status, &refusal.code),
            _ => (0, ""),
        }
    }

    /// Azure's error code, where there is one.
    pub(crate) fn code(&self) -> &str {
        self.answer().1
    }

    /// The service's status.
    pub(crate) fn status(&self) -> u16 {
        self.answer().0
    }

    /// The blob is not there, with or without its container. To those without
    /// a credential, `ResourceNotFound` is all that Azure says of a container
    /// that is not public.
    pub(crate) fn is_absence(&self) -> bool {
        let Cause::Refused(refusal) = &self.cause else {
            return false;
        };
        let is_absence = match refusal.code.as_str() {
            "BlobNotFound" | "ContainerNotFound" | "" => true,
            "ResourceNotFound" => refusal.sent_with != SentWith::Nothing,
            _ => false,
        };
        refusal.status == 404 && is_absence
    }

    /// A condition did not hold: another writer was there first, or an
    /// earlier try of our own whose answer was lost.
    pub(crate) fn is_lost_race(&self) -> bool {
        match self.status() {
            412 => true,
            409 => matches!(self.code(), "BlobAlreadyExists" | ""),
            _ => false,
        }
    }

    /// Azure refused it without a word, as it does where the answer has no body,
    /// and its code is none that tells enough.
    pub(super) fn is_unexplained(&self) -> bool {
        let Cause::Refused(refusal) = &self.cause else {
            return false;
        };
        refusal.message.is_empty()
            && match refusal.status {
                404 => !self.is_absence(),
                408 | 412 | 416 | 429 => false,
                status => (400..500).contains(&status),
            }
    }

    /// The answer is longer than the caller takes.
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self.cause, Cause::Transport(TransportError::TooLong(_)))
    }

    /// The uncommitted blocks are not what we left: another writer committed,
    /// or has left blocks whose ids are of another length.
    pub(crate) fn is_block_trouble(&self) -> bool {
        matches!(
            self.code(),
            "InvalidBlobOrBlock" | "InvalidBlockList" | "InvalidBlockId"
        )
    }
}

impl Cause {
    /// The service does not take the token.
    pub(super) fn is_401(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 401)
    }
}

/// What came back, in a few words.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => {
                write!(f, "{}", refusal.status)?;
                if !refusal.code.is_empty() {
                    write!(f, " {}", refusal.code)?;
                }
                if !refusal.message.is_empty() {
                    write!(f, ": {}", refusal.message.trim_end_matches('.'))?;
                }
                if !refusal.request_id.is_empty() {
                    write!(f, " (request id {})", refusal.request_id)?;
                }
                for (name, text) in &refusal.details {
                    write!(f, "\n  {name}: {}", text.replace('\n', "\n    "))?;
                }
                Ok(())
            }
            Self::Credential(error) => write!(f, "{error}"),
            Self::Transport(error) => match error {
                TransportError::Content(text) => write!(f, "the layer could not be read: {text}"),
                TransportError::Denied => {
                    f.write_str("the host does not allow requests to this address")
                }
                TransportError::Broken(text) | TransportError::Unusable(text) => f.write_str(text),
                TransportError::TooLong(limit) => {
                    write!(f, "the answer is longer than {limit} bytes")
                }
            },
            Self::Strange { status, why } => write!(
                f,
                "{status}, which is not an answer of Azure Blob Storage: {why}"
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.request, self.cause)?;
        // After details, which have lines of their own, a sentence has one too.
        let mut joint = match &self.cause {
            Cause::Refused(refusal) if !refusal.details.is_empty() => "\n",
            _ => ". ",
        };
        if let Cause::Refused(refusal) = &self.cause
            && (matches!(refusal.status, 401 | 403) || refusal.code == "InvalidAuthenticationInfo")
            && refusal.sent_with != SentWith::Nothing
        {
            write!(f, "{joint}It was sent with {}", refusal.credential)?;
            joint = ". ";
        }
        match self.advice() {
            "" => Ok(()),
            advice => write!(f, "{joint}{advice}"),
        }
    }
}

impl Failure {
    /// What to do, where that is known.
    fn advice(&self) -> &'static str {
        match &self.cause {
            Cause::Refused(refusal) => advice(refusal),
            Cause::Transport(TransportError::Broken(_)) => {
                "Check account_url, and the network and proxy between here and there"
            }
            Cause::Strange { .. } => {
                "Check account_url: another server, or a proxy in between, has answered"
            }
            Cause::Transport(_) | Cause::Credential(_) => "",
        }
    }
}

/// Whether a clock this many seconds off makes Azure refuse a request. Its
/// limit is 15 minutes; a request on its way takes time too.
pub(super) fn is_off(seconds: i64) -> bool {
    seconds.abs() > 14 * 60
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match &failure.cause {
            Cause::Credential(error) => error.clone(),
            Cause::Transport(TransportError::Content(why)) => Error::Content(why.clone()),
            Cause::Transport(TransportError::Denied) => Error::Forbidden(text),
            Cause::Transport(TransportError::Broken(_) | TransportError::Unusable(_)) => {
                Error::Unavailable(text)
            }
            Cause::Transport(TransportError::TooLong(_)) => Error::Corrupt(text),
            Cause::Strange { status, .. } if *status >= 500 => Error::Unavailable(text),
            Cause::Strange { .. } => Error::Other(text),
            Cause::Refused(refusal) => match (refusal.status, refusal.meaning()) {
                (404, "ResourceNotFound") if refusal.sent_with == SentWith::Nothing => {
                    Error::Unauthenticated(text)
                }
                (401, _)
                | (
                    _,
                    "AuthenticationFailed"
                    | "InvalidAuthenticationInfo"
                    | "NoAuthenticationInformation"
                    | "PublicAccessNotPermitted"
                    | "KeyBasedAuthenticationNotPermitted",
                ) => Error::Unauthenticated(text),
                (403, _) => Error::Forbidden(text),
                (408 | 429 | 500.., _) | (_, "ContainerBeingDeleted") => Error::Unavailable(text),
                _ => Error::Other(text),
            },
        }
    }
}

/// How long the server wants us to wait, by any of the fields that say so.
/// `now` is the time that a date in `Retry-After` is measured from.
pub(super) fn retry_after(headers: &Headers, now: std::time::SystemTime) -> Option<Duration> {
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        if let Some(milliseconds) = headers.get(name).and_then(|text| text.trim().parse().ok()) {
            return Some(Duration::from_millis(milliseconds));
        }
    }
    let text = headers.get("retry-after")?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .ok(),
    }
}
