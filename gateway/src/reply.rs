//! Answers: the few forms that all of them have.

use std::io;

use build_cache_host::Digest;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, LOCATION, RANGE,
};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use crate::refusal::Refusal;

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub(crate) type Reply = Response<Body>;

/// The digest of what a registry gives or took.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The upload that is meant.
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// How a registry identifies itself; some clients look for it.
pub(crate) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");

const BINARY: &str = "application/octet-stream";

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn streamed(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

fn with_status(status: StatusCode, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
}

/// A header's value from text that is known to be one.
fn value(text: impl TryInto<HeaderValue>) -> HeaderValue {
    text.try_into()
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// An answer without a body.
pub(crate) fn status(status: StatusCode) -> Reply {
    let mut reply = with_status(status, empty());
    // An answer of 204 must not have one.
    if status != StatusCode::NO_CONTENT {
        reply
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    reply
}

/// Text of some kind.
pub(crate) fn text(media_type: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = with_status(StatusCode::OK, full(text));
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A refusal. The answer to HEAD has its length but no body.
pub(crate) fn refusal(refusal: &Refusal, is_head: bool) -> Reply {
    let json = refusal.json();
    let length = json.len();
    let body = if is_head { empty() } else { full(json) };
    let mut reply = with_status(refusal.status, body);
    let headers = reply.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(CONTENT_LENGTH, length.into());
    reply
}

/// A manifest.
pub(crate) fn manifest(digest: &Digest, media_type: &str, bytes: Bytes, is_head: bool) -> Reply {
    let length = bytes.len();
    let body = if is_head { empty() } else { full(bytes) };
    let mut reply = with_status(StatusCode::OK, body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, value(media_type));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CONTENT_DIGEST, value(digest.to_string()));
    headers.insert(ETAG, value(format!("\"{digest}\"")));
    reply
}

/// What there is to say of a blob of `size` bytes.
pub(crate) fn blob_head(digest: &Digest, size: u64) -> Reply {
    blob_headers(digest, size, StatusCode::OK, empty())
}

/// A whole blob that is in memory.
pub(crate) fn blob_bytes(digest: &Digest, bytes: Bytes) -> Reply {
    blob_headers(digest, bytes.len() as u64, StatusCode::OK, full(bytes))
}

/// A whole blob.
pub(crate) fn blob(
    digest: &Digest,
    size: u64,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Reply {
    blob_headers(digest, size, StatusCode::OK, streamed(chunks))
}

/// A part of a blob of `size` bytes.
pub(crate) fn blob_part(
    digest: &Digest,
    part: &std::ops::Range<u64>,
    size: u64,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Reply {
    let length = part.end - part.start;
    let body = streamed(chunks);
    let mut reply = blob_headers(digest, length, StatusCode::PARTIAL_CONTENT, body);
    let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
    reply.headers_mut().insert(CONTENT_RANGE, value(range));
    reply
}

/// A range that the blob does not have.
pub(crate) fn no_such_part(size: u64) -> Reply {
    let mut reply = status(StatusCode::RANGE_NOT_SATISFIABLE);
    let range = value(format!("bytes */{size}"));
    reply.headers_mut().insert(CONTENT_RANGE, range);
    reply
}

fn blob_headers(digest: &Digest, length: u64, status: StatusCode, body: Body) -> Reply {
    let mut reply = with_status(status, body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(BINARY));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DIGEST, value(digest.to_string()));
    headers.insert(ETAG, value(format!("\"{digest}\"")));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=31536000"),
    );
    reply
}

/// Something was made: where it is, and its digest.
pub(crate) fn created(location: &str, digest: &Digest) -> Reply {
    let mut reply = status(StatusCode::CREATED);
    let headers = reply.headers_mut();
    headers.insert(LOCATION, value(location));
    headers.insert(CONTENT_DIGEST, value(digest.to_string()));
    reply
}

/// How far an upload has come.
pub(crate) fn upload(status_code: StatusCode, location: &str, id: &str, size: u64) -> Reply {
    let mut reply = status(status_code);
    let headers = reply.headers_mut();
    headers.insert(LOCATION, value(location));
    headers.insert(UPLOAD_UUID, value(id));
    // The form has no way to say that there is nothing yet.
    let range = format!("0-{}", size.saturating_sub(1));
    headers.insert(RANGE, value(range));
    reply
}
