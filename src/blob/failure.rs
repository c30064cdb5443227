//! A request that failed for good: what was tried, what came back, and what
//! that means to people and to the cache.

use std::fmt;
use std::time::Duration;

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
    /// The service said no.
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

/// The service's no.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Azure's error code, empty where there was none.
    pub(crate) code: String,
    /// What to quote to Azure's support.
    pub(crate) request_id: String,
    /// Azure's own words, in one line; empty where there were none.
    pub(crate) message: String,
    /// How far the server's clock was ahead of ours, in seconds.
    pub(crate) clock_ahead: Option<i64>,
    /// How long the server wants us to wait.
    pub(crate) retry_after: Option<Duration>,
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

    /// The blob is not there, with or without its container.
    pub(crate) fn is_absence(&self) -> bool {
        self.status() == 404
            && matches!(
                self.code(),
                "BlobNotFound" | "ContainerNotFound" | "ResourceNotFound" | ""
            )
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
                "{status}, which is no answer of Azure Blob Storage: {why}"
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.request, self.cause)?;
        match self.advice() {
            "" => Ok(()),
            advice => write!(f, ". {advice}"),
        }
    }
}

impl Failure {
    /// What to do, where that is known.
    fn advice(&self) -> &'static str {
        let refusal = match &self.cause {
            Cause::Refused(refusal) => refusal,
            Cause::Transport(TransportError::Broken(_)) => {
                return "Check account_url, and the network and proxy between here and there";
            }
            Cause::Strange { .. } => {
                return "Check account_url: another server, or a proxy in between, has answered";
            }
            Cause::Transport(_) | Cause::Credential(_) => return "",
        };
        match refusal.code.as_str() {
            _ if refusal.clock_ahead.is_some_and(is_off) && refusal.status == 403 => {
                "This machine's clock is more than 15 minutes off: set it right"
            }
            "AuthenticationFailed" | "InvalidAuthenticationInfo" => {
                "Check that the key, SAS token or identity is one for this account, and has not \
                 ended or been replaced"
            }
            "KeyBasedAuthenticationNotPermitted" => "The account does not allow keys",
            "AuthorizationFailure" => {
                "Check the account's firewall: it may not let this network in"
            }
            "AuthorizationPermissionMismatch" => {
                "The credential lacks a role such as Storage Blob Data Contributor, which Owner \
                 and Contributor do not include; a SAS token lacks a permission. A new role takes \
                 some minutes to count"
            }
            "AuthorizationResourceTypeMismatch" | "AuthorizationServiceMismatch" => {
                "The SAS token is for something else: an account's must allow the Blob service, \
                 its containers and its objects"
            }
            "AuthorizationProtocolMismatch" => "The SAS token asks for https",
            "AuthorizationSourceIPMismatch" => "The SAS token is for other addresses than this",
            "PublicAccessNotPermitted" | "NoAuthenticationInformation" => {
                "The account lets nobody in without a credential"
            }
            "ContainerNotFound" => "Check the container's name",
            "ContainerBeingDeleted" => {
                "The container is being deleted, which takes Azure a while: try again later"
            }
            "AccountIsDisabled" => "The storage account is disabled",
            _ if refusal.status == 503 || refusal.status == 429 => {
                "The store is busy: a lower parallelism may help"
            }
            _ => "",
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
            Cause::Refused(refusal) => match (refusal.status, refusal.code.as_str()) {
                (401, _)
                | (
                    _,
                    "AuthenticationFailed"
                    | "InvalidAuthenticationInfo"
                    | "NoAuthenticationInformation"
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
