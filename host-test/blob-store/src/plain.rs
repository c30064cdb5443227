//! A second door without accounts and signatures: any key under `/_plain/` takes PUT, GET, HEAD and
//! DELETE, as many a small HTTP cache does. It serves backends that are not Azure's, and is closed
//! unless the store is told otherwise. It may ask for a bearer token.

use std::fmt;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, StatusCode};
use zeroize::Zeroizing;

use crate::answer::Answer;
use crate::names::{BlobKey, ContainerName};
use crate::operations::Call;
use crate::refusal::Refusal;
use crate::request::{OperationKind, Route};
use crate::upload::Failure;

/// Where the door is.
pub(crate) const PREFIX: &str = "/_plain/";

/// The container behind the door.
pub(crate) const CONTAINER: &str = "plain";

/// What a client has to send as `Authorization: Bearer TOKEN`. It prints as `[redacted]`.
#[derive(Clone)]
pub struct PlainToken(Zeroizing<String>);

impl PlainToken {
    /// A token of any text that a header can hold.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    fn check(&self, parts: &Parts) -> Result<(), Refusal> {
        let sent = parts.headers.get(AUTHORIZATION);
        let token = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if token == Some(&**self.0) {
            return Ok(());
        }
        let mut refusal = Refusal::new(
            StatusCode::UNAUTHORIZED,
            "InvalidAuthenticationInfo",
            "The request does not bring the token that opens this door.",
        );
        refusal.challenge = Some("Bearer");
        Err(refusal)
    }
}

impl fmt::Debug for PlainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A request that came through the door.
#[derive(Debug)]
pub(crate) struct Door<'a> {
    method: &'a Method,
    /// As it came over the wire.
    key: &'a str,
}

impl<'a> Door<'a> {
    /// `None` for a request that goes elsewhere.
    pub fn of(parts: &'a Parts) -> Option<Self> {
        Some(Self {
            method: &parts.method,
            key: parts.uri.path().strip_prefix(PREFIX)?,
        })
    }

    /// For counting and faults.
    pub fn route(&self) -> Route<'a> {
        let kind = match *self.method {
            Method::PUT => OperationKind::PutBlob,
            Method::GET => OperationKind::GetBlob,
            Method::HEAD => OperationKind::GetBlobProperties,
            Method::DELETE => OperationKind::DeleteBlob,
            _ => OperationKind::Other,
        };
        Route {
            kind,
            account: "",
            container: CONTAINER,
            key: Some(self.key),
        }
    }

    /// Does what the request asks for, if it brings the token, where there is one.
    pub async fn perform(
        &self,
        token: Option<&PlainToken>,
        call: &mut Call<'_>,
    ) -> Result<Answer, Failure> {
        token.map_or(Ok(()), |token| token.check(call.parts))?;
        let container = ContainerName::parse(CONTAINER)?;
        let key = BlobKey::from_wire(self.key)?;
        match *self.method {
            Method::PUT => call.put(&container, &key).await,
            Method::GET => Ok(call.get(&container, &key)?),
            Method::HEAD => Ok(call.properties(&container, &key)?),
            Method::DELETE => Ok(call.delete(&container, &key)?),
            _ => Err(Refusal::unsupported_verb(self.method).into()),
        }
    }
}
