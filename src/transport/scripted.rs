//! The seam as tests have it: a script answers each request at once, time
//! passes only in waits, and everything asked for is kept for a look
//! afterwards.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{Event, Headers, HostToken, Request, Response, Transport, TransportError};
use crate::secret::Secret;

/// What a script says to a request.
pub(crate) type Answer = Result<Reply, TransportError>;

/// An answer with its body.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Headers,
    body: Vec<u8>,
    /// The body breaks off after its bytes.
    breaks_off: bool,
    /// How long the body takes to come.
    takes: Duration,
}

impl Reply {
    /// An answer as the Blob service gives it.
    pub(crate) fn azure(status: u16) -> Self {
        Self::foreign(status).with("x-ms-request-id", "r-1")
    }

    /// An answer of some other server.
    pub(crate) fn foreign(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// A refusal of the Blob service.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Why not.\nRequestId:r-1</Message></Error>"
        );
        Self::azure(status).with("x-ms-error-code", code).body(body)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn taking(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }

    /// The same with a part of its body replaced.
    pub(crate) fn replacing(self, from: &str, to: &str) -> Self {
        let body = String::from_utf8_lossy(&self.body).replacen(from, to, 1);
        self.body(body)
    }

    pub(crate) fn breaking_off(mut self) -> Self {
        self.breaks_off = true;
        self
    }
}

/// A transport that a script answers for.
pub(crate) struct Scripted<F> {
    script: F,
    /// Each request that was sent: method, path and query.
    pub(crate) sent: RefCell<Vec<String>>,
    /// The signed requests themselves.
    pub(crate) requests: RefCell<Vec<Request>>,
    pub(crate) events: RefCell<Vec<Event>>,
    pub(crate) slept: RefCell<Vec<Duration>>,
    /// The files that the host lends.
    pub(crate) files: RefCell<BTreeMap<String, Vec<u8>>>,
    /// What the host's own identity gives: a token and when it ends.
    pub(crate) host_identity: RefCell<Result<Option<(String, u64)>, String>>,
    /// The most requests that were under way at once.
    pub(crate) most_at_once: Cell<usize>,
    at_once: Cell<usize>,
    elapsed: Cell<Duration>,
    random: Cell<u64>,
}

impl<F: Fn(&Request) -> Answer> Scripted<F> {
    pub(crate) fn new(script: F) -> Self {
        Self {
            script,
            sent: RefCell::default(),
            requests: RefCell::default(),
            events: RefCell::default(),
            slept: RefCell::default(),
            files: RefCell::default(),
            host_identity: RefCell::new(Ok(None)),
            most_at_once: Cell::new(0),
            at_once: Cell::new(0),
            elapsed: Cell::new(Duration::ZERO),
            random: Cell::new(1),
        }
    }

    /// Has a file be there with this content, now or in place of what was.
    pub(crate) fn write_file(&self, path: &str, content: impl Into<Vec<u8>>) {
        let mut files = self.files.borrow_mut();
        files.insert(path.to_owned(), content.into());
    }

    /// Has time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.elapsed.set(self.elapsed.get() + time);
    }

    /// How many requests were sent whose summary contains `what`.
    pub(crate) fn count(&self, what: &str) -> usize {
        let sent = self.sent.borrow();
        sent.iter().filter(|sent| sent.contains(what)).count()
    }
}

/// When tests take place.
pub(crate) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

impl<F: Fn(&Request) -> Answer> Transport for Scripted<F> {
    type Body = Reply;

    async fn send(&self, request: &Request) -> Result<Response<Reply>, TransportError> {
        let line = format!("{} {}", request.method.as_str(), request.target());
        self.sent.borrow_mut().push(line);
        self.requests.borrow_mut().push(request.clone());
        self.at_once.set(self.at_once.get() + 1);
        self.most_at_once
            .set(self.most_at_once.get().max(self.at_once.get()));
        let answer = (self.script)(request);
        yield_now().await;
        self.at_once.set(self.at_once.get() - 1);
        let reply = answer?;
        Ok(Response {
            status: reply.status,
            headers: reply.headers.clone(),
            body: reply,
        })
    }

    async fn collect(&self, reply: Reply, limit: usize) -> Result<Vec<u8>, TransportError> {
        self.pass(reply.takes);
        match reply {
            reply if reply.body.len() > limit => Err(TransportError::TooLong(limit)),
            reply if reply.breaks_off => Err(TransportError::Broken("it broke off".to_owned())),
            reply => Ok(reply.body),
        }
    }

    fn time_of_day(&self) -> SystemTime {
        NOW + self.elapsed.get()
    }

    fn elapsed(&self) -> Duration {
        self.elapsed.get()
    }

    async fn sleep(&self, duration: Duration) {
        self.slept.borrow_mut().push(duration);
        self.elapsed.set(self.elapsed.get() + duration);
        yield_now().await;
    }

    async fn within<R>(&self, limit: Duration, work: impl Future<Output = R>) -> Option<R> {
        let began = self.elapsed();
        let result = work.await;
        (self.elapsed() - began <= limit).then_some(result)
    }

    fn random(&self) -> u64 {
        // An odd factor, so that all numbers come by.
        self.random.set(
            self.random
                .get()
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1),
        );
        self.random.get()
    }

    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.files.borrow().get(path).cloned())
    }

    async fn host_token(&self, _: &str) -> Result<Option<HostToken>, String> {
        let given = self.host_identity.borrow().clone()?;
        Ok(given.map(|(token, expires_at)| HostToken {
            token: Secret::new(token),
            expires_at,
        }))
    }

    fn emit(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }
}

/// Lets everything else go first, once.
async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
