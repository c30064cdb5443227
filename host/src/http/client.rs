//! The pooled HTTP client, and its failures in wasi:http's words.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::Error;

use super::proxy::{Proxies, Proxy};
use super::resolver::{NotPublic, PublicOnly};
use super::roots;
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

/// The client of all instances of a host: cheap to clone, pooled.
#[derive(Clone)]
pub(crate) struct HttpClient(Arc<Inner>);

struct Inner {
    options: HttpOptions,
    /// What the environment names, or what is wrong with it.
    proxies: Result<Proxies, String>,
    extra_roots: Vec<CertificateDer<'static>>,
    /// For what needs no TLS.
    plain: Clients,
    /// For the rest: made by the first request that needs it, as it takes the
    /// system's certificate authorities.
    secure: OnceLock<Result<Clients, String>>,
    places: Arc<Semaphore>,
}

/// A client for each way that a request may take.
struct Clients {
    /// Straight to servers that the user named.
    anywhere: reqwest::Client,
    /// Straight to servers that only a plugin named.
    public: reqwest::Client,
    /// Through a proxy, which looks names up itself.
    proxied: reqwest::Client,
}

/// Why a request has no answer.
pub(super) enum Unsent {
    /// It was not sent, as its name leads where a plugin's may not.
    Denied(String),
    /// It failed.
    Failed(Error),
}

impl HttpClient {
    /// Sets up the client. What the environment says of proxies and
    /// certificate authorities is found wrong only where it is needed.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, crate::Error> {
        // Fails only where the embedder has chosen a provider: theirs is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut extra_roots = Vec::new();
        for pem in &options.extra_roots_pem {
            let certificates = roots::read_pem(pem).map_err(|error| {
                crate::Error::Setup(format!("the additional certificate authorities: {error}"))
            })?;
            extra_roots.extend(certificates);
        }
        let proxies = Proxies::from_environment();
        let used = proxies.clone().unwrap_or_default();
        let plain = Clients::new(options, &used, |builder| {
            Ok(builder.tls_backend_preconfigured(roots::trusting_nobody()))
        });
        Ok(Self(Arc::new(Inner {
            options: options.clone(),
            plain: plain.map_err(crate::Error::Setup)?,
            proxies,
            extra_roots,
            secure: OnceLock::new(),
            places: Arc::new(Semaphore::new(
                OpenFiles::of_this_process().requests_of_a_host(),
            )),
        })))
    }

    /// How long a request may go without a byte moving.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.0.options.idle_timeout
    }

    /// One for each request that all instances may have under way at once: each
    /// takes a connection, and may take a file.
    pub(super) fn places(&self) -> &Arc<Semaphore> {
        &self.0.places
    }

    /// What is wrong with the variables that name proxies.
    pub(crate) fn check_proxies(&self) -> Result<(), crate::Error> {
        match &self.0.proxies {
            Ok(_) => Ok(()),
            Err(why) => Err(crate::Error::Setup(why.clone())),
        }
    }

    /// The proxy between us and the server of this URL, in words.
    pub(super) fn proxy_for(&self, url: &reqwest::Url) -> Option<String> {
        self.proxy(url).map(Proxy::to_string)
    }

    fn proxy(&self, url: &reqwest::Url) -> Option<&Proxy> {
        self.0.proxies.as_ref().ok()?.for_url(url)
    }

    /// Sends a request to a server that was named so.
    pub(super) async fn send(
        &self,
        named_by: NamedBy,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, Unsent> {
        let proxy = self.proxy(request.url());
        let needs_tls = request.url().scheme() == "https" || proxy.is_some_and(Proxy::is_https);
        let clients = match needs_tls {
            true => self.secure().map_err(|why| Unsent::Failed(no_use(why)))?,
            false => &self.0.plain,
        };
        let client = match (proxy, named_by) {
            (Some(_), _) => &clients.proxied,
            (None, NamedBy::User) => &clients.anywhere,
            (None, NamedBy::Plugin) => &clients.public,
        };
        let response =
            client
                .execute(request)
                .await
                .map_err(|error| match (not_public(&error), proxy) {
                    (Some(reason), _) => Unsent::Denied(reason),
                    (None, None) => Unsent::Failed(explain(&error)),
                    (None, Some(proxy)) => Unsent::Failed(explain_proxied(&error, proxy)),
                })?;
        match proxy {
            // No other server answers so.
            Some(proxy) if response.status() == http::StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(Unsent::Failed(no_use(&wants_a_password(proxy))))
            }
            _ => Ok(response),
        }
    }

    fn secure(&self) -> Result<&Clients, &str> {
        let Inner {
            options,
            proxies,
            extra_roots,
            secure,
            ..
        } = &*self.0;
        let made = secure.get_or_init(|| {
            let proxies = proxies.clone().unwrap_or_default();
            Clients::new(options, &proxies, |builder| {
                roots::trusting(builder, extra_roots)
            })
        });
        made.as_ref().map_err(|why| why.as_str())
    }
}

