//! The seam as a component has it: wasi:http, wasi:clocks, wasi:random and the
//! contract's `content`, `events`, `files` and `identity`. The one room that
//! touches them.

use std::cell::RefCell;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use futures::future::{Either, select};
use wasip3::http::client;
use wasip3::http::types as http;
use wit_bindgen::{FutureReader, StreamReader, StreamResult};

use super::{
    Body, Event, Headers, HostToken, Method, Request, Response, Timeouts, Transport,
    TransportError, call,
};
use crate::bindings::build_cache::plugin::{content, events, files, identity, types};
use crate::secret::Secret;

/// How much of a body is taken from or given to the host at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// For how much of a body room is made before it comes, at most, in bytes:
/// growing as it comes, it would be in memory twice.
const LONGEST_RESERVED: usize = 16 * 1024 * 1024;

/// How long to wait for the host to say why a layer's stream ended early.
const CONTENT_VERDICT: Duration = Duration::from_secs(2);

/// The component's own way out.
pub(crate) struct Wasi;

/// An answer's body: its bytes, and what tells whether they were all.
pub(crate) struct Incoming {
    bytes: StreamReader<u8>,
    outcome: FutureReader<Result<Option<http::Trailers>, http::ErrorCode>>,
    /// How long it will be, in bytes, by its header; 0 where that is not said.
    length: usize,
}

/// A layer's bytes for the host, and what tells whether they were all.
pub(crate) type Outgoing = (StreamReader<u8>, FutureReader<Result<(), types::Error>>);

impl Incoming {
    /// Hands the body on without reading it. Must be called in an export's
    /// task, which lives on until the body has ended.
    ///
    /// `what` names the body in an error.
    pub(crate) fn hand_on(self, what: String) -> Outgoing {
        let (verdict, outcome) = crate::bindings::wit_future::new(|| Ok(()));
        wit_bindgen::spawn_local(async move {
            let ended = match self.outcome.await {
                Ok(_) => Ok(()),
                Err(code) => Err(types::Error::Unavailable(format!(
                    "{what} broke off: {}",
                    describe(&code)
                ))),
            };
            // The host may have lost interest; nobody is left to tell then.
            let _ = verdict.write(ended).await;
        });
        (self.bytes, outcome)
    }
}

/// A layer without bytes, for the host.
pub(crate) fn nothing() -> Outgoing {
    let (_, bytes) = crate::bindings::wit_stream::new();
    let (_, outcome) = crate::bindings::wit_future::new(|| Ok(()));
    (bytes, outcome)
}

impl Transport for Wasi {
    type Body = Incoming;

    async fn send(&self, request: &Request) -> Result<Response<Incoming>, TransportError> {
        let fields: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect();
        let fields = http::Fields::from_list(&fields)
            .map_err(|_| unusable("the host refused its header fields"))?;
        let (end, trailers) = wasip3::wit_future::new(|| Ok(None));

        let content_error = RefCell::new(None);
        let (contents, feeding) = feed(&request.body, end, &content_error);
        let options = options(request.timeouts);
        let (message, _sent) = http::Request::new(fields, contents, trailers, Some(options));
        address(&message, request)?;

        let mut sending = pin!(client::send(message));
        let mut feeding = pin!(feeding);
        let sent = match select(sending.as_mut(), feeding.as_mut()).await {
            Either::Right(((), sending)) => sending.await,
            Either::Left((Err(code), feeding)) => {
                // Perhaps the layer ended early: the host tells in a moment.
                select(feeding, pin!(self.sleep(CONTENT_VERDICT))).await;
                Err(code)
            }
            Either::Left((Ok(response), _)) => Ok(response),
        };
        if let Some(error) = content_error.take() {
            return Err(TransportError::Content(error));
        }
        sent.map(open).map_err(|code| classify(&code))
    }

