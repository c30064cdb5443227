//! An authority as a policy or a plugin writes it.
//!
//! An address may be written in many ways, and the client reads them all as a
//! browser does: `0x7f.1` and `2130706433` are `127.0.0.1`. So a pattern is
//! accepted only as the client itself would write it, and text can be compared.

use std::fmt;
use std::net::IpAddr;

use crate::Error;
use crate::places::Place;

/// The ports of http and https.
const OWN_PORTS: [u16; 2] = [80, 443];

/// `host` or `host:port`, where a leading `*.` means one or more labels of a
/// name. Without a port it means the scheme's own port, and no other. An address
/// is written in its usual way, as `127.0.0.1` or `[::1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityPattern {
    /// In lower case, brackets of an IPv6 address included.
    pub(super) host: String,
    pub(super) wildcard: bool,
    pub(super) port: Option<u16>,
}

impl AuthorityPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || {
            Error::Other(format!(
                "`{text}` is not an authority: expected `host` or `host:port`, with `*.` before the \
                 host for any of its subdomains"
            ))
        };
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let authority: http::uri::Authority = rest.parse().map_err(|_| invalid())?;
        let port = authority.port_u16();
        let is_host_alone = authority.as_str() == authority.host();
        if authority.as_str().contains('@')
            || authority.host().contains('*')
            || !(is_host_alone || port.is_some())
        {
            return Err(invalid());
        }
        let host = authority.host().to_ascii_lowercase();
        let url = reqwest::Url::parse(&format!("http://{host}/")).map_err(|_| invalid())?;
        match url.host_str() {
            Some(read) if read == host => Ok(Self {
                host,
                wildcard,
                port,
            }),
            read => Err(Error::Other(format!(
                "`{text}` would be read as {}; write it so",
                read.unwrap_or("nothing")
            ))),
        }
    }

    /// What kind of place it is, where it is an address rather than a name.
    pub(super) fn place(&self) -> Option<Place> {
        self.address().map(Place::of)
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// Whether a request to this host and port is meant.
    pub(super) fn matches(&self, host: &str, port: u16, own_port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let host_matches = if self.wildcard {
            // The end of an address is not a domain.
            !host.ends_with(|c: char| c.is_ascii_digit() || c == ']')
                && host
                    .strip_suffix(&self.host)
                    .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
        } else {
            host == self.host
        };
        host_matches && self.port.unwrap_or(own_port) == port
    }

    /// What of `other` this one means too: all of it, or the scheme's own port
    /// of it alone; none where it means nothing of it.
    pub(super) fn share_of(&self, other: &Self) -> Option<Self> {
        let host_fits = match (self.wildcard, other.wildcard) {
            (false, false) => self.host == other.host,
            (false, true) => false,
            (true, _) if other.address().is_some() => false,
            (true, _) => other
                .host
                .strip_suffix(&self.host)
                .is_some_and(|labels| labels.is_empty() && other.wildcard || labels.ends_with('.')),
        };
        let share = match (self.port, other.port) {
            (one, other) if one == other => other,
            (None, Some(port)) if OWN_PORTS.contains(&port) => None,
            _ => return None,
        };
        host_fits.then(|| Self {
            port: share,
            ..other.clone()
        })
    }

    /// Whether a text that gives this port, or none, means this authority's.
    /// What the text does not say is the port of its scheme.
    pub(super) fn has_port(&self, given: Option<u16>) -> bool {
        match (self.port, given) {
            (Some(one), Some(other)) => one == other,
            (Some(port), None) | (None, Some(port)) => OWN_PORTS.contains(&port),
            (None, None) => true,
        }
    }
}

impl fmt::Display for AuthorityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> AuthorityPattern {
        AuthorityPattern::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        for text in [
            "",
            "a b",
            "user@host",
            "user@host:1",
            "*.*.net",
            "host:port",
            "host:",
            "host:70000",
            "{account}.host",
        ] {
            assert!(AuthorityPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_written_in_another_way_is_no_pattern() {
        for text in [
            "0x7f.1",
            "127.1",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]",
            "[0:0:0:0:0:0:0:1]",
            "%6cocalhost",
            "*.0x1",
        ] {
            let error = AuthorityPattern::parse(text).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_pattern_without_a_port_means_the_schemes_own() {
        for (one, other, share) in [
            ("a.example", "a.example", Some("a.example")),
            ("a.example", "a.example:443", Some("a.example")),
            ("a.example", "a.example:80", Some("a.example")),
            ("a.example", "a.example:22", None),
            ("a.example", "a.example:8443", None),
            ("a.example:8443", "a.example:8443", Some("a.example:8443")),
            ("a.example:8443", "a.example", None),
            ("a.example:443", "a.example", None),
            ("*.example", "a.example", Some("a.example")),
            ("*.example", "a.example:6379", None),
            ("*.example", "*.a.example", Some("*.a.example")),
            ("*.example", "*.example", Some("*.example")),
            ("*.example", "example", None),
            ("a.example", "*.example", None),
            ("10.0.0.1", "10.0.0.1:22", None),
        ] {
            let found = pattern(one).share_of(&pattern(other));
            assert_eq!(found, share.map(pattern), "{one} of {other}");
        }
    }

    #[test]
    fn a_request_to_another_port_is_not_meant() {
        for (text, port, own_port, is_meant) in [
            ("a.example", 443, 443, true),
            ("a.example", 80, 80, true),
            ("a.example", 443, 80, false),
            ("a.example", 22, 443, false),
            ("a.example:443", 443, 80, true),
            ("a.example:8080", 8080, 443, true),
        ] {
            let matches = pattern(text).matches("A.example", port, own_port);
            assert_eq!(matches, is_meant, "{text} {port} {own_port}");
        }
    }

    #[test]
    fn the_end_of_an_address_is_no_domain() {
        let pattern = pattern("*.net");
        assert!(pattern.matches("a.net", 80, 80));
        for host in ["127.1", "[::1]", "net", "a.0x7f"] {
            assert!(!pattern.matches(host, 80, 80), "{host}");
        }
    }
}
