//! One request, sent until it succeeds or there is no more hope: signing,
//! reading what came back, waiting.

use std::time::{Duration, SystemTime};

use super::advice::SentWith;
use super::failure::{self, Cause, Failure, Refusal};
use super::{Blobs, VERSION, checksum, retry, xml};
use crate::credential::Generation;
use crate::transport::{
    Event, Headers, Method, Request, Response, Timeouts, Transport, TransportError,
};

/// What is read of an answer that is an error, at most; in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// A body that moves slower than this counts as stuck; in bytes a second.
const SLOWEST: u64 = 32 * 1024;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(20);

/// What is said of an answer that is not what the store's checksum says.
pub(super) const CHANGED: &str = "the bytes that arrived are not those of the answer's Content-MD5";

/// What is said of an answer that cannot be read.
const COMPRESSED: &str =
    "it is compressed, which was not asked for; a proxy in between may do that";

/// Who sends these requests.
const USER_AGENT: &str = concat!("build-cache-azblob/", env!("CARGO_PKG_VERSION"));

/// What has become of a request so far.
#[derive(Default)]
struct Tries {
    /// How often it has been sent.
    sent: u32,
    /// When it failed for the first time.
    failing_since: Option<Duration>,
    /// Whether it has been sent again with the server's clock.
    clock_was_set: bool,
    /// Whether it has been sent again with a new token.
    token_was_renewed: bool,
}

