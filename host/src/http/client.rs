//! The pooled HTTP client, and its failures in wasi:http's words.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime_wasi_http::Error;

use super::resolver::{ElsewhereOnly, LeadsHere};
use crate::capacity::OpenFiles;
use crate::reach::NamedBy;

/// How the host sends requests.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a request may go without a byte moving in either direction. A
    /// transfer that moves may take as long as it needs.
    pub idle_timeout: Duration,
    /// More certificate authorities, in PEM, beside the system's own.
    pub extra_roots_pem: Vec<Vec<u8>>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            // The longest that Azure itself works on one request without a
            // word is 60 s, for Put Block List.
            idle_timeout: Duration::from_secs(75),
            extra_roots_pem: Vec::new(),
        }
    }
}

/// How long an unused connection is kept. Servers close idle ones after 5 s
/// (Node's default, and so the emulator's) or later; a request that meets the
/// closing would fail.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// One client for all instances of a host: cheap to clone, pooled.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    /// For servers that the user named.
    anywhere: reqwest::Client,
    /// For servers that only a plugin named.
    elsewhere: reqwest::Client,
    pub(crate) idle_timeout: Duration,
    /// One for each request that all instances may have under way at once: each
    /// takes a connection, and may take a file.
    pub(super) places: Arc<Semaphore>,
}

impl HttpClient {
    /// Sets up the client with the system's proxies and certificate
    /// authorities.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, crate::Error> {
        let setup = |what: &str, error: &reqwest::Error| {
            crate::Error::Setup(format!("{what}: {}", chain(error)))
        };
        // Fails only where the embedder has chosen a provider: theirs is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = Vec::new();
        for pem in &options.extra_roots_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| setup("the additional certificate authorities", &error))?;
            roots.extend(certificates);
        }
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(options.connect_timeout)
                .pool_idle_timeout(POOL_IDLE)
                // A redirect would carry a signed request to another host.
                .redirect(reqwest::redirect::Policy::none())
                .http1_only()
                .retry(reqwest::retry::never())
                .tcp_nodelay(true)
                .tls_certs_merge(roots.clone())
        };
        let build = |builder: reqwest::ClientBuilder| {
            let built = builder.build();
            built.map_err(|error| setup("the HTTP client", &error))
        };
        Ok(Self {
            anywhere: build(builder())?,
            elsewhere: build(builder().dns_resolver(ElsewhereOnly::new()))?,
            idle_timeout: options.idle_timeout,
            places: Arc::new(Semaphore::new(
                OpenFiles::of_this_process().requests_of_a_host(),
            )),
        })
    }

    /// Sends a request to a server that was named so.
    pub(super) async fn send(
        &self,
        named_by: NamedBy,
        request: reqwest::Request,
    ) -> reqwest::Result<reqwest::Response> {
        let client = match named_by {
            NamedBy::User => &self.anywhere,
            NamedBy::Plugin => &self.elsewhere,
        };
        client.execute(request).await
    }
}

/// Says so where a request was not sent because its name leads to this
/// machine.
pub(super) fn leads_here(error: &reqwest::Error) -> Option<String> {
    let mut causes = causes(error);
    causes.find_map(|cause| cause.downcast_ref::<LeadsHere>().map(ToString::to_string))
}

/// What went wrong, in the words that a plugin can act on.
pub(super) fn explain(error: &reqwest::Error) -> Error {
    let text = chain(error);
    if error.is_timeout() {
        return Error::ConnectionTimeout;
    }
    for cause in causes(error) {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return body_error(error);
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return tls_error(error);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                return Error::ConnectionRefused;
            }
            if text.contains("dns error") {
                return Error::DnsError {
                    rcode: Some(error.to_string()),
                    info_code: None,
                };
            }
        }
    }
    Error::InternalError(Some(text))
}

/// What caused the error, from the outside in. An I/O error does not count the
/// error that it was made of among its sources; this does.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |error| {
        let error: &(dyn std::error::Error + 'static) = *error;
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn std::error::Error + 'static)),
            None => error.source(),
        }
    })
}

/// A failure of TLS, with what people most often have to do about it.
fn tls_error(error: &rustls::Error) -> Error {
    use rustls::CertificateError::{Expired, NotValidForName, UnknownIssuer};
    let hint = match error {
        rustls::Error::InvalidMessage(_) => {
            "; the server does not speak TLS: is it an http:// address?"
        }
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "; the server's certificate authority is not known on this system"
        }
        rustls::Error::InvalidCertificate(Expired | NotValidForName) => {
            "; is this the right server, and this machine's clock right?"
        }
        _ => "",
    };
    Error::TlsAlertReceived {
        alert_id: None,
        alert_message: Some(format!("TLS: {error}{hint}")),
    }
}

/// An error of the request's own body, as wasi:http made it: it cannot be
/// cloned, and only these occur there.
fn body_error(error: &Error) -> Error {
    match error {
        Error::HttpRequestBodySize(size) => Error::HttpRequestBodySize(*size),
        other => Error::InternalError(Some(other.to_string())),
    }
}

/// The error and what caused it, without the URL: a query may hold a secret.
fn chain(error: &reqwest::Error) -> String {
    let mut text = match error {
        e if e.is_connect() => "cannot connect".to_owned(),
        e if e.is_body() => "the body broke off".to_owned(),
        _ => "the request failed".to_owned(),
    };
    for cause in causes(error) {
        let cause = cause.to_string();
        // An error that only wraps another says the same.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
