//! How a request travels, and whether it goes again. The one room that touches
//! wasi:http and the clock.

use std::time::Duration;

use http::StatusCode;
use http::uri::Scheme;
use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{self as wasi, ErrorCode, Fields, Method, Response};
use wasip3::random::random::get_random_u64;
use wit_bindgen::{StreamReader, StreamResult};

use crate::bindings::build_cache::plugin::events::{Event, Retry, emit};
use crate::bindings::build_cache::plugin::types::Error;
use crate::config::Config;
use crate::server::Server;

/// How often a request is sent before it counts as failed.
const TRIES: u32 = 5;

/// The wait before the second try, at most. It doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait, the server's own wish included.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The longest body that is read into memory: a manifest of 100,000 layers.
const LONGEST_BODY: usize = 64 << 20;

/// How much of it is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A request, without its body and what every request has.
pub(crate) struct Request<'a> {
    method: Method,
    /// Below the cache's folder.
    path: &'a str,
    headers: Vec<(&'static str, String)>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
        }
    }

    /// Adds a header field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Whether it is a write on a condition.
    fn is_conditional(&self) -> bool {
        let mut names = self.headers.iter().map(|(name, _)| *name);
        matches!(self.method, Method::Put)
            && names.any(|name| matches!(name, "if-match" | "if-none-match"))
    }
}

/// Why a try failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another may not.
    Passing {
        request: String,
        reason: String,
        /// What the server asks for.
        wait: Option<Duration>,
    },
    /// Another would fail as well.
    Final(Error),
}

impl Server<'_> {
    /// Tries until it works, as long as that may help.
    pub(crate) async fn persist<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            let (request, reason, wait) = match attempt().await {
                Ok(value) => return Ok(value),
                Err(Failure::Passing {
                    request,
                    reason,
                    wait,
                }) => (request, reason, wait),
                Err(Failure::Final(error)) => return Err(error),
            };
            if tried == TRIES {
                return Err(Error::Unavailable(format!(
                    "{request}: {reason}, {tried} times"
                )));
            }
            let delay = wait
                .unwrap_or_else(|| backoff(tried, get_random_u64()))
                .min(LONGEST_WAIT);
            let delay_milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let retrying = Event::Retrying(Retry {
                request,
                reason,
                attempt: tried,
                delay_milliseconds,
            });
            emit(self.call, &retrying);
            self.retries.set(self.retries.get() + 1);
            monotonic_clock::wait_for(delay_milliseconds * 1_000_000).await;
        }
    }

    /// Sends a request once. None where there is no such file, or not in the
    /// version that was asked for.
    pub(crate) async fn send(
        &self,
        request: &Request<'_>,
        body: Option<StreamReader<u8>>,
    ) -> Result<Option<Response>, Failure> {
        let message = self.message(request, body).ok_or_else(|| {
            let request = self.describe(request);
            Failure::Final(Error::Other(format!(
                "{request}: the host refuses to send this"
            )))
        })?;
        self.requests.set(self.requests.get() + 1);
        let answer = client::send(message).await.map_err(|code| match code {
            ErrorCode::HttpRequestDenied => {
                let authority = &self.config.authority;
                Failure::Final(Error::Forbidden(format!(
                    "the host allows no request to {authority}"
                )))
            }
            code => Failure::Passing {
                request: self.describe(request),
                reason: why(&code),
                wait: None,
            },
        })?;
        match answer.get_status_code() {
            200 | 201 | 204 | 206 => Ok(Some(answer)),
            // What is only accepted may go, but is not durable.
            202 if matches!(request.method, Method::Delete) => Ok(Some(answer)),
            // Nothing lies in the range that was asked for.
            416 => Ok(Some(answer)),
            409 | 412 if request.is_conditional() => Err(Failure::Final(Error::Conflict(format!(
                "{}: another client was there first",
                self.describe(request)
            )))),
            404 | 410 | 412 => Ok(None),
            status => Err(refusal(
                &self.describe(request),
                status,
                &header(&answer, "retry-after"),
            )),
        }
    }

    /// The request as wasi:http has it.
    fn message(
        &self,
        request: &Request<'_>,
        body: Option<StreamReader<u8>>,
    ) -> Option<wasi::Request> {
        let config = self.config;
        let fields = Fields::new();
        for (name, value) in &request.headers {
            fields.append(name, value.as_bytes()).ok()?;
        }
        if let Some(token) = &config.token {
            fields
                .append("authorization", format!("Bearer {token}").as_bytes())
                .ok()?;
        }
        let is_https = config.scheme == Scheme::HTTPS;
        let scheme = if is_https {
            wasi::Scheme::Https
        } else {
            wasi::Scheme::Http
        };
        let target = format!("{}{}", config.folder, request.path);
        let no_trailers = wasip3::wit_future::new(|| Ok(None)).1;
        let (message, _) = wasi::Request::new(fields, body, no_trailers, None);
        message.set_method(&request.method).ok()?;
        message.set_scheme(Some(&scheme)).ok()?;
        message
            .set_authority(Some(config.authority.as_str()))
            .ok()?;
        message.set_path_with_query(Some(&target)).ok()?;
        Some(message)
    }

    /// A request for people: without its header, which holds the token.
    pub(crate) fn describe(&self, request: &Request<'_>) -> String {
        let method = match request.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            _ => "DELETE",
        };
        format!("{method} {}", self.url(request.path))
    }

    /// Where a file lies, for people.
    pub(crate) fn url(&self, path: &str) -> String {
        let Config {
            scheme,
            authority,
            folder,
            ..
        } = self.config;
        format!("{scheme}://{authority}{folder}{path}")
    }
}

