//! Who may come in: whether a request names a host that is this server, and
//! whether it has the password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use sha2::{Digest as _, Sha256};

/// The user name that clients give. BuildKit sends credentials only where both
/// parts have some text.
pub const USER: &str = "build-cache";

/// What a client must have. It is not shown.
#[derive(Clone)]
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Password {
    /// Takes one that was given. None where it is empty.
    pub fn new(text: String) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// Draws one at random.
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes),
        ))
    }

    /// The password itself, for the caller, who hands it to a client.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether the request brings it. The time that this takes does not depend
    /// on what it brings.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let Some((scheme, given)) = given.and_then(|given| given.split_at_checked(6)) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return false;
        }
        let Ok(given) = STANDARD.decode(given.trim_ascii()) else {
            return false;
        };
        let expected = Sha256::digest(format!("{USER}:{}", self.0));
        Sha256::digest(given) == expected
    }
}

/// Which names a request may call this server by. A page in a browser can let
/// any name lead to this machine, but the browser then sends that name.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    more: Vec<String>,
}

/// Names that lead to this machine, or from a container or a virtual machine on
/// it to this machine. Nobody else can register them.
const LOCAL: [&str; 5] = [
    "localhost",
    "host.docker.internal",
    "gateway.docker.internal",
    "host.containers.internal",
    "host.lima.internal",
];

impl Hosts {
    /// This machine's names, and these.
    pub fn new(more: &[String]) -> Self {
        let more = more.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { more }
    }

    /// Whether the request calls this server by one of them, and comes from no
    /// page of another host.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let Ok(host) = host.to_str() else {
            return false;
        };
        let origin = headers.get(ORIGIN).map(|origin| origin.to_str());
        let same_origin = match origin {
            None => true,
            Some(Ok(origin)) => {
                let (_, origin) = origin.split_once("://").unwrap_or_default();
                origin == host
            }
            Some(Err(_)) => false,
        };
        same_origin && self.is_this_server(host)
    }

    fn is_this_server(&self, host: &str) -> bool {
        let name = host_name(host).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<std::net::IpAddr>() {
            return address.is_loopback() || self.more.iter().any(|more| more == bare);
        }
        LOCAL.contains(&name)
            || name.ends_with(".localhost")
            || self.more.iter().any(|more| more == name)
    }
}

/// The host of `host:port`.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, value.parse().expect("a value"))
            })
            .collect()
    }

    #[test]
    fn only_this_machine_s_names_are_let_in() {
        let hosts = Hosts::new(&["Cache.example".to_owned(), "10.0.0.7".to_owned()]);
        for host in [
            "localhost",
            "localhost:5511",
            "LOCALHOST:5511",
            "localhost.:5511",
            "127.0.0.1:5511",
            "127.8.8.8",
            "[::1]:5511",
            "app.localhost:1",
            "host.docker.internal:5511",
            "cache.example:443",
            "10.0.0.7:5511",
        ] {
            assert!(hosts.allow(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:5511",
            "localhost.evil.example",
            "notlocalhost",
            "10.0.0.8:5511",
            "0.0.0.0:5511",
            "169.254.169.254",
        ] {
            assert!(!hosts.allow(&headers(&[("host", host)])), "{host}");
        }
        assert!(!hosts.allow(&headers(&[])));
    }

    #[test]
    fn a_page_of_another_host_is_kept_out() {
        let hosts = Hosts::new(&[]);
        let from = |origin| headers(&[("host", "localhost:5511"), ("origin", origin)]);
        assert!(hosts.allow(&from("http://localhost:5511")));
        for origin in ["http://evil.example", "http://localhost:8080", "null"] {
            assert!(!hosts.allow(&from(origin)), "{origin}");
        }
    }

    #[test]
    fn the_password_is_compared_whole() {
        let password = Password::new("secret".to_owned()).expect("a password");
        let given = |text: &str| headers(&[("authorization", text)]);
        let basic = |text: &str| given(&format!("Basic {}", STANDARD.encode(text)));
        assert!(password.is_in(&basic("build-cache:secret")));
        assert!(password.is_in(&given(&format!(
            "basic {}",
            STANDARD.encode("build-cache:secret")
        ))));
        for wrong in [
            "build-cache:",
            "build-cache:secre",
            "other:secret",
            "secret",
        ] {
            assert!(!password.is_in(&basic(wrong)), "{wrong}");
        }
        for wrong in ["Bearer secret", "Basic", "Basic !", ""] {
            assert!(!password.is_in(&given(wrong)), "{wrong}");
        }
        assert!(!password.is_in(&headers(&[])));
        assert_eq!(format!("{password:?}"), "[redacted]");
        let random = Password::random().expect("a password");
        assert_eq!(random.reveal().len(), 32);
        assert_ne!(random.reveal(), Password::random().expect("one").reveal());
    }
}
