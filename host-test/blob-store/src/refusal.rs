//! What a client is told when the store does not do what it asked: a status, one of the service's
//! error codes, and a sentence. Codes and statuses follow
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>.

use http::StatusCode;

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Further elements of the XML body, such as `HeaderName`.
    pub details: Vec<(&'static str, String)>,
    /// `Content-Range: bytes */size`, which goes with 416.
    pub whole_size: Option<u64>,
    /// How to authenticate, which goes with 401.
    pub challenge: Option<&'static str>,
}

impl Refusal {
    /// A refusal with a code that the service knows.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
            whole_size: None,
            challenge: None,
        }
    }

    /// The same, with one more element in the XML body.
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    pub fn container_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "ContainerNotFound",
            "There is no such container.",
        )
    }

    pub fn container_exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "ContainerAlreadyExists",
            "A container of this name is there already.",
        )
    }

    pub fn blob_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "BlobNotFound",
            "There is no such blob.",
        )
    }

    /// `code` says whether it is on its way out.
    pub fn archived(code: &'static str) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            code,
            "This operation is not permitted on a blob in the archive tier.",
        )
    }

    pub fn directory_not_empty() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "DirectoryIsNotEmpty",
            "The directory is not empty.",
        )
    }

    pub fn blob_exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "BlobAlreadyExists",
            "A blob of this name is there already.",
        )
    }

    pub fn resource_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            "There is no such resource.",
        )
    }

    pub fn condition_not_met() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "ConditionNotMet",
            "A condition in the request's headers does not hold.",
        )
    }

    pub fn not_modified() -> Self {
        Self::new(
            StatusCode::NOT_MODIFIED,
            "ConditionNotMet",
            "The blob did not change.",
        )
    }

    pub fn invalid_range(size: u64) -> Self {
        let mut refusal = Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "InvalidRange",
            format!("The range begins at or after the end of the blob, which has {size} bytes."),
        );
        refusal.whole_size = Some(size);
        refusal
    }

    pub fn invalid_header(name: &str, value: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidHeaderValue",
            format!("The header {name} has a value that cannot be used."),
        )
        .detail("HeaderName", name)
        .detail("HeaderValue", value)
    }

    pub fn missing_header(name: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MissingRequiredHeader",
            format!("The header {name} is required."),
        )
        .detail("HeaderName", name)
    }

    pub fn invalid_query(name: &str, value: &str, reason: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidQueryParameterValue",
            format!("The query parameter {name} cannot be used."),
        )
        .detail("QueryParameterName", name)
        .detail("QueryParameterValue", value)
        .detail("Reason", reason)
    }

    pub fn out_of_range_query(name: &str, value: &str, reason: &str) -> Self {
        Self {
            code: "OutOfRangeQueryParameterValue",
            ..Self::invalid_query(name, value, reason)
        }
    }

    pub fn invalid_xml(reason: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidXmlDocument",
            "The body is not the XML that this operation takes.",
        )
        .detail("Reason", reason)
    }

    pub fn unsupported_verb(method: &http::Method) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UnsupportedHttpVerb",
            format!("Nothing here takes {method}."),
        )
    }

    pub fn not_implemented(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", what)
    }

    /// `reason` is for the person who debugs a signature; it holds no key and no signature.
    pub fn authentication_failed(reason: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "AuthenticationFailed",
            "The request's Authorization header does not prove that it comes from the account's owner.",
        )
        .detail("AuthenticationErrorDetail", reason)
    }

    /// The store's own limit on memory. 507 is no status of the service, so that nobody takes it
    /// for one.
    pub fn store_full(limit: u64) -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "StoreFull",
            format!(
                "The store may hold {limit} bytes in memory and has no room for this. Delete blobs, or start it with a higher limit or with a folder."
            ),
        )
    }

    pub fn disk(error: &std::io::Error) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("The store's disk failed: {error}."),
        )
    }
}