/// A field of an answer's header; empty where there is none.
pub(crate) fn header(answer: &Response, name: &str) -> String {
    let values = answer.get_headers().get(name);
    values
        .first()
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .unwrap_or_default()
}

/// Reads an answer's body into memory.
pub(crate) async fn collect(answer: Response, request: String) -> Result<Vec<u8>, Failure> {
    let handled = wasip3::wit_future::new(|| Ok(())).1;
    let (mut bytes, ended) = Response::consume_body(answer, handled);
    let mut collected = Vec::new();
    loop {
        let (status, mut chunk) = bytes.read(Vec::with_capacity(CHUNK)).await;
        collected.append(&mut chunk);
        if collected.len() > LONGEST_BODY {
            return Err(Failure::Final(Error::Corrupt(format!(
                "{request}: the answer is longer than 64 MiB"
            ))));
        }
        if !matches!(status, StreamResult::Complete(_)) {
            break;
        }
    }
    ended.await.map_err(|code| Failure::Passing {
        request,
        reason: why(&code),
        wait: None,
    })?;
    Ok(collected)
}

/// What wasi:http says, for people.
pub(crate) fn why(code: &ErrorCode) -> String {
    match code {
        ErrorCode::DnsError(_) => "there is no such host".into(),
        ErrorCode::ConnectionRefused => "the connection was refused".into(),
        ErrorCode::ConnectionTimeout => "connecting took too long".into(),
        ErrorCode::ConnectionReadTimeout => "the server was silent for too long".into(),
        ErrorCode::HttpResponseIncomplete => "the answer broke off".into(),
        ErrorCode::InternalError(Some(text)) => text.clone(),
        code => format!("{code:?}"),
    }
}

/// What a status other than success means, with what to do about it.
fn refusal(request: &str, status: u16, retry_after: &str) -> Failure {
    let reason = StatusCode::from_u16(status)
        .map_or_else(|_| status.to_string(), |status| status.to_string());
    let text = |advice: &str| format!("{request}: the server answered {reason}; {advice}");
    Failure::Final(match status {
        408 | 429 | 500 | 502 | 503 | 504 => {
            let wait = retry_after.parse().ok().map(Duration::from_secs);
            return Failure::Passing {
                request: request.to_owned(),
                reason: format!("the server answered {reason}"),
                wait,
            };
        }
        401 => Error::Unauthenticated(text("give it a `token` that it knows")),
        403 => Error::Forbidden(text("the token may not do this")),
        300..=399 => Error::Other(text("redirects are not followed: give the final `url`")),
        409 => Error::Other(text("make the folders blobs/sha256 and manifests")),
        413 | 507 => Error::Other(text("it takes no file of this size")),
        _ => Error::Other(text("it must take PUT, GET, HEAD and DELETE here")),
    })
}

/// A wait that doubles with each try. A random part of it is taken, so that
/// clients that failed together do not come back together.
fn backoff(tried: u32, random: u64) -> Duration {
    let most = FIRST_WAIT
        .saturating_mul(1 << (tried - 1).min(16))
        .min(LONGEST_WAIT);
    most.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_busy_is_asked_again_when_it_wishes() {
        for status in [408, 429, 500, 502, 503, 504] {
            let Failure::Passing { reason, wait, .. } = refusal("GET x", status, "7") else {
                panic!("{status} is final");
            };
            assert!(reason.contains(&status.to_string()), "{reason}");
            assert_eq!(wait, Some(Duration::from_secs(7)));
        }
        let date = "Wed, 21 Oct 2026 07:28:00 GMT";
        assert!(matches!(
            refusal("", 503, date),
            Failure::Passing { wait: None, .. }
        ));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (status, advice) in [
            (302, "final `url`"),
            (401, "`token`"),
            (403, "may not"),
            (405, "PUT, GET, HEAD and DELETE"),
            (409, "blobs/sha256"),
            (501, "PUT, GET, HEAD and DELETE"),
            (507, "of this size"),
        ] {
            let Failure::Final(error) = refusal("PUT https://a/b", status, "") else {
                panic!("{status} passes");
            };
            let text = format!("{error:?}");
            assert!(
                text.contains("PUT https://a/b") && text.contains(advice),
                "{text}"
            );
            assert!(text.contains(&status.to_string()), "{text}");
        }
    }

    #[test]
    fn waits_double_and_end_at_the_longest() {
        let most = [1, 2, 3, 9, 99].map(|tried| backoff(tried, u64::MAX).as_millis());
        assert_eq!(most, [500, 1000, 2000, 20_000, 20_000]);
        assert_eq!(backoff(3, 0), Duration::ZERO);
    }
}
