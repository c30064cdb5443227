//! Answers that a proxy has compressed although the client asks for none. What
//! a plugin reads for itself, such as an error or a listing, is given to it
//! plain. The bytes of a layer stay as they are: a blob may say that it is
//! compressed, and its digest is that of the bytes as they are stored.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::{Body, Frame};

/// How much is decompressed at a time, in bytes: gzip makes a thousand times as
/// much of it at most.
const PART: usize = 4096;

/// The answer without its compression, where that can be undone and may be.
pub(super) fn undone(
    method: &Method,
    response: http::Response<reqwest::Body>,
) -> http::Response<reqwest::Body> {
    if method == Method::HEAD || !is_gzip(&response) || !is_text(&response) {
        return response;
    }
    let (mut parts, inner) = response.into_parts();
    parts.headers.remove(CONTENT_ENCODING);
    parts.headers.remove(CONTENT_LENGTH);
    let body = Decompressed {
        inner,
        decoder: MultiGzDecoder::new(Vec::new()),
        compressed: Bytes::new(),
        has_ended: false,
    };
    http::Response::from_parts(parts, reqwest::Body::wrap(body))
}

fn is_gzip<B>(response: &http::Response<B>) -> bool {
    let coding = response.headers().get(CONTENT_ENCODING);
    let coding = coding.and_then(|coding| coding.to_str().ok());
    coding.is_some_and(|coding| {
        let coding = coding.trim();
        coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")
    })
}

/// Whether the body is not a layer: an error, or a whole answer in XML or JSON.
fn is_text<B>(response: &http::Response<B>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let status = response.status();
    let is_message = ["application/xml", "text/xml", "application/json"].contains(&kind);
    status.is_client_error() || status.is_server_error() || status.as_u16() == 200 && is_message
}

/// A body that is decompressed as it is read.
struct Decompressed {
    inner: reqwest::Body,
    decoder: MultiGzDecoder<Vec<u8>>,
    /// What has come and is not decompressed yet.
    compressed: Bytes,
    has_ended: bool,
}

impl Body for Decompressed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        loop {
            let plain = std::mem::take(this.decoder.get_mut());
            if !plain.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(plain.into()))));
            }
            if !this.compressed.is_empty() {
                let part = this.compressed.len().min(PART);
                let part = this.compressed.split_to(part);
                if let Err(error) = this.decoder.write_all(&part) {
                    return Poll::Ready(Some(Err(error)));
                }
            } else if this.has_ended {
                return Poll::Ready(None);
            } else {
                match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                    Some(Ok(frame)) => this.compressed = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                    None => {
                        this.has_ended = true;
                        if let Err(error) = this.decoder.try_finish() {
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body_util::BodyExt as _;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    /// What is read of a compressed answer, and whether it still says that it
    /// is compressed.
    async fn read(
        method: Method,
        status: u16,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<(Vec<u8>, bool), String> {
        let response = http::Response::builder()
            .status(status)
            .header(CONTENT_TYPE, kind)
            .header(CONTENT_ENCODING, "gzip")
            .header(CONTENT_LENGTH, body.len())
            .body(reqwest::Body::from(body));
        let response = undone(&method, response.expect("an answer"));
        let headers = response.headers();
        let says_so = headers.contains_key(CONTENT_ENCODING);
        assert_eq!(headers.contains_key(CONTENT_LENGTH), says_so);
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok((body.to_vec(), says_so))
    }

    #[tokio::test]
    async fn what_a_plugin_reads_for_itself_is_given_to_it_plain() {
        let text = "<Error>why</Error>".repeat(5000).into_bytes();
        for (status, kind) in [
            (200, "application/xml"),
            (200, "application/json; charset=utf-8"),
            (400, "application/xml"),
            (403, "application/octet-stream"),
            (503, "text/html"),
        ] {
            let got = read(Method::GET, status, kind, packed(&text)).await;
            assert_eq!(got, Ok((text.clone(), false)), "{status} {kind}");
        }
    }

    #[tokio::test]
    async fn a_layer_is_left_as_it_is_stored() {
        let body = packed(b"layer");
        for (method, status, kind) in [
            (Method::GET, 200, "application/octet-stream"),
            (Method::GET, 206, "application/xml"),
            (Method::GET, 200, ""),
            (Method::HEAD, 403, "application/xml"),
        ] {
            let got = read(method, status, kind, body.clone()).await;
            assert_eq!(got, Ok((body.clone(), true)), "{status} {kind}");
        }
    }

    #[tokio::test]
    async fn what_is_cut_short_or_was_never_compressed_is_an_error() {
        let mut cut = packed(b"a listing that ends too early");
        cut.truncate(cut.len() - 9);
        for body in [cut, b"<plain/>".to_vec()] {
            let got = read(Method::GET, 200, "application/xml", body).await;
            assert!(got.is_err(), "{got:?}");
        }
    }
}