impl<T: Transport> Blobs<'_, T> {
    /// Sends a request, again if need be. An answer with another status than
    /// `expected` is a failure. The answer's body is not read.
    pub(super) async fn send(
        &self,
        request: &Request,
        expected: u16,
    ) -> Result<Response<T::Body>, Failure> {
        let mut tries = Tries::default();
        match self.send_within(&mut tries, request, expected).await {
            Err(failure) if request.method == Method::Head && failure.is_unexplained() => {
                Err(self.explained(request, failure).await)
            }
            outcome => outcome,
        }
    }

    /// The failure of a HEAD with what Azure says to a GET of the same, as the
    /// answer to a HEAD has no body. One GET serves the whole call: what is
    /// refused to one blob for a reason of the credential or the network is
    /// refused to all.
    async fn explained(&self, request: &Request, mut failure: Failure) -> Failure {
        let mut explanation = self.explanation.lock().await;
        if explanation.is_none() {
            let mut question = request.clone();
            question.method = Method::Get;
            question.headers.push("range", "bytes=0-0");
            let at = shift(self.transport.time_of_day(), self.clock_ahead.get());
            let mut told = Refusal::default();
            if let Ok((signed, _)) = self.signed(&question, at).await {
                self.requests.set(self.requests.get() + 1);
                if let Err(Cause::Refused(refusal)) = self.attempt(&signed, at, 206).await {
                    told = *refusal;
                }
            }
            *explanation = Some(told);
        }
        if let (Some(told), Cause::Refused(refusal)) = (&*explanation, &mut failure.cause)
            && told.status == refusal.status
            && (refusal.code.is_empty() || refusal.code == told.code)
        {
            refusal.code.clone_from(&told.code);
            refusal.message.clone_from(&told.message);
            refusal.details.clone_from(&told.details);
        }
        failure
    }

    /// Sends a request that is answered with 200 and reads the answer's body,
    /// all of it again if it breaks off.
    pub(super) async fn fetch(
        &self,
        request: &Request,
        limit: usize,
    ) -> Result<Response<Vec<u8>>, Failure> {
        let mut tries = Tries::default();
        loop {
            let Response {
                status,
                headers,
                body,
            } = self.send_within(&mut tries, request, 200).await?;
            let error = match self.transport.collect(body, limit).await {
                Ok(body) if is_compressed(&headers, &body) => {
                    let cause = Cause::Strange {
                        status: 200,
                        why: COMPRESSED.to_owned(),
                    };
                    return Err(Failure {
                        request: request.summary(),
                        cause,
                    });
                }
                Ok(body) if checksum::fits(&headers, &body) => {
                    return Ok(Response {
                        status,
                        headers,
                        body,
                    });
                }
                Ok(_) => TransportError::Broken(CHANGED.to_owned()),
                Err(error) => error,
            };
            let cause = Cause::Transport(error);
            self.wait_after(&mut tries, request, cause).await?;
        }
    }

    /// Sends a request until there is an answer that is not a failure.
    async fn send_within(
        &self,
        tries: &mut Tries,
        request: &Request,
        expected: u16,
    ) -> Result<Response<T::Body>, Failure> {
        loop {
            let clock_ahead = self.clock_ahead.get();
            let signed_at = shift(self.transport.time_of_day(), clock_ahead);
            let (signed, token) = self.signed(request, signed_at).await?;
            self.requests.set(self.requests.get() + 1);
            tries.sent += 1;
            let cause = match self.attempt(&signed, signed_at, expected).await {
                Ok(response) => return Ok(response),
                Err(cause) => cause,
            };
            if let Some(error) = clock_error(&cause).filter(|_| !tries.clock_was_set) {
                tries.clock_was_set = true;
                self.clock_ahead.set(clock_ahead + error);
                self.tell(tries, request, &cause, Duration::ZERO);
            } else if let Some(token) = token.filter(|_| cause.is_401() && !tries.token_was_renewed)
            {
                tries.token_was_renewed = true;
                self.credential.forget(token);
                self.tell(tries, request, &cause, Duration::ZERO);
            } else {
                self.wait_after(tries, request, cause).await?;
            }
        }
    }

    /// Waits before the next try, or gives up.
    async fn wait_after(
        &self,
        tries: &mut Tries,
        request: &Request,
        cause: Cause,
    ) -> Result<(), Failure> {
        let now = self.transport.elapsed();
        let since = *tries.failing_since.get_or_insert(now);
        let tuning = &self.config.tuning;
        let attempt = retry::Attempt {
            sent: tries.sent,
            failing_for: now.saturating_sub(since),
            max_retries: tuning.max_retries,
            stall_timeout: tuning.stall_timeout,
            random: self.transport.random(),
        };
        let Some(delay) = retry::wait(&cause, &attempt) else {
            let request = request.summary();
            return Err(Failure { request, cause });
        };
        self.tell(tries, request, &cause, delay);
        self.transport.sleep(delay).await;
        Ok(())
    }

    /// Tells the host, and counts, that a request is sent again.
    fn tell(&self, tries: &Tries, request: &Request, cause: &Cause, delay: Duration) {
        self.retries.set(self.retries.get() + 1);
        self.transport.emit(Event::Retrying {
            request: request.summary(),
            reason: cause.to_string(),
            attempt: tries.sent,
            delay,
        });
    }

    /// The request as it goes out: with its date, its limits and, last, its
    /// signature or its token, and which token that is.
    async fn signed(
        &self,
        request: &Request,
        at: SystemTime,
    ) -> Result<(Request, Option<Generation>), Failure> {
        let stall = self.config.tuning.stall_timeout;
        let length = request.body.length();
        let mut signed = request.clone();
        signed.timeouts = Timeouts {
            connect: CONNECT.min(stall),
            first_byte: stall + Duration::from_secs(length / SLOWEST),
            between_bytes: stall,
        };
        let headers = &mut signed.headers;
        if request.method == Method::Put {
            headers.push("content-length", length.to_string());
        }
        headers.push("user-agent", USER_AGENT);
        headers.push("x-ms-date", httpdate::fmt_http_date(at));
        headers.push("x-ms-version", VERSION);
        let authorized = self.credential.authorize(self.transport, &mut signed);
        match authorized.await {
            Ok(token) => Ok((signed, token)),
            Err(error) => Err(Failure {
                request: request.summary(),
                cause: Cause::Credential(error),
            }),
        }
    }

    /// Sends a request once.
    async fn attempt(
        &self,
        request: &Request,
        signed_at: SystemTime,
        expected: u16,
    ) -> Result<Response<T::Body>, Cause> {
        let sent = self.transport.send(request).await;
        let response = sent.map_err(Cause::Transport)?;
        let status = response.status;
        let is_azure = ["x-ms-request-id", "x-ms-version", "x-ms-error-code"]
            .iter()
            .any(|name| response.headers.get(name).is_some());
        if is_azure && status == expected {
            return Ok(response);
        }
        if !is_azure || status < 400 {
            let why = strangeness(status, &response.headers);
            return Err(Cause::Strange { status, why });
        }
        let refusal = self.refusal(request, response, signed_at).await;
        Err(Cause::Refused(Box::new(refusal)))
    }

    /// What the service says about its refusal. A body that cannot be read tells
    /// nothing, which is not a reason to fail in another way.
    async fn refusal(
        &self,
        request: &Request,
        response: Response<T::Body>,
        signed_at: SystemTime,
    ) -> Refusal {
        let Response {
            status,
            headers,
            body,
        } = response;
        let text = match request.method {
            Method::Head => Vec::new(),
            _ => {
                let collected = self.transport.collect(body, MAX_ERROR_BODY).await;
                collected.unwrap_or_default()
            }
        };
        let mut told = xml::error(&text);
        if is_compressed(&headers, &text) {
            told.message = format!("(its text cannot be shown: {COMPRESSED})");
        }
        for secret in sent_secrets(request) {
            told.message = told.message.replace(&secret, "[redacted]");
            for (_, text) in &mut told.details {
                *text = text.replace(&secret, "[redacted]");
            }
        }
        let field = |name| headers.get(name).unwrap_or("").to_owned();
        let code = field("x-ms-error-code");
        let date = headers
            .get("date")
            .and_then(|date| httpdate::parse_http_date(date).ok());
        Refusal {
            status,
            code: if code.is_empty() { told.code } else { code },
            request_id: field("x-ms-request-id"),
            message: told.message,
            details: told.details,
            clock_ahead: date.map(|date| ahead(date, signed_at)),
            retry_after: failure::retry_after(&headers, date.unwrap_or(signed_at)),
            sent_with: SentWith::of(request),
            credential: self.credential.describe(),
        }
    }
}

