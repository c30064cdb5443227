//! The gateway itself: what all requests share, and which room answers which
//! request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use build_cache_host::Digest;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::{Hosts, Password};
use crate::documents::Documents;
use crate::fetch::Fetcher;
use crate::intake::Patience;
use crate::names::NameTemplate;
use crate::page;
use crate::pending::Pending;
use crate::refusal::{Code, Refusal};
use crate::reply::{self, API_VERSION, Reply};
use crate::route::{Query, Route};
use crate::source::Source;
use crate::spool::Spool;
use crate::stats::{Stats, Summary};
use crate::store::Store;
use crate::uploads::Uploads;

/// How a gateway behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which cache a repository and a tag name.
    pub names: NameTemplate,
    /// What clients must have; none lets everybody in who reaches the port.
    pub password: Option<Password>,
    /// Names and addresses beside this machine's own by which clients may call
    /// the gateway. Only looked at without a password.
    pub hosts: Vec<String>,
    /// Answers a manifest before it is durable. What could not be stored shows in
    /// [`Gateway::finish`] alone.
    pub write_behind: bool,
    /// Answers a manifest that could not be stored as if it had been, with a
    /// warning, so that no build fails for its cache.
    pub ignore_errors: bool,
    /// What clients may do.
    pub limits: Limits,
}

/// How much clients may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Bytes of a request's headers.
    pub header_bytes: usize,
    /// How long a request's headers may take. A connection that is kept open
    /// without a request ends after this time as well.
    pub header_time: Duration,
    /// Bytes of a manifest.
    pub manifest_bytes: u64,
    /// Uploads that are open at once.
    pub uploads: usize,
    /// How long an upload may rest before it is given up.
    pub upload_rest: Duration,
    /// How slowly a body may arrive.
    pub patience: Patience,
    /// Bytes of the manifests and configs that are kept in memory.
    pub document_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            header_bytes: 32 << 10,
            // Longer than BuildKit keeps an idle connection, which is 2 minutes.
            header_time: Duration::from_secs(150),
            manifest_bytes: 48 << 20,
            uploads: 256,
            upload_rest: Duration::from_secs(600),
            patience: Patience::default(),
            document_bytes: 48 << 20,
        }
    }
}

/// What was not stored when the gateway ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Caches whose manifest was not written.
    pub names: Vec<String>,
    /// Layers that were not stored.
    pub layers: Vec<Digest>,
}

impl Unfinished {
    /// Whether all is stored.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.layers.is_empty()
    }
}

/// A registry in front of stores. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub options: Options,
    pub hosts: Hosts,
    pub spool: Arc<Spool>,
    /// Where caches are pushed to.
    pub to: Option<Target>,
    /// Where they are pulled from, in the order in which they are asked.
    pub from: Vec<Arc<Source>>,
    pub documents: Documents,
    pub uploads: Uploads,
    pub fetcher: Fetcher,
    pub stats: Arc<Stats>,
    /// The last manifest that was pushed under each name.
    pub written: Mutex<HashMap<String, Written>>,
    /// The manifests that were answered and are not written yet, by their names.
    pub behind: Mutex<HashMap<String, (Digest, u64)>>,
    pub behind_changed: watch::Sender<()>,
    pub stop: watch::Sender<bool>,
}

/// A store that is pushed to.
pub(crate) struct Target {
    pub source: Arc<Source>,
    pub pending: Arc<Pending>,
}

/// A manifest as a client wrote it, and what stands for it in the store.
#[derive(Clone)]
pub(crate) struct Written {
    /// The digest of what this gateway would write for the same cache.
    pub canonical: Digest,
    /// The digest of what the client wrote.
    pub given: Digest,
    /// The documents that it names.
    pub needs: Vec<Digest>,
}

impl Gateway {
    /// A gateway that pushes to `to`, and pulls from it and then from each of
    /// `from`. The names stand for the stores in messages.
    ///
    /// The spool has to be the content of the cache behind `to`.
    pub fn new(
        options: Options,
        spool: Arc<Spool>,
        to: Option<(String, Arc<dyn Store>)>,
        from: Vec<(String, Arc<dyn Store>)>,
        stats: Arc<Stats>,
    ) -> Self {
        let source = |(label, store)| Source::new(label, store, Arc::clone(&stats));
        let to = to.map(|(label, store)| {
            let source = Source::target(label, store, Arc::clone(&stats));
            let pending = Pending::new(Arc::clone(&source), Arc::clone(&stats));
            Target { source, pending }
        });
        let first = to.iter().map(|to| Arc::clone(&to.source));
        let from = first.chain(from.into_iter().map(source)).collect();
        Self(Arc::new(Inner {
            hosts: Hosts::new(&options.hosts),
            documents: Documents::new(options.limits.document_bytes),
            uploads: Uploads::default(),
            fetcher: Fetcher::new(Arc::clone(&stats)),
            written: Mutex::default(),
            behind: Mutex::default(),
            behind_changed: watch::Sender::new(()),
            stop: watch::Sender::new(false),
            options,
            spool,
            to,
            from,
            stats,
        }))
    }

    /// What this run did so far.
    pub fn summary(&self) -> Summary {
        self.0.summary()
    }

    /// Everything that was counted.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    /// Opens the connection to the store that is pushed to, and learns what is
    /// there, before anybody asks.
    pub fn warm_up(&self) {
        if let Some(to) = &self.0.to {
            drop(to.source.list());
        }
    }

    /// Waits until everything that clients sent is stored.
    pub async fn flush(&self) {
        self.0.flush().await;
    }

