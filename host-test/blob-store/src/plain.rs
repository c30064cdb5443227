//! A second door without accounts and signatures: any key under `/_plain/` takes PUT, GET, HEAD and
//! DELETE, as many a small HTTP cache does. It serves backends that are not Azure's, and is closed
//! unless the store is told otherwise.

use http::Method;
use http::request::Parts;

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

    pub async fn perform(&self, call: &mut Call<'_>) -> Result<Answer, Failure> {
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
