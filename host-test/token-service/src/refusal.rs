//! What Entra says when it refuses: an OAuth error with a numbered description of Entra's own.
//! The numbers are from <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

use http::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::random;

/// A refusal of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    /// OAuth's error, such as `invalid_client`.
    pub error: String,
    /// The number after `AADSTS`.
    pub code: u32,
    /// What comes after the number, up to the ids.
    pub message: String,
}

impl Refusal {
    fn new(status: StatusCode, error: &str, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            error: error.to_owned(),
            code,
            message: message.into(),
        }
    }

    /// The request itself is wrong.
    pub fn request(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", code, message)
    }

    /// The client did not prove that it is the one it names.
    pub fn client(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", code, message)
    }

    /// The client is not known in this tenant.
    pub fn unknown_client(client_id: &str, tenant: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "unauthorized_client",
            700_016,
            format!(
                "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
            ),
        )
    }

    /// The scope is not the one that storage needs.
    pub fn scope(scope: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_scope",
            70_011,
            format!(
                "The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
            ),
        )
    }

    /// A user's name or password is wrong.
    pub fn password() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            50_126,
            "Error validating credentials due to invalid username or password.",
        )
    }

    /// The grant is none that is served.
    pub fn grant_type(grant_type: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            70_003,
            format!("The app requested an unsupported grant type '{grant_type}'."),
        )
    }

    /// The answer's body. `correlation_id` is the client's own, where it sent one.
    pub fn body(&self, correlation_id: Option<&str>, now: OffsetDateTime) -> Value {
        let trace_id = random::uuid();
        let correlation_id = correlation_id.map_or_else(random::uuid, str::to_owned);
        let timestamp = timestamp(now);
        json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
                self.code, self.message
            ),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        })
    }
}

/// Entra's way to write a time: `2026-01-31 09:05:00Z`.
fn timestamp(now: OffsetDateTime) -> String {
    let (hour, minute, second) = now.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}Z", date(now))
}

fn date(now: OffsetDateTime) -> String {
    let (year, month, day) = now.to_calendar_date();
    format!("{year:04}-{:02}-{day:02}", u8::from(month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_entras_do() {
        let refusal = Refusal::client(7_000_215, "Invalid client secret provided.");
        let body = refusal.body(Some("c0"), OffsetDateTime::UNIX_EPOCH);
        let description = body["error_description"].as_str().unwrap();
        let trace_id = body["trace_id"].as_str().unwrap();
        assert_eq!(
            description,
            format!(
                "AADSTS7000215: Invalid client secret provided. Trace ID: {trace_id} \
                 Correlation ID: c0 Timestamp: 1970-01-01 00:00:00Z"
            )
        );
        assert_eq!(body["error_codes"], json!([7_000_215]));
        assert_eq!(body["correlation_id"], "c0");
    }
}
