//! An answer, and its body on its way out: slowed down, paused, cut, shortened or corrupted as the
//! plan says.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::try_unfold;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;

use crate::content::{CHUNK_BYTES, Content};
use crate::plan::{Instead, Plan, Stall};
use crate::range::ByteRange;
use crate::refusal::Refusal;
use crate::stats::InFlight;
use crate::upload::{Broken, Pace, corrupted};
use crate::xml::{PROLOGUE, push_element, push_group};

/// What is handed to hyper.
pub(crate) type Body = UnsyncBoxBody<Bytes, Broken>;

/// Long enough for what was sent to leave before the connection is cut.
const FLUSH: Duration = Duration::from_millis(20);

/// What the client is told.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Source,
}

#[derive(Debug)]
enum Source {
    Text(Bytes),
    Blob(Content, ByteRange),
}

impl Answer {
    /// An answer without a body.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Source::Text(Bytes::new()),
        }
    }

    /// The same with a text for its body.
    pub fn text(mut self, content_type: &'static str, text: impl Into<Bytes>) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Source::Text(text.into());
        self
    }

    /// The same with a part of a blob for its body.
    pub fn blob(mut self, content: Content, range: ByteRange) -> Self {
        self.body = Source::Blob(content, range);
        self
    }

    /// Adds a header, if its value can be one.
    pub fn set(&mut self, name: HeaderName, value: impl AsRef<str>) {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(name, value);
        }
    }

    /// The error code in a header, and code, sentence and details in the body.
    pub fn refusal(refusal: &Refusal, request_id: &str, date: &str) -> Self {
        let mut xml = PROLOGUE.to_owned();
        push_group(&mut xml, "Error", |xml| {
            push_element(xml, "Code", refusal.code);
            push_element(
                xml,
                "Message",
                &format!("{}\nRequestId:{request_id}\nTime:{date}", refusal.message),
            );
            for (name, value) in &refusal.details {
                push_element(xml, name, value);
            }
        });
        let mut answer = Self::new(refusal.status);
        if refusal.status != StatusCode::NOT_MODIFIED {
            answer = answer.text("application/xml", xml);
        }
        answer.set(HeaderName::from_static("x-ms-error-code"), refusal.code);
        if let Some(size) = refusal.whole_size {
            answer.set(CONTENT_RANGE, format!("bytes */{size}"));
        }
        if let Some(challenge) = refusal.challenge {
            answer.set(WWW_AUTHENTICATE, challenge);
        }
        answer
    }

    /// What a fault puts in the place of the real answer.
    pub fn scripted(instead: &Instead) -> Self {
        match instead {
            Instead::Error {
                status,
                code,
                headers,
            } => {
                let mut xml = PROLOGUE.to_owned();
                push_group(&mut xml, "Error", |xml| {
                    push_element(xml, "Code", code);
                    push_element(xml, "Message", "A fault of the test script.");
                });
                let mut answer = Self::new(status_of(*status)).text("application/xml", xml);
                answer.set(HeaderName::from_static("x-ms-error-code"), code);
                for (name, value) in headers {
                    if let Ok(name) = HeaderName::try_from(name) {
                        answer.set(name, value);
                    }
                }
                answer
            }
            Instead::ProxyPage { status } => {
                let page = "<!DOCTYPE html><html><head><title>Proxy</title></head>\
                            <body><h1>The proxy cannot reach the server</h1></body></html>\n";
                Self::new(status_of(*status)).text("text/html", page)
            }
            Instead::Redirect { to } => {
                let mut answer = Self::new(StatusCode::TEMPORARY_REDIRECT);
                answer.set(LOCATION, to);
                answer
            }
        }
    }

    /// The answer as hyper sends it. The request is under way until the body is sent or dropped.
    pub fn into_response(mut self, plan: &Plan, request: InFlight, blocks: bool) -> Response<Body> {
        let (start, end) = match &self.body {
            Source::Text(text) => (0, text.len() as u64),
            Source::Blob(_, range) => (range.start, range.end),
        };
        let end = end.saturating_sub(plan.short).max(start);
        if self.status != StatusCode::NOT_MODIFIED && !self.headers.contains_key(CONTENT_LENGTH) {
            self.headers.insert(
                CONTENT_LENGTH,
                HeaderValue::from(end - start + plan.oversize),
            );
        }
        if plan.wrong_length != 0 {
            self.say_another_length(plan.wrong_length);
        }
        let end = end + plan.oversize;
        let body = if start == end {
            Empty::new().map_err(|never| match never {}).boxed_unsync()
        } else {
            let sending = Sending {
                source: self.body,
                start,
                position: start,
                source_end: end - plan.oversize,
                end,
                lacks_its_end: plan.wrong_length > 0,
                blocks,
                cut: plan.cut_response,
                stall: plan.stall_response,
                corrupt: plan.corrupt,
                pace: plan.bytes_per_second.map(Pace::new),
                request,
            };
            StreamBody::new(try_unfold(sending, Sending::next)).boxed_unsync()
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// Leaves an answer without a length as it is, and one that says that there is nothing.
    fn say_another_length(&mut self, by: i64) {
        let length = self.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if let Some(length) = length.filter(|length| *length > 0) {
            let said = HeaderValue::from(length.saturating_add_signed(by));
            self.headers.insert(CONTENT_LENGTH, said);
        }
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A body that is being sent: `position..source_end` of the source is left, and then some filling
/// up to `end`.
#[derive(Debug)]
struct Sending {
    source: Source,
    start: u64,
    position: u64,
    source_end: u64,
    end: u64,
    /// Whether the head said that there would be more.
    lacks_its_end: bool,
    /// Whether reading waits for a disk.
    blocks: bool,
    cut: Option<u64>,
    stall: Option<Stall>,
    corrupt: Option<u64>,
    pace: Option<Pace>,
    request: InFlight,
}

impl Sending {
    async fn next(mut self) -> Result<Option<(Frame<Bytes>, Self)>, Broken> {
        if self.position == self.end {
            if self.lacks_its_end {
                tokio::time::sleep(FLUSH).await;
                return Err(Broken);
            }
            return Ok(None);
        }
        let sent = self.position - self.start;
        if let Some(stall) = self.stall.take_if(|stall| sent >= stall.after) {
            tokio::time::sleep(stall.pause).await;
        }
        if self.cut.is_some_and(|after| sent >= after) {
            tokio::time::sleep(FLUSH).await;
            return Err(Broken);
        }
        // No more than up to the next point where something happens.
        let points = [
            self.stall.map(|stall| stall.after),
            self.cut,
            self.pace.as_ref().map(|pace| sent + pace.step()),
        ];
        let until = points
            .into_iter()
            .flatten()
            .fold(self.end - self.start, u64::min);
        let mut bytes = self.read(until - sent)?;
        if let Some(at) = self.corrupt.and_then(|at| at.checked_sub(sent)) {
            bytes = corrupted(bytes, at);
        }
        let count = bytes.len() as u64;
        self.position += count;
        self.request.bytes_out(count);
        if let Some(pace) = &mut self.pace {
            pace.pass(count).await;
        }
        Ok(Some((Frame::data(bytes), self)))
    }

    fn read(&self, limit: u64) -> Result<Bytes, Broken> {
        let limit = limit.min(CHUNK_BYTES as u64);
        let left = self.source_end.saturating_sub(self.position);
        if left == 0 {
            // What an oversized answer has beyond its body.
            return Ok(Bytes::from(vec![b'x'; limit as usize]));
        }
        let limit = limit.min(left);
        match &self.source {
            Source::Text(text) => {
                let start = self.position as usize;
                Ok(text.slice(start..start + limit as usize))
            }
            Source::Blob(content, _) => {
                let read = || content.read(self.position, limit);
                let bytes = if self.blocks {
                    tokio::task::block_in_place(read)
                } else {
                    read()
                };
                // The head is gone; all that is left to say is that this is not the whole.
                bytes.map_err(|_| Broken)
            }
        }
    }
}
