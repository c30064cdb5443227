//! Shared Key: every request signed with the storage account's key.
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine as _};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::mistaken;
use crate::secret::{Secret, unquoted};
use crate::transport::Request;

/// Base64 whose padding may be gone: a shell that splits at `=` takes it away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A storage account's name and key.
pub(crate) struct SharedKey {
    account: String,
    key: Zeroizing<Vec<u8>>,
}

impl SharedKey {
    /// Reads a key as Azure shows it, or says why it is not one, without
    /// showing it.
    pub(crate) fn parse(account: String, key: Secret) -> Result<Self, &'static str> {
        let text = unquoted(key.expose());
        // Base64 has no `%`: it was taken for a part of a URL.
        let bytes = Zeroizing::new(percent_decode_str(text).collect::<Vec<u8>>());
        match BASE64.decode(&*bytes) {
            Ok(key) if !key.is_empty() => Ok(Self {
                account,
                key: Zeroizing::new(key),
            }),
            _ => Err(mistaken(text)
                .unwrap_or("not a storage account key, which is base64 as Azure shows it")),
        }
    }

    /// The value of the `Authorization` header.
    pub(crate) fn authorization(&self, request: &Request) -> String {
        let account = &self.account;
        format!(
            "SharedKey {account}:{}",
            self.sign(&string_to_sign(account, request))
        )
    }

    /// The signature of a text, in base64.
    pub(crate) fn sign(&self, text: &str) -> String {
        // HMAC takes keys of every length: that cannot fail.
        match Hmac::<Sha256>::new_from_slice(&self.key) {
            Ok(mut mac) => {
                mac.update(text.as_bytes());
                STANDARD.encode(mac.finalize().into_bytes())
            }
            Err(_) => String::new(),
        }
    }
}

/// The header fields that are signed by position, after the method. `date`
/// is always empty, since every request carries `x-ms-date`.
const BY_POSITION: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// What the signature of a request covers.
pub(crate) fn string_to_sign(account: &str, request: &Request) -> String {
    let headers = &request.headers;
    let mut text = String::from(request.method.as_str());
    text.push('\n');
    for name in BY_POSITION {
        let value = headers.get(name).unwrap_or("");
        // Since version 2015-02-21 a length of 0 is signed as none.
        let absent = match name {
            "content-length" => value == "0",
            "date" => headers.get("x-ms-date").is_some(),
            _ => false,
        };
        if !absent {
            text.push_str(value);
        }
        text.push('\n');
    }

    let fields = headers.iter();
    let ours = fields.filter(|(name, _)| name.to_ascii_lowercase().starts_with("x-ms-"));
    for (name, value) in sorted(ours) {
        text.push_str(&name);
        text.push(':');
        text.push_str(value.trim());
        text.push('\n');
    }

    text.push('/');
    text.push_str(account);
    text.push_str(&request.path);
    let query = request.query.iter();
    let mut previous = String::new();
    for (name, value) in sorted(query.map(|(name, value)| (*name, value.as_str()))) {
        if name == previous {
            text.push(',');
        } else {
            text.push('\n');
            text.push_str(&name);
            text.push(':');
            previous = name;
        }
        text.push_str(value);
    }
    text
}

/// Names in lower case with their values, in order. There are a handful, for
/// which the library's sort, at 4 KB, would be too much.
fn sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, &'a str)> {
    let mut sorted = Vec::new();
    for (name, value) in pairs {
        let pair = (name.to_ascii_lowercase(), value);
        let place = sorted.partition_point(|before| *before <= pair);
        sorted.insert(place, pair);
    }
    sorted
}