impl Clients {
    fn new(
        options: &HttpOptions,
        proxies: &Proxies,
        tls: impl Fn(reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, String>,
    ) -> Result<Self, String> {
        let builder = || {
            let builder = reqwest::Client::builder()
                .connect_timeout(options.connect_timeout)
                .pool_idle_timeout(POOL_IDLE)
                // A redirect would carry a signed request to another host.
                .redirect(reqwest::redirect::Policy::none())
                .http1_only()
                .retry(reqwest::retry::never())
                .tcp_nodelay(true)
                .no_proxy();
            tls(builder)
        };
        let build = |builder: reqwest::ClientBuilder| {
            let built = builder.build();
            built.map_err(|error| format!("the HTTP client: {}", chain(&error)))
        };
        let proxies = proxies.clone();
        let by_url = reqwest::Proxy::custom(move |url| {
            let proxy = proxies.for_url(url);
            proxy.map(Proxy::address)
        });
        Ok(Self {
            anywhere: build(builder()?)?,
            public: build(builder()?.dns_resolver(PublicOnly))?,
            proxied: build(builder()?.proxy(by_url))?,
        })
    }
}

/// An error that another try cannot mend. wasi:http has no other that says so
/// and carries a text.
fn no_use(why: &str) -> Error {
    Error::TlsAlertReceived {
        alert_id: None,
        alert_message: Some(why.to_owned()),
    }
}

fn wants_a_password(proxy: &Proxy) -> String {
    let variable = proxy.variable();
    format!(
        "{proxy} wants a user name and a password, or other ones (407): write them into {variable}, \
         as in http://USER:PASSWORD@HOST:PORT"
    )
}

/// What went wrong on the way through a proxy.
fn explain_proxied(error: &reqwest::Error, proxy: &Proxy) -> Error {
    let text = chain(error);
    // The client's tunnel has no type for these.
    if text.contains("proxy authorization required") {
        return no_use(&wants_a_password(proxy));
    }
    let why = match explain(error) {
        Error::ConnectionTimeout => "connecting took too long".to_owned(),
        Error::ConnectionRefused => return broken(format!("{proxy} refused the connection")),
        Error::DnsError { .. } => {
            return broken(format!("the host name of {proxy} could not be found"));
        }
        Error::TlsAlertReceived {
            alert_id,
            alert_message: Some(text),
        } => {
            return Error::TlsAlertReceived {
                alert_id,
                alert_message: Some(format!("{text}, through {proxy}")),
            };
        }
        Error::InternalError(Some(_)) if text.contains("tunnel error: unsuccessful") => {
            return broken(format!("{proxy} refused to connect to the server"));
        }
        Error::InternalError(Some(text)) => text,
        Error::HttpRequestBodySize(size) => return Error::HttpRequestBodySize(size),
        other => other.to_string(),
    };
    broken(format!("{why}, through {proxy}"))
}

fn broken(why: String) -> Error {
    Error::InternalError(Some(why))
}

/// Says so where a request was not sent because its name leads to an address
/// that is not public.
fn not_public(error: &reqwest::Error) -> Option<String> {
    let mut causes = causes(error);
    causes.find_map(|cause| cause.downcast_ref::<NotPublic>().map(ToString::to_string))
}

/// What went wrong, in the words that a plugin can act on.
fn explain(error: &reqwest::Error) -> Error {
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
