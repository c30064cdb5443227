//! The checksums that a client may send with a body: MD5, and CRC-64/NVME as base64 of its
//! little-endian bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use http::{HeaderMap, StatusCode};
use md5::{Digest as _, Md5};

use crate::refusal::Refusal;

/// What a body is checked against, and what it came to so far.
///
/// MD5 is only computed for a client that sends one: it is slower than everything else here
/// together. The service, too, has answered with the CRC instead since version 2019-02-02.
pub(crate) struct Checksums {
    md5: Option<(Md5, Vec<u8>)>,
    crc: Crc,
    expected_crc: Option<u64>,
}

impl Checksums {
    /// Reads `Content-MD5` and `x-ms-content-crc64`.
    pub fn expected(headers: &HeaderMap) -> Result<Self, Refusal> {
        let md5 = binary(headers, "content-md5", 16)?.map(|expected| (Md5::new(), expected));
        let expected_crc = binary(headers, "x-ms-content-crc64", 8)?
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_le_bytes);
        if md5.is_some() && expected_crc.is_some() {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "InvalidHeaderValue",
                "Send Content-MD5 or x-ms-content-crc64, not both.",
            ));
        }
        Ok(Self {
            md5,
            crc: Crc::new(CrcAlgorithm::Crc64Nvme),
            expected_crc,
        })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.md5 {
            Some((md5, _)) => md5.update(bytes),
            None => self.crc.update(bytes),
        }
    }

    /// Compares, and gives the header that tells the client what arrived.
    pub fn verify(self) -> Result<Received, Refusal> {
        if let Some((md5, expected)) = self.md5 {
            let found = md5.finalize();
            if found[..] != expected[..] {
                return Err(mismatch("Md5Mismatch", "MD5", &expected, &found));
            }
            return Ok(Received {
                header: "content-md5",
                value: STANDARD.encode(found),
            });
        }
        let found = self.crc.finalize();
        if let Some(expected) = self.expected_crc.filter(|expected| *expected != found) {
            return Err(mismatch(
                "Crc64Mismatch",
                "CRC64",
                &expected.to_le_bytes(),
                &found.to_le_bytes(),
            ));
        }
        Ok(Received {
            header: "x-ms-content-crc64",
            value: STANDARD.encode(found.to_le_bytes()),
        })
    }
}

/// The checksum of a body that arrived whole, as a header of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub header: &'static str,
    pub value: String,
}

impl Received {
    /// The MD5, where it was asked for.
    pub fn md5(&self) -> Option<String> {
        (self.header == "content-md5").then(|| self.value.clone())
    }
}

fn binary(
    headers: &HeaderMap,
    name: &'static str,
    bytes: usize,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    match STANDARD.decode(text) {
        Ok(decoded) if decoded.len() == bytes => Ok(Some(decoded)),
        _ if name == "content-md5" => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidMd5",
            "The header Content-MD5 is not the base64 form of 16 bytes.",
        )),
        _ => Err(Refusal::invalid_header(name, text)),
    }
}

fn mismatch(code: &'static str, name: &str, expected: &[u8], found: &[u8]) -> Refusal {
    let message = format!("The {name} in the request is not that of the body that arrived.");
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
        .detail("UserSpecified", STANDARD.encode(expected))
        .detail("ServerCalculated", STANDARD.encode(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, value: &str, body: &[u8]) -> Result<Received, &'static str> {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        let mut sums = Checksums::expected(&headers).map_err(|refusal| refusal.code)?;
        sums.update(body);
        sums.verify().map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_body_is_held_against_its_crc() {
        assert!(check("x-ms-content-crc64", "iJh5CoYUi64=", b"123456789").is_ok());
        assert_eq!(
            check("x-ms-content-crc64", "iJh5CoYUi64=", b"12345678"),
            Err("Crc64Mismatch")
        );
        assert_eq!(
            check("x-ms-content-crc64", "iJh5", b""),
            Err("InvalidHeaderValue")
        );
    }

    #[test]
    fn a_body_is_held_against_its_md5() {
        assert!(check("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==", b"123456789").is_ok());
        assert_eq!(
            check("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==", b"12345678"),
            Err("Md5Mismatch")
        );
        assert_eq!(check("content-md5", "not base64", b""), Err("InvalidMd5"));
    }

    #[test]
    fn a_body_without_a_checksum_is_answered_with_its_crc() {
        let mut sums = Checksums::expected(&HeaderMap::new()).unwrap();
        sums.update(b"12345");
        sums.update(b"6789");
        assert_eq!(
            sums.verify().unwrap(),
            Received {
                header: "x-ms-content-crc64",
                value: "iJh5CoYUi64=".into()
            }
        );
    }
}