    /// Takes no new connections, lets the requests and transfers under way end
    /// for as long as `grace`, and says what is lost.
    pub async fn finish(&self, grace: Duration) -> Unfinished {
        self.0.stop.send_replace(true);
        let ended = tokio::time::timeout(grace, async {
            // Who holds a receiver is a connection, or listens.
            self.0.stop.closed().await;
            self.0.flush().await;
        });
        let _ = ended.await;
        let mut unfinished = Unfinished {
            names: self.0.behind().keys().cloned().collect(),
            layers: Vec::new(),
        };
        if let Some(to) = &self.0.to {
            unfinished.layers = to.pending.unfinished();
        }
        unfinished.names.sort();
        unfinished
    }
}

impl Inner {
    pub fn behind(&self) -> MutexGuard<'_, HashMap<String, (Digest, u64)>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn written(&self) -> MutexGuard<'_, HashMap<String, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store to push to, or why there is none.
    pub fn target(&self) -> Result<&Target, Refusal> {
        self.to.as_ref().ok_or_else(|| {
            Refusal::new(
                Code::Denied,
                "this gateway only reads: it was started with --from and without --to, so nothing can be pushed",
            )
        })
    }

    async fn flush(&self) {
        let mut behind = self.behind_changed.subscribe();
        let _ = behind.wait_for(|()| self.behind().is_empty()).await;
        if let Some(to) = &self.to {
            to.pending.idle().await;
        }
    }

    fn summary(&self) -> Summary {
        self.stats
            .set_room(self.spool.used(), self.uploads.count() as u64);
        self.stats.summary()
    }

    /// Answers a request.
    pub async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Reply {
        let began = Instant::now();
        let is_head = request.method() == Method::HEAD;
        let route = Route::parse(request.uri().path());
        let label = route.as_ref().map_or("unknown", Route::label);
        let outcome = match self.admit(&request, route) {
            Ok(route) => self.dispatch(&mut request, route, peer).await,
            Err(refusal) => Err(refusal),
        };
        let mut reply = outcome.unwrap_or_else(|refusal| {
            let mut reply = reply::refusal(&refusal, is_head);
            if refusal.code == Code::Unauthorized {
                let realm = HeaderValue::from_static("Basic realm=\"build-cache\"");
                reply.headers_mut().insert(WWW_AUTHENTICATE, realm);
            }
            reply
        });
        let version = HeaderValue::from_static("registry/2.0");
        reply.headers_mut().insert(API_VERSION, version);
        self.stats.request(
            request.method().as_str(),
            request.uri().path(),
            label,
            reply.status().as_u16(),
            began.elapsed(),
        );
        reply
    }

    /// Whether the client may ask for this at all.
    fn admit(
        &self,
        request: &Request<Incoming>,
        route: Result<Route, Refusal>,
    ) -> Result<Route, Refusal> {
        // Whoever watches over the process has no password.
        if let Ok(Route::Health) = route {
            return route;
        }
        match &self.options.password {
            Some(password) if !password.is_in(request.headers()) => {
                return Err(Refusal::new(
                    Code::Unauthorized,
                    "this gateway asks for its user name and password: `docker login` with what it printed at its start",
                ));
            }
            None if !self.hosts.allow(request.headers()) => {
                return Err(Refusal::new(
                    Code::Denied,
                    "this gateway is not known by that name: call it localhost, or name the host with --allow-host; a page of another host may not call it at all",
                )
                .with_status(StatusCode::MISDIRECTED_REQUEST));
            }
            _ => {}
        }
        route
    }

    async fn dispatch(
        self: &Arc<Self>,
        request: &mut Request<Incoming>,
        route: Route,
        _peer: SocketAddr,
    ) -> Result<Reply, Refusal> {
        let method = request.method().clone();
        let query = Query::parse(request.uri().query());
        let is_read = matches!(method, Method::GET | Method::HEAD);
        match route {
            Route::Version if is_read => Ok(reply::text("application/json", "{}")),
            Route::Health if is_read => Ok(reply::text("text/plain; charset=utf-8", "ok\n")),
            Route::Page if is_read => Ok(page::page()),
            Route::Status if is_read => Ok(page::status(&self.summary())),
            Route::Metrics if is_read => {
                let _ = self.summary();
                Ok(page::metrics(self.stats.metrics()))
            }
            Route::Blob(_, blob) if is_read => match method {
                Method::HEAD => self.head_blob(&blob, request.headers()).await,
                _ => self.get_blob(&blob, request.headers()).await,
            },
            Route::Uploads(repository) if method == Method::POST => {
                self.begin_upload(&repository, &query, request).await
            }
            Route::Upload(repository, id) => match method {
                Method::PATCH => self.append(&repository, &id, request).await,
                Method::PUT => self.complete(&repository, &id, &query, request).await,
                Method::GET | Method::HEAD => self.upload_status(&repository, &id).await,
                Method::DELETE => self.cancel_upload(&repository, &id),
                _ => Err(unsupported()),
            },
            Route::Manifest(repository, reference) => match method {
                Method::GET | Method::HEAD => {
                    let is_head = method == Method::HEAD;
                    self.get_manifest(&repository, &reference, is_head).await
                }
                Method::PUT => self.put_manifest(&repository, &reference, request).await,
                _ => Err(unsupported()),
            },
            Route::Tags(repository) if is_read => self.tags(&repository, &query).await,
            Route::Referrers(..) if is_read => Ok(reply::text(
                "application/vnd.oci.image.index.v1+json",
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
            )),
            _ => Err(unsupported()),
        }
    }
}

fn unsupported() -> Refusal {
    Refusal::new(
        Code::Unsupported,
        "this registry does not do that: it stores and gives build caches, and `build-cache` removes them",
    )
}