    async fn collect(&self, body: Incoming, limit: usize) -> Result<Vec<u8>, TransportError> {
        let Incoming {
            mut bytes,
            outcome,
            length,
        } = body;
        let mut collected = Vec::with_capacity(length.min(limit).min(LONGEST_RESERVED));
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            let (status, read) = bytes.read(chunk).await;
            chunk = read;
            if collected.len() + chunk.len() > limit {
                return Err(TransportError::TooLong(limit));
            }
            collected.append(&mut chunk);
            if !matches!(status, StreamResult::Complete(_)) {
                break;
            }
        }
        match outcome.await {
            Ok(_) => Ok(collected),
            Err(code) => Err(classify(&code)),
        }
    }

    fn time_of_day(&self) -> SystemTime {
        let now = wasip3::clocks::system_clock::now();
        let seconds = u64::try_from(now.seconds).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::new(seconds, now.nanoseconds)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(wasip3::clocks::monotonic_clock::now())
    }

    async fn sleep(&self, duration: Duration) {
        wasip3::clocks::monotonic_clock::wait_for(nanoseconds(duration)).await;
    }

    async fn within<R>(&self, limit: Duration, work: impl Future<Output = R>) -> Option<R> {
        match select(pin!(work), pin!(self.sleep(limit))).await {
            Either::Left((result, _)) => Some(result),
            Either::Right(((), _)) => None,
        }
    }

    fn random(&self) -> u64 {
        wasip3::random::random::get_random_u64()
    }

    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        files::read(path.to_owned()).await
    }

    async fn host_token(&self, scope: &str) -> Result<Option<HostToken>, String> {
        let token = identity::get_token(scope.to_owned()).await?;
        Ok(token.map(|given| HostToken {
            token: Secret::new(given.token),
            expires_at: given.expires_at,
        }))
    }

    fn emit(&self, event: Event) {
        let event = match event {
            Event::LayerReused(digest) => events::Event::LayerReused(digest.to_string()),
            Event::LayerStarted(digest) => events::Event::LayerStarted(digest.to_string()),
            Event::LayerStored(digest) => events::Event::LayerStored(digest.to_string()),
            Event::ManifestStored(name) => events::Event::ManifestStored(name),
            Event::Warning(text) => events::Event::Warning(text),
            Event::Retrying {
                request,
                reason,
                attempt,
                delay,
            } => events::Event::Retrying(events::Retry {
                request,
                reason,
                attempt,
                delay_milliseconds: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            }),
        };
        events::emit(call::current(), &event);
    }
}

/// The body's stream for wasi:http, and the work that keeps it flowing and
/// ends it. A layer's stream is the host's own, handed back unread.
fn feed<'a>(
    body: &'a Body,
    end: wit_bindgen::FutureWriter<Result<Option<http::Trailers>, http::ErrorCode>>,
    content_error: &'a RefCell<Option<String>>,
) -> (Option<StreamReader<u8>>, impl Future<Output = ()> + 'a) {
    let mut writer = None;
    let mut layer = None;
    let contents = match body {
        Body::Empty => None,
        Body::Bytes(_) => {
            let (to_host, from_us) = wasip3::wit_stream::new();
            writer = Some(to_host);
            Some(from_us)
        }
        Body::Layer {
            digest,
            offset,
            length,
        } => {
            let (bytes, outcome) =
                content::read(call::current(), &digest.to_string(), *offset, *length);
            layer = Some(outcome);
            Some(bytes)
        }
    };
    let feeding = async move {
        if let (Some(mut writer), Body::Bytes(bytes)) = (writer, body) {
            for chunk in bytes.chunks(CHUNK) {
                if !writer.write_all(chunk.to_vec()).await.is_empty() {
                    break; // The host takes no more: it has its answer.
                }
            }
        }
        let ended = match layer {
            Some(outcome) => outcome.await,
            None => Ok(()),
        };
        let trailers = ended.map(|()| None).map_err(|error| {
            *content_error.borrow_mut() = Some(text(error));
            http::ErrorCode::HttpRequestBodySize(None)
        });
        // Not taken means that the request is over already.
        let _ = end.write(trailers).await;
    };
    (contents, feeding)
}

