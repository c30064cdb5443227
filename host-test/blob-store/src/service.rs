//! The way of one request: what it is, what the fault script has for it, whether it may, what
//! comes of it. Any bad input ends here as a refusal; nothing but a cut connection ends without an
//! answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::header::{DATE, HOST, HeaderName, SERVER};
use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming;

use crate::admin;
use crate::answer::{Answer, Body};
use crate::auth::Account;
use crate::conditions::Conditions;
use crate::faults::Faults;
use crate::names::{BlobKey, ContainerName};
use crate::operations::Call;
use crate::plain;
use crate::plan::Instead;
use crate::refusal::Refusal;
use crate::request::{Operation, Route};
use crate::stats::{Counters, InFlight};
use crate::store::Store;
use crate::upload::{Broken, Failure, Upload};

/// The first and the last service version that a client may ask for.
const VERSIONS: (&str, &str) = ("2015-02-21", "2026-12-31");

/// The version that answers a client that asks for none.
const DEFAULT_VERSION: &str = "2025-11-05";

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Service {
    pub store: Store,
    pub account: Account,
    /// `http` or `https`.
    pub scheme: &'static str,
    pub faults: Faults,
    pub counters: Arc<Counters>,
    /// Whether the plain door is open.
    pub plain: bool,
    /// What it asks for.
    pub plain_token: Option<plain::PlainToken>,
    /// For request ids.
    pub answered: AtomicU64,
}

impl Service {
    /// Answers one request, or breaks its connection.
    pub async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let (parts, body) = request.into_parts();
        if let Some(admin) = admin::Request::of(&parts) {
            return admin.answer(self, body).await;
        }
        let plain = if self.plain {
            plain::Door::of(&parts)
        } else {
            None
        };
        let route = plain
            .as_ref()
            .map_or_else(|| Route::of(&parts), plain::Door::route);
        let in_flight = self.counters.begin(route.kind);
        let plan = self.faults.plan(route.kind, &route.readable_key());
        if plan.is_hit {
            self.counters.fault();
        }
        if plan.refuse {
            return Err(Broken);
        }
        let now = skewed(SystemTime::now(), plan.clock_skew_s);
        let request_id = self.request_id();
        let mut upload = Upload::new(body, &parts, &plan);
        if plan.cut_after_request {
            while upload.next(&in_flight).await?.is_some() {}
            return Err(Broken);
        }
        let outcome = match (&plan.instead, &plain) {
            (Some(instead), _) => {
                upload.drain().await;
                Ok(Answer::scripted(instead))
            }
            (None, Some(door)) => {
                let mut call = self.call(&parts, &mut upload, &in_flight);
                door.perform(self.plain_token.as_ref(), &mut call).await
            }
            (None, None) => {
                self.perform(&route, now, &mut self.call(&parts, &mut upload, &in_flight))
                    .await
            }
        };
        let mut answer = match outcome {
            Ok(answer) => answer,
            Err(Failure::Broken) => return Err(Broken),
            Err(Failure::Refused(refusal)) => {
                upload.drain().await;
                Answer::refusal(&refusal, &request_id, &httpdate::fmt_http_date(now))
            }
        };
        if plan.drop_blob {
            self.drop_blob(&route);
        }
        // Sleeping for no time at all would still take up to a millisecond.
        if !plan.delay.is_zero() {
            tokio::time::sleep(plan.delay).await;
        }
        if plan.lose_answer {
            return Err(Broken);
        }
        if !matches!(plan.instead, Some(Instead::ProxyPage { .. })) {
            put_service_headers(&mut answer, &parts, &request_id, now);
        }
        Ok(answer.into_response(&plan, in_flight, self.store.blocks()))
    }

    fn call<'a>(
        &'a self,
        parts: &'a Parts,
        upload: &'a mut Upload,
        request: &'a InFlight,
    ) -> Call<'a> {
        let host = parts
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("127.0.0.1");
        Call {
            store: &self.store,
            parts,
            upload,
            request,
            endpoint: format!("{}://{host}/{}", self.scheme, self.account.name),
        }
    }

    /// A request by the service's rules.
    async fn perform(
        &self,
        route: &Route<'_>,
        now: SystemTime,
        call: &mut Call<'_>,
    ) -> Result<Answer, Failure> {
        check_version(call.parts)?;
        self.account.authenticate(call.parts, route, now)?;
        if !matches!(
            call.parts.method,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE
        ) {
            return Err(Refusal::unsupported_verb(&call.parts.method).into());
        }
        call.perform(Operation::parse(route, call.parts)?).await
    }

    /// Removes the blob that a request was about, if there is one.
    fn drop_blob(&self, route: &Route<'_>) {
        let key = route.key.and_then(|key| BlobKey::from_wire(key).ok());
        if let (Ok(container), Some(key)) = (ContainerName::parse(route.container), key) {
            let any = Conditions::default();
            let _there_was_one = self.store.delete(&container, &key, &any);
        }
    }

    fn request_id(&self) -> String {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        format!("b10b0000-0000-4000-8000-{number:012x}")
    }
}

fn check_version(parts: &Parts) -> Result<(), Refusal> {
    let Some(version) = parts.headers.get("x-ms-version") else {
        return Ok(());
    };
    let version = version.to_str().unwrap_or_default();
    let is_date = version.len() == 10
        && version.bytes().enumerate().all(|(i, byte)| {
            if matches!(i, 4 | 7) {
                byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        });
    if is_date && (VERSIONS.0..=VERSIONS.1).contains(&version) {
        return Ok(());
    }
    Err(Refusal::invalid_header("x-ms-version", version).detail(
        "Reason",
        format!("Versions from {} to {} are served.", VERSIONS.0, VERSIONS.1),
    ))
}

fn skewed(now: SystemTime, seconds: i64) -> SystemTime {
    let shift = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds < 0 {
        now.checked_sub(shift)
    } else {
        now.checked_add(shift)
    };
    shifted.unwrap_or(now)
}

/// What stands on every answer of the service, by which a client tells it from that of a proxy.
fn put_service_headers(answer: &mut Answer, parts: &Parts, request_id: &str, now: SystemTime) {
    answer.set(SERVER, concat!("blob-store/", env!("CARGO_PKG_VERSION")));
    answer.set(DATE, httpdate::fmt_http_date(now));
    answer.set(HeaderName::from_static("x-ms-request-id"), request_id);
    answer.set(HeaderName::from_static("x-ms-version"), DEFAULT_VERSION);
    for name in ["x-ms-version", "x-ms-client-request-id"] {
        if let Some(value) = parts.headers.get(name) {
            answer
                .headers
                .insert(HeaderName::from_static(name), value.clone());
        }
    }
}
