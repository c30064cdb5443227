//! The seam between azblob and everything outside it: requests, the clock,
//! chance, the files and identities that the host lends, and the host's ear. In the component, `wasi` stands behind it; in
//! tests, `scripted` does.
//!
//! Requests and answers are plain data, so that signing, retrying and parsing
//! are functions over data. A body that is a layer is only named here: the
//! transport has the host's stream flow into the request, and hands an
//! answer's stream on unread.

pub(crate) mod call;
#[cfg(test)]
pub(crate) mod scripted;
pub(crate) mod wasi;

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::digest::Digest;
use crate::secret::Secret;

/// What azblob asks of the world.
#[allow(
    async_fn_in_trait,
    reason = "used in this crate only, on one thread, without dynamic dispatch"
)]
pub(crate) trait Transport {
    /// The body of an answer, unread.
    type Body;

    /// Sends a request once, and returns the answer's head as soon as it is
    /// there. Follows no redirects.
    async fn send(&self, request: &Request) -> Result<Response<Self::Body>, TransportError>;

    /// Reads a body to its end.
    ///
    /// Fails with [`TransportError::TooLong`] when it is longer than `limit`
    /// bytes.
    async fn collect(&self, body: Self::Body, limit: usize) -> Result<Vec<u8>, TransportError>;

    /// The time of day, for dates in requests.
    fn time_of_day(&self) -> SystemTime;

    /// Time since some fixed moment; it never jumps.
    fn elapsed(&self) -> Duration;

    /// Waits.
    async fn sleep(&self, duration: Duration);

    /// What the work comes to, or nothing where it takes longer than this. It is
    /// given up then.
    async fn within<R>(&self, limit: Duration, work: impl Future<Output = R>) -> Option<R>;

    /// A random number, unpredictable enough for names of our own.
    fn random(&self) -> u64;

    /// Reads a small file that the host lends: none where there is none. An
    /// error says why in words.
    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, String>;

    /// Asks the host for a token of an identity that only it can use, such as
    /// that of a developer's signed-in tool: none where it has none. An error
    /// says why in words.
    async fn host_token(&self, scope: &str) -> Result<Option<HostToken>, String>;

    /// Tells the host what happened.
    fn emit(&self, event: Event);
}

/// A token that the host got.
pub(crate) struct HostToken {
    pub(crate) token: Secret,
    /// When it ends, in seconds since the Unix epoch.
    pub(crate) expires_at: u64,
}

/// What we report to the host while we work: the contract's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    LayerReused(Digest),
    LayerStarted(Digest),
    LayerStored(Digest),
    ManifestStored(String),
    Retrying {
        /// Method and URL, without credentials.
        request: String,
        /// What came back.
        reason: String,
        /// How often the request has been sent by now.
        attempt: u32,
        /// The wait before it is sent again.
        delay: Duration,
    },
    Warning(String),
}

/// The methods that the Blob service and those who give tokens know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Put,
    Post,
    Delete,
}

impl Method {
    /// The method as it is in a request.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// Header fields, in order.
#[derive(Clone, Default)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value under `name`, which is given in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Adds a field; `name` in lower case.
    pub(crate) fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// All fields.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// A request. It holds its signature once it has one, and so has no `Debug`.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Whether it goes over TLS.
    pub(crate) https: bool,
    /// `host` or `host:port`.
    pub(crate) authority: String,
    /// The path as it stands on the wire, percent-encoded.
    pub(crate) path: String,
    /// The query's parameters, not encoded.
    pub(crate) query: Vec<(&'static str, String)>,
    /// What follows in the query, encoded already and kept as it was given: a
    /// SAS token, or the query that an endpoint came with.
    pub(crate) given_query: Option<Secret>,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
    pub(crate) timeouts: Timeouts,
}

impl Request {
    /// Path and query as they stand on the wire.
    pub(crate) fn target(&self) -> String {
        let mut target = self.path.clone();
        for (index, (name, value)) in self.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            target.extend(utf8_percent_encode(value, QUERY));
        }
        if let Some(given) = &self.given_query {
            target.push(if self.query.is_empty() { '?' } else { '&' });
            target.push_str(given.expose());
        }
        target
    }

    /// Method and URL for people: without the query, which may hold secrets
    /// and says little.
    pub(crate) fn summary(&self) -> String {
        let method = self.method.as_str();
        let scheme = if self.https { "https" } else { "http" };
        format!("{method} {scheme}://{}{}", self.authority, self.path)
    }
}

/// What a query's value may not hold as it is.
pub(crate) const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// How long a request may go without a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Timeouts {
    /// Until a connection stands.
    pub(crate) connect: Duration,
    /// Until the answer begins, the sending of the body included.
    pub(crate) first_byte: Duration,
    /// Between two parts of the answer.
    pub(crate) between_bytes: Duration,
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Empty,
    Bytes(Rc<Vec<u8>>),
    /// Bytes of a layer that the host holds; they never enter our memory.
    Layer {
        digest: Digest,
        offset: u64,
        length: u64,
    },
}

impl Body {
    /// In bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Layer { length, .. } => *length,
        }
    }
}

/// An answer, its body not read yet.
pub(crate) struct Response<B> {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: B,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransportError {
    /// The host could not read the layer that the request carries.
    Content(String),
    /// The host does not let us send to this authority.
    Denied,
    /// The connection failed or broke; the next one may not.
    Broken(String),
    /// The request cannot be sent at all, now or later.
    Unusable(String),
    /// The body is longer than the limit, in bytes.
    TooLong(usize),
}
