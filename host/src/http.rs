//! The one door from a plugin to the network: every request of every instance
//! passes [`Hooks::send_request`], where it is held against what the instance
//! was granted, counted, and sent by the one pooled client.
//!
//! wasmtime's own sender is not used: it opens a connection for every request
//! and knows no proxy and no private certificate authority.

mod client;
mod progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::grants::Reach;
use crate::text::Scrubber;
pub(crate) use client::HttpClient;
pub use client::HttpOptions;
use progress::{Progress, TimedBody, WatchedBody};

type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

/// What an instance's requests came to.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) requests: AtomicU64,
    pub(crate) denied: AtomicU64,
}

/// The network as one instance sees it.
pub(crate) struct Hooks {
    client: HttpClient,
    /// Nothing, until the host has asked the backend what it wants.
    pub(crate) reach: Reach,
    pub(crate) traffic: Arc<Traffic>,
    scrubber: Arc<Scrubber>,
}

impl Hooks {
    pub(crate) fn new(client: HttpClient, scrubber: Arc<Scrubber>) -> Self {
        Self {
            client,
            scrubber,
            reach: Reach::default(),
            traffic: Arc::default(),
        }
    }
}

impl WasiHttpHooks for Hooks {
    /// The client sets it from the URL.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if !self.reach.allows(request.uri()) {
            self.traffic.denied.fetch_add(1, Ordering::Relaxed);
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        // A token that the plugin got by itself is a secret like those lent.
        let header = request.headers().get(http::header::AUTHORIZATION);
        let header = header.and_then(|header| header.to_str().ok());
        if let Some(token) = header.and_then(|header| header.strip_prefix("Bearer ")) {
            self.scrubber.learn(token);
        }
        Box::new(send(self.client.clone(), request, options))
    }
}

/// Sends one request. Ends it when neither side moves a byte for as long as
/// the host, or the plugin where it is stricter, lets it.
async fn send(
    client: HttpClient,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Sent {
    let first_byte = stricter(
        client.idle_timeout,
        options.and_then(|o| o.first_byte_timeout),
    );
    let between_bytes = stricter(
        client.idle_timeout,
        options.and_then(|o| o.between_bytes_timeout),
    );

    let progress = Arc::new(Progress::default());
    let has_length = request.headers().contains_key(http::header::CONTENT_LENGTH);
    let takes_body =
        has_length || matches!(request.method(), &http::Method::PUT | &http::Method::POST);
    let (parts, body) = request.into_parts();
    let body = if takes_body {
        reqwest::Body::wrap(WatchedBody::new(body, Arc::clone(&progress)))
    } else {
        // Without a length it would be sent as an empty chunked body, which a
        // store may refuse on a GET.
        reqwest::Body::default()
    };
    let request = reqwest::Request::try_from(http::Request::from_parts(parts, body))
        .map_err(|_| Error::HttpRequestUriInvalid)?;

    let response = tokio::select! {
        response = client.inner.execute(request) => response.map_err(|e| client::explain(&e))?,
        () = progress.stalled(first_byte) => return Err(Error::ConnectionReadTimeout),
    };
    let response = http::Response::from(response)
        .map(|body| TimedBody::new(body, between_bytes).boxed_unsync());
    Ok((response, Box::new(async { Ok(()) })))
}

fn stricter(host: Duration, plugin: Option<Duration>) -> Duration {
    plugin.map_or(host, |plugin| plugin.min(host))
}