/// Whether a body is compressed. Azure does so with none that it makes itself,
/// and the host undoes it where it knows how.
fn is_compressed(headers: &Headers, body: &[u8]) -> bool {
    let coding = headers.get("content-encoding").unwrap_or_default();
    let is_text = |b: u8| b.is_ascii_whitespace() || b == b'<' || b == b'{' || b == 0xef;
    !matches!(coding, "" | "identity") && body.first().is_some_and(|&b| !is_text(b))
}

/// What of a request a server must not have us show when it repeats it: the
/// signature or the token. Azure does, where a signature is not the right one.
fn sent_secrets(request: &Request) -> Vec<String> {
    let authorization = request.headers.get("authorization");
    let signature = authorization.and_then(|text| text.rsplit([' ', ':']).next());
    let mut secrets: Vec<String> = signature.map(str::to_owned).into_iter().collect();
    let query = request.given_query.as_ref().map(|query| query.expose());
    for field in query.unwrap_or_default().split('&') {
        if let Some(signature) = field.strip_prefix("sig=") {
            let plain = percent_encoding::percent_decode_str(signature);
            secrets.push(plain.decode_utf8_lossy().into_owned());
            secrets.push(signature.to_owned());
        }
    }
    // A shorter one is none.
    secrets.retain(|secret| secret.len() > 3);
    secrets
}

/// By how much our clock was wrong, in seconds, if that is why the service
/// refused a request.
fn clock_error(cause: &Cause) -> Option<i64> {
    match cause {
        Cause::Refused(refusal) if refusal.status == 403 => {
            refusal.clock_ahead.filter(|&ahead| failure::is_off(ahead))
        }
        _ => None,
    }
}

/// How far `theirs` is ahead of `ours`, in seconds.
pub(super) fn ahead(theirs: SystemTime, ours: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match theirs.duration_since(ours) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

/// A time moved by some seconds. Where that would be a time that no header can
/// hold, as a server without a clock may make it, the time as it was.
pub(super) fn shift(time: SystemTime, seconds: i64) -> SystemTime {
    /// The end of the year 9999, in seconds since the Unix epoch.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let by = Duration::from_secs(seconds.unsigned_abs());
    let moved = match seconds {
        0.. => time.checked_add(by),
        _ => time.checked_sub(by),
    };
    let is_date = |moved: &SystemTime| {
        let since = moved.duration_since(SystemTime::UNIX_EPOCH);
        since.is_ok_and(|since| since <= LAST)
    };
    moved.filter(is_date).unwrap_or(time)
}

/// What shows that the Blob service did not give this answer, or not this one.
fn strangeness(status: u16, headers: &Headers) -> String {
    if (300..400).contains(&status) {
        return "a redirect, which is not followed".to_owned();
    }
    let what = headers.get("content-type").unwrap_or("no content type");
    match headers.get("x-ms-request-id") {
        Some(_) => "the status is not the one that goes with the request".to_owned(),
        None => format!("there is no x-ms-request-id, and the body has {what}"),
    }
}
