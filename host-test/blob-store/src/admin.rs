//! The paths for whoever runs the store: counts and faults, without authentication, for the store
//! listens on the loopback interface only. They are counted nowhere and no fault hits them.
//!
//! ```text
//! GET    /_stats     the counts, as JSON       DELETE /_stats    begin anew
//! GET    /_faults    the script, as JSON       DELETE /_faults   let all go well
//! PUT    /_faults    a list of faults, in the place of the script
//! ```

use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;

use crate::answer::Body;
use crate::service::Service;
use crate::upload::Broken;

/// Far more than a script ever has.
const MAX_SCRIPT_BYTES: usize = 1 << 20;

/// A request for an admin path.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    method: &'a Method,
    path: &'a str,
}

impl<'a> Request<'a> {
    /// `None` for a request that goes elsewhere.
    pub fn of(parts: &'a Parts) -> Option<Self> {
        let path = parts.uri.path();
        matches!(path, "/_stats" | "/_faults").then_some(Self {
            method: &parts.method,
            path,
        })
    }

    pub async fn answer(
        &self,
        service: &Service,
        body: Incoming,
    ) -> Result<Response<Body>, Broken> {
        match (self.path, self.method) {
            ("/_stats", &Method::GET) => Ok(json(&service.counters.snapshot())),
            ("/_stats", &Method::DELETE) => {
                service.counters.reset();
                Ok(text(StatusCode::NO_CONTENT, ""))
            }
            ("/_faults", &Method::GET) => Ok(json(&service.faults.list())),
            ("/_faults", &Method::DELETE) => {
                service.faults.clear();
                Ok(text(StatusCode::NO_CONTENT, ""))
            }
            ("/_faults", &Method::PUT) => {
                let body = Limited::new(body, MAX_SCRIPT_BYTES)
                    .collect()
                    .await
                    .map_err(|_| Broken)?;
                Ok(match serde_json::from_slice(&body.to_bytes()) {
                    Ok(faults) => {
                        service.faults.set(faults);
                        text(StatusCode::NO_CONTENT, "")
                    }
                    Err(error) => text(
                        StatusCode::BAD_REQUEST,
                        format!("This is no list of faults: {error}\n"),
                    ),
                })
            }
            (path, method) => Ok(text(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{path} does not take {method}.\n"),
            )),
        }
    }
}

fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string_pretty(value) {
        Ok(json) => text(StatusCode::OK, json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(
        Full::from(text.into())
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    response
}
