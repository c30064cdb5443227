//! The page for people, and what it shows: one file that needs nothing else.

use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use crate::reply::{self, Reply};
use crate::stats::Summary;

const PAGE: &str = include_str!("page.html");

/// What the page may load: nothing but the figures of this server.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(crate) fn page() -> Reply {
    let mut reply = reply::text("text/html; charset=utf-8", PAGE);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// What it shows.
pub(crate) fn status(summary: &Summary) -> Reply {
    // A summary is plain data: nothing in it fails to become JSON.
    let json = serde_json::to_string(summary).unwrap_or_default();
    reply::text("application/json", json)
}

/// The figures for a monitoring system.
pub(crate) fn metrics(text: String) -> Reply {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut reply = reply::text("text/plain", text);
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
    reply
}
