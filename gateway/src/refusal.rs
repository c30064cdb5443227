//! Refusals in the form of the distribution specification:
//! `{"errors":[{"code","message","detail"}]}`. BuildKit shows their texts.

use build_cache_host::{Digest, Error};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

/// What is refused, in the specification's words and some of the reference
/// registry's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// There is no such blob.
    BlobUnknown,
    /// An upload cannot go on like this.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// A digest is wrong, or not the content's.
    DigestInvalid,
    /// A manifest names a blob that is not stored.
    ManifestBlobUnknown,
    /// A manifest is wrong, or of another kind.
    ManifestInvalid,
    /// There is no such manifest.
    ManifestUnknown,
    /// A repository's name or a tag is wrong.
    NameInvalid,
    /// There is nothing at this path.
    NameUnknown,
    /// A length is wrong.
    SizeInvalid,
    /// The client did not say who it is.
    Unauthorized,
    /// The client may not do this.
    Denied,
    /// This server does not do this.
    Unsupported,
    /// The store, or the room that this server has, is not there at the moment.
    Unavailable,
}

/// A request that is not granted, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// What kind of refusal it is.
    pub code: Code,
    /// Why, for people.
    pub message: String,
    /// The same for programs.
    pub detail: Option<Value>,
}

impl Refusal {
    /// A refusal with the status that its code usually has.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let status = match code {
            Code::BlobUnknown
            | Code::BlobUploadUnknown
            | Code::ManifestUnknown
            | Code::NameUnknown => StatusCode::NOT_FOUND,
            Code::BlobUploadInvalid
            | Code::DigestInvalid
            | Code::ManifestBlobUnknown
            | Code::ManifestInvalid
            | Code::NameInvalid
            | Code::SizeInvalid => StatusCode::BAD_REQUEST,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Denied => StatusCode::FORBIDDEN,
            Code::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self {
            status,
            code,
            message: message.into(),
            detail: None,
        }
    }

    /// The same with another status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with a detail.
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// There is no such blob.
    pub fn no_blob(blob: &Digest) -> Self {
        Self::new(Code::BlobUnknown, format!("there is no blob {blob}"))
            .with_detail(json!({ "digest": blob }))
    }

    /// What a store's failure is to a client that writes.
    pub fn from_store(error: &Error) -> Self {
        let code = match error {
            Error::Unauthenticated(_) | Error::Forbidden(_) | Error::Denied { .. } => Code::Denied,
            Error::InvalidManifest(_) => Code::ManifestInvalid,
            Error::MissingLayers(missing) => return Self::missing(missing),
            _ => Code::Unavailable,
        };
        Self::new(code, error.to_string())
    }

    /// A manifest that names what is not stored.
    pub fn missing(blobs: &[Digest]) -> Self {
        /// As many are named in the text; the detail has more.
        const NAMED: usize = 3;
        /// A detail with more of them would only be long.
        const LISTED: usize = 1000;
        let mut named: Vec<_> = blobs.iter().take(NAMED).map(Digest::to_string).collect();
        if blobs.len() > NAMED {
            named.push(format!("{} more", blobs.len() - NAMED));
        }
        let message = format!(
            "the store does not have {}: push the layers again, and then the manifest",
            named.join(", ")
        );
        let listed: Vec<_> = blobs.iter().take(LISTED).collect();
        Self::new(Code::ManifestBlobUnknown, message).with_detail(json!({ "digests": listed }))
    }

    /// The body of the answer.
    pub fn json(&self) -> String {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(detail) = &self.detail {
            error["detail"] = detail.clone();
        }
        json!({ "errors": [error] }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_form_that_the_specification_gives() {
        let blob = Digest::of(b"x");
        let refusal = Refusal::no_blob(&blob);
        assert_eq!(refusal.status, StatusCode::NOT_FOUND);
        let expected = format!(
            r#"{{"errors":[{{"code":"BLOB_UNKNOWN","detail":{{"digest":"{blob}"}},"message":"there is no blob {blob}"}}]}}"#
        );
        assert_eq!(refusal.json(), expected);
        let codes = [
            Code::ManifestBlobUnknown,
            Code::NameInvalid,
            Code::Unavailable,
        ];
        assert_eq!(
            json!(codes),
            json!(["MANIFEST_BLOB_UNKNOWN", "NAME_INVALID", "UNAVAILABLE"])
        );
    }

    #[test]
    fn what_the_store_says_reaches_the_client() {
        let cases = [
            (Error::Unavailable("it is down".into()), 503, "it is down"),
            (Error::Forbidden("no role".into()), 403, "no role"),
            (
                Error::Unauthenticated("no credential".into()),
                403,
                "no credential",
            ),
            (Error::Corrupt("half a blob".into()), 503, "half a blob"),
        ];
        for (error, status, text) in cases {
            let refusal = Refusal::from_store(&error);
            assert_eq!(refusal.status.as_u16(), status);
            assert!(refusal.message.contains(text), "{}", refusal.message);
        }
    }

    #[test]
    fn many_missing_layers_are_counted() {
        let blobs: Vec<_> = (0..5_u8).map(|n| Digest::of(&[n])).collect();
        let refusal = Refusal::from_store(&Error::MissingLayers(blobs));
        assert_eq!(refusal.code, Code::ManifestBlobUnknown);
        assert!(
            refusal.message.contains(", 2 more: push"),
            "{}",
            refusal.message
        );
    }
}