/// Tells a request where it goes.
fn address(message: &http::Request, request: &Request) -> Result<(), TransportError> {
    let method = match request.method {
        Method::Get => http::Method::Get,
        Method::Head => http::Method::Head,
        Method::Put => http::Method::Put,
        Method::Post => http::Method::Post,
        Method::Delete => http::Method::Delete,
    };
    let scheme = match request.https {
        true => http::Scheme::Https,
        false => http::Scheme::Http,
    };
    let target = request.target();
    message
        .set_method(&method)
        .and_then(|()| message.set_scheme(Some(&scheme)))
        .and_then(|()| message.set_authority(Some(&request.authority)))
        .and_then(|()| message.set_path_with_query(Some(&target)))
        .map_err(|()| unusable("the host refused its address"))
}

/// The time limits as wasi:http takes them. A host that does not support one
/// has limits of its own.
fn options(timeouts: Timeouts) -> http::RequestOptions {
    let options = http::RequestOptions::new();
    let _ = options.set_connect_timeout(Some(nanoseconds(timeouts.connect)));
    let _ = options.set_first_byte_timeout(Some(nanoseconds(timeouts.first_byte)));
    let _ = options.set_between_bytes_timeout(Some(nanoseconds(timeouts.between_bytes)));
    options
}

/// An answer as the rest of the crate knows it.
fn open(response: http::Response) -> Response<Incoming> {
    let mut headers = Headers::default();
    for (name, value) in response.get_headers().copy_all() {
        headers.push(&name, String::from_utf8_lossy(&value));
    }
    let status = response.get_status_code();
    let (_, handled) = wasip3::wit_future::new(|| Ok(()));
    let (bytes, outcome) = http::Response::consume_body(response, handled);
    let length = headers.get("content-length");
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    Response {
        status,
        headers,
        body: Incoming {
            bytes,
            outcome,
            length,
        },
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn unusable(why: &str) -> TransportError {
    TransportError::Unusable(why.to_owned())
}

/// The text of a host's error.
fn text(error: types::Error) -> String {
    use types::Error::*;
    match error {
        InvalidAttribute(error) => error.reason,
        Unauthenticated(text)
        | Forbidden(text)
        | Unavailable(text)
        | Corrupt(text)
        | Content(text)
        | Unsupported(text)
        | Conflict(text)
        | Other(text) => text,
        MissingLayers(_) => "layers are missing".to_owned(),
    }
}

/// Whether another try can help.
fn classify(code: &http::ErrorCode) -> TransportError {
    use http::ErrorCode::*;
    match code {
        HttpRequestDenied | DestinationIpProhibited => TransportError::Denied,
        TlsCertificateError
        | TlsAlertReceived(_)
        | HttpRequestMethodInvalid
        | HttpRequestUriInvalid
        | HttpRequestUriTooLong
        | HttpRequestHeaderSectionSize(_)
        | HttpRequestHeaderSize(_)
        | HttpResponseHeaderSectionSize(_)
        | LoopDetected
        | ConfigurationError => TransportError::Unusable(describe(code)),
        _ => TransportError::Broken(describe(code)),
    }
}

/// What wasi:http says, for people.
fn describe(code: &http::ErrorCode) -> String {
    use http::ErrorCode::*;
    match code {
        DnsTimeout => "the host name could not be looked up in time",
        DnsError(_) | DestinationNotFound => "the host name could not be found",
        DestinationUnavailable | DestinationIpUnroutable => "the server cannot be reached",
        ConnectionRefused => "the connection was refused",
        ConnectionTerminated => "the connection broke",
        ConnectionTimeout => "connecting took too long",
        ConnectionReadTimeout | HttpResponseTimeout => "the server did not answer in time",
        ConnectionWriteTimeout => "the server stopped taking data",
        ConnectionLimitReached => "the host has too many connections",
        TlsAlertReceived(alert) => match &alert.alert_message {
            Some(text) => text,
            None => "TLS could not be agreed on",
        },
        TlsProtocolError => "TLS could not be agreed on",
        TlsCertificateError => "the server's TLS certificate is not trusted",
        HttpRequestBodySize(_) => "the request's body did not have the promised length",
        HttpResponseIncomplete | HttpResponseBodySize(_) => "the answer was cut short",
        HttpProtocolError => "the server's answer is not HTTP",
        InternalError(Some(text)) => text,
        _ => "the request could not be sent or answered",
    }
    .to_owned()
}
