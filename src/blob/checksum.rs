//! Checksums of the bodies that azblob holds itself: manifests and lists of
//! blocks.
//!
//! A layer is checked against its digest wherever it arrives; a manifest has no
//! digest, and a digit that changed on its way would be a wrong size, a wrong
//! parent or a wrong time. It is small, and an MD5 of it costs nothing that
//! anybody could measure. MD5 rather than CRC-64, since Azurite checks the one
//! and refuses the other. The service checks it on a write, keeps it as a
//! property of a blob that was sent whole, and names it on every read.
//!
//! Layers carry none: their bytes never enter this component, and TLS protects
//! them on the way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use crate::transport::{Body, Headers};

/// The header that carries the checksum, in both directions.
const CONTENT_MD5: &str = "content-md5";

/// Puts the checksum of a body on its request, where we hold the body.
pub(super) fn put_on(headers: &mut Headers, body: &Body) {
    if let Body::Bytes(bytes) = body {
        headers.push(CONTENT_MD5, of(bytes));
    }
}

/// Whether a body is the one that the answer's head names; true where it names
/// none.
pub(super) fn fits(headers: &Headers, body: &[u8]) -> bool {
    let named = headers.get(CONTENT_MD5);
    named.is_none_or(|named| named.trim() == of(body))
}

fn of(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_held_against_the_checksum_that_it_came_with() {
        let mut headers = Headers::default();
        assert!(fits(&headers, b"anything"));
        put_on(
            &mut headers,
            &Body::Bytes(std::rc::Rc::new(b"123456789".to_vec())),
        );
        assert_eq!(headers.get("content-md5"), Some("JfnnlDI7RTiF9RgfG2JNCw=="));
        assert!(fits(&headers, b"123456789"));
        assert!(!fits(&headers, b"123456780"));
    }
}
