//! The one door from a plugin to the network: every request of every instance
//! passes [`Hooks::send_request`], where it is checked against what the instance
//! was granted, counted, and sent by the one pooled client.
//!
//! wasmtime's own sender is not used: it opens a connection for every request
//! and knows no proxy and no private certificate authority.

mod client;
mod compressed;
mod no_proxy;
mod progress;
mod proxy;
mod resolver;
mod roots;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::Grants;
use crate::activity::Activity;
use crate::capacity::OpenFiles;
use crate::listener::Listener;
use crate::reach::{NamedBy, Reach};
use crate::text::Scrubber;
pub(crate) use client::HttpClient;
pub use client::HttpOptions;
use client::Unsent;
use progress::{TimedBody, WatchedBody};

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
    /// A proxy that requests went through, in words.
    through: OnceLock<String>,
}

impl Traffic {
    /// A proxy that requests went through, in words; none where all of them
    /// were sent directly.
    pub(crate) fn through(&self) -> Option<&str> {
        self.through.get().map(String::as_str)
    }
}

/// The network as one instance sees it.
pub(crate) struct Hooks {
    /// Nothing, until the host has asked the backend what it wants.
    pub(crate) reach: Reach,
    scrubber: Arc<Scrubber>,
    door: Door,
}

/// What a request takes along on its way out.
#[derive(Clone)]
struct Door {
    client: HttpClient,
    traffic: Arc<Traffic>,
    activity: Activity,
    listener: Listener,
    /// One for each request that may be under way at once.
    permits: Arc<Semaphore>,
}

impl Hooks {
    pub(crate) fn new(
        client: HttpClient,
        grants: &Grants,
        activity: Activity,
        listener: Listener,
        scrubber: Arc<Scrubber>,
    ) -> Self {
        let fitting = OpenFiles::of_this_process().requests_of_an_instance();
        let permits = grants.requests.clamp(1, fitting);
        Self {
            reach: Reach::default(),
            scrubber,
            door: Door {
                client,
                traffic: Arc::default(),
                activity,
                listener,
                permits: Arc::new(Semaphore::new(permits)),
            },
        }
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.door.traffic)
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
        let Some(named_by) = self.reach.named_by(request.uri()) else {
            let error = self.door.denied(
                request.uri(),
                "neither its description nor an attribute or a variable that it was granted names it",
            );
            return Box::new(async { Err(error) });
        };
        // A token that the plugin got by itself is a secret like those lent.
        let header = request.headers().get(http::header::AUTHORIZATION);
        let header = header.and_then(|header| header.to_str().ok());
        if let Some(token) = header.and_then(|header| header.strip_prefix("Bearer ")) {
            self.scrubber.learn_sent(token);
        }
        Box::new(self.door.clone().send(named_by, request, options))
    }
}

impl Door {
    fn denied(&self, url: &http::Uri, reason: &str) -> Error {
        self.traffic.denied.fetch_add(1, Ordering::Relaxed);
        let authority = url.authority().map_or("nowhere", |a| a.as_str());
        self.listener.denied(authority, reason);
        Error::HttpRequestDenied
    }

    /// Sends one request when it is its turn. Ends it when neither side moves a
    /// byte for as long as the host, or the plugin where it is stricter, lets
    /// it.
    async fn send(
        self,
        named_by: NamedBy,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Sent {
        // Its own turn first, so that one instance cannot queue all others out.
        let turn = async |line: &Arc<Semaphore>| {
            let permit = Arc::clone(line).acquire_owned().await;
            permit.map_err(|error| Error::InternalError(Some(error.to_string())))
        };
        let permits = [
            turn(&self.permits).await?,
            turn(self.client.places()).await?,
        ];
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);

        let idle_timeout = self.client.idle_timeout();
        let first_byte = stricter(idle_timeout, options.and_then(|o| o.first_byte_timeout));
        let between_bytes = stricter(idle_timeout, options.and_then(|o| o.between_bytes_timeout));

        let moving = Activity::default();
        let has_length = request.headers().contains_key(http::header::CONTENT_LENGTH);
        let takes_body =
            has_length || matches!(request.method(), &http::Method::PUT | &http::Method::POST);
        let (parts, body) = request.into_parts();
        let (url, method) = (parts.uri.clone(), parts.method.clone());
        let body = if takes_body {
            let activities = [moving.clone(), self.activity.clone()];
            reqwest::Body::wrap(WatchedBody::new(body, activities))
        } else {
            // Without a length it would be sent as an empty chunked body, which
            // a store may refuse on a GET.
            reqwest::Body::default()
        };
        let request = reqwest::Request::try_from(http::Request::from_parts(parts, body))
            .map_err(|_| Error::HttpRequestUriInvalid)?;

        let proxy = self.client.proxy_for(request.url());
        if let Some(proxy) = &proxy {
            self.traffic.through.get_or_init(|| proxy.clone());
        }
        // Asking moves nothing: only what is sent and what comes back does.
        let silence = self.activity.expect_silence(first_byte);
        let response = tokio::select! {
            response = self.client.send(named_by, request) => response,
            () = moving.ceased(first_byte) => return Err(match proxy {
                None => Error::ConnectionReadTimeout,
                Some(proxy) => Error::InternalError(Some(format!(
                    "the server did not answer in time, through {proxy}"
                ))),
            }),
        };
        drop(silence);
        if response.is_ok() {
            self.activity.note();
        }
        let response = response.map_err(|unsent| match unsent {
            Unsent::Denied(reason) => self.denied(&url, &reason),
            Unsent::Failed(error) => error,
        })?;
        let response = compressed::undone(&method, response.into()).map(|body| {
            TimedBody::new(body, between_bytes, self.activity.clone(), permits).boxed_unsync()
        });
        Ok((response, Box::new(async { Ok(()) })))
    }
}

fn stricter(host: Duration, plugin: Option<Duration>) -> Duration {
    plugin.map_or(host, |plugin| plugin.min(host))
}
