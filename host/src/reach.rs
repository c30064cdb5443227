//! Which servers an instance may send requests to: what the host's policy is,
//! what the backend asks for, and who named it.
//!
//! An address may be written in many ways, and the client reads them all as a
//! browser does: `0x7f.1` and `2130706433` are `127.0.0.1`. So a pattern is
//! taken only as the client itself would write it, and text can be compared.

use std::fmt;
use std::net::IpAddr;

use crate::{Description, Error};

/// Which authorities an instance may send requests to.
#[derive(Debug, Clone, Default)]
pub enum Authorities {
    /// Those that the backend asks for, as long as each is among those that
    /// its description names, or stands in an attribute or a variable that the
    /// user gave.
    #[default]
    AsAsked,
    /// Those alone, whatever the backend asks for.
    Only(Vec<AuthorityPattern>),
}

/// `host` or `host:port`, where a leading `*.` stands for one or more labels of
/// a name. Without a port it means the scheme's own. An address is written in
/// its usual way, as `127.0.0.1` or `[::1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityPattern {
    /// In lower case, brackets of an IPv6 address included.
    host: String,
    wildcard: bool,
    port: Option<u16>,
}

impl AuthorityPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || {
            Error::Other(format!(
                "`{text}` is no authority: expected `host` or `host:port`, with `*.` before the \
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

    /// The address, where it is one rather than a name.
    fn address(&self) -> Option<IpAddr> {
        let host = self.host.trim_matches(['[', ']']);
        host.parse()
            .ok()
            .map(|address: IpAddr| address.to_canonical())
    }

    /// Whether a request to this host and port is meant.
    fn matches(&self, host: &str, port: u16, default_port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let host_matches = if self.wildcard {
            // The end of an address is no domain.
            !host.ends_with(|c: char| c.is_ascii_digit() || c == ']')
                && host
                    .strip_suffix(&self.host)
                    .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
        } else {
            host == self.host
        };
        host_matches && self.port.unwrap_or(default_port) == port
    }

    /// Whether every authority that `other` means is meant by this one too.
    fn covers(&self, other: &Self) -> bool {
        let port_fits = self.port == other.port || self.port.is_none();
        let host_fits = match (self.wildcard, other.wildcard) {
            (false, false) => self.host == other.host,
            (false, true) => false,
            (true, _) if other.address().is_some() => false,
            (true, _) => other
                .host
                .strip_suffix(&self.host)
                .is_some_and(|labels| labels.is_empty() && other.wildcard || labels.ends_with('.')),
        };
        port_fits && host_fits
    }
}

impl fmt::Display for AuthorityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Who named an authority that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The user, or the host's own policy: it may be anywhere.
    User,
    /// The plugin's description alone: it must not be this machine.
    Plugin,
}

/// The authorities that one instance was granted: the list that every one of
/// its requests is held against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach(Vec<(AuthorityPattern, NamedBy)>);

impl Reach {
    /// Decides what a backend that asks for `asked` gets, or names the one
    /// that it does not get.
    pub(crate) fn decide(
        policy: &Authorities,
        plugin: &str,
        asked: &[String],
        description: &Description,
        given_by_user: &[&str],
    ) -> Result<Self, Error> {
        let asked = parse_all(plugin, asked)?;
        let (allowed, described, given_by_user) = match policy {
            Authorities::AsAsked => (
                vec![],
                parse_all(plugin, &description.authorities)?,
                given_by_user,
            ),
            Authorities::Only(allowed) => (allowed.clone(), vec![], &[][..]),
        };
        let is_covered =
            |by: &[AuthorityPattern], authority: &_| by.iter().any(|p| p.covers(authority));
        let granted = asked.into_iter().map(|authority| {
            let named_by = if is_covered(&allowed, &authority)
                || given_by_user.iter().any(|value| names(value, &authority))
            {
                NamedBy::User
            } else if is_covered(&described, &authority)
                && !authority.address().is_some_and(is_this_machine)
            {
                NamedBy::Plugin
            } else {
                return Err(Error::Denied {
                    plugin: plugin.to_owned(),
                    authority: authority.to_string(),
                });
            };
            Ok((authority, named_by))
        });
        granted.collect::<Result<_, _>>().map(Self)
    }

    /// Who named the authority of this URL; none where no request to it may be
    /// sent.
    pub(crate) fn named_by(&self, url: &http::Uri) -> Option<NamedBy> {
        let (host, scheme) = (url.host()?, url.scheme_str()?);
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = url.port_u16().unwrap_or(default_port);
        let mut granted = self.0.iter();
        let found = granted.find(|(a, _)| a.matches(host, port, default_port));
        found.map(|(_, named_by)| *named_by)
    }
}

/// What a plugin asks for, which may be what the user wrote.
fn parse_all(plugin: &str, authorities: &[String]) -> Result<Vec<AuthorityPattern>, Error> {
    let patterns = authorities.iter().map(|text| {
        let pattern = AuthorityPattern::parse(text);
        pattern
            .map_err(|error| Error::Other(format!("the plugin {plugin} cannot reach it: {error}")))
    });
    patterns.collect()
}

/// Whether the address is this machine's own, such as `127.0.0.1`, which
/// servers trust that nobody else can reach.
pub(crate) fn is_this_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// Whether the value names this authority as a whole: not a part of a longer
/// host, and not another port of the same.
fn names(value: &str, authority: &AuthorityPattern) -> bool {
    const DEFAULT_PORTS: [u16; 2] = [80, 443];
    let value = value.to_ascii_lowercase();
    let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    let named_here = |start: usize| {
        let before = value.as_bytes()[..start].last();
        let after = &value[start + authority.host.len()..];
        let port = after.strip_prefix(':').and_then(|after| {
            let end = after.find(|c: char| !c.is_ascii_digit());
            after[..end.unwrap_or(after.len())].parse().ok()
        });
        let port_fits = match (authority.port, port) {
            (Some(one), Some(other)) => one == other,
            (Some(port), None) | (None, Some(port)) => DEFAULT_PORTS.contains(&port),
            (None, None) => true,
        };
        port_fits
            && !before.is_some_and(|&b| is_host_byte(b))
            && !after.bytes().next().is_some_and(is_host_byte)
    };
    !authority.wildcard
        && value
            .match_indices(&authority.host)
            .any(|(start, _)| named_here(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(asked: &[&str], described: &[&str], given: &[&str]) -> Result<Reach, Error> {
        let description = Description {
            r#type: "test".into(),
            authorities: described.iter().map(ToString::to_string).collect(),
            ..Description::default()
        };
        let asked: Vec<_> = asked.iter().map(ToString::to_string).collect();
        Reach::decide(
            &Authorities::AsAsked,
            "test.wasm",
            &asked,
            &description,
            given,
        )
    }

    #[test]
    fn a_backend_reaches_what_its_description_names() {
        let reach = reach(&["acct.blob.example.net"], &["*.blob.example.net"], &[]).unwrap();
        for (url, allowed) in [
            ("https://acct.blob.example.net/c/b", true),
            ("http://ACCT.blob.example.net/c/b", true),
            ("https://acct.blob.example.net:8443/", false),
            ("https://other.blob.example.net/", false),
            ("https://blob.example.net/", false),
        ] {
            assert_eq!(
                reach.named_by(&url.parse().unwrap()).is_some(),
                allowed,
                "{url}"
            );
        }
    }

    #[test]
    fn a_backend_reaches_what_the_user_named() {
        let given = ["http://127.0.0.1:10000/devstoreaccount1"];
        let reach = reach(&["127.0.0.1:10000"], &[], &given).unwrap();
        let named_by = |url: &str| reach.named_by(&url.parse().unwrap());
        assert_eq!(named_by("http://127.0.0.1:10000/x"), Some(NamedBy::User));
        assert_eq!(named_by("http://127.0.0.1:10001/x"), None);
        assert_eq!(named_by("http://127.0.0.1/x"), None);
    }

    #[test]
    fn what_nobody_named_is_denied_by_name() {
        let error = reach(
            &["169.254.169.254"],
            &["*.example.net"],
            &["https://a.example.net"],
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("169.254.169.254"), "{error}");
    }

    #[test]
    fn a_part_of_a_host_that_the_user_named_is_not_named() {
        assert!(reach(&["evil.com"], &[], &["https://not-evil.com"]).is_err());
        assert!(reach(&["evil.com"], &[], &["https://evil.com.example"]).is_err());
        assert!(reach(&["evil.com"], &[], &["https://evil.com/"]).is_ok());
    }

    #[test]
    fn a_policy_of_the_host_replaces_what_the_description_names() {
        let description = Description {
            authorities: vec!["*.example.net".into()],
            ..Description::default()
        };
        let only = Authorities::Only(vec![AuthorityPattern::parse("a.example.net").unwrap()]);
        let decide = |asked: &str| {
            Reach::decide(
                &only,
                "p",
                &[asked.to_owned()],
                &description,
                &["b.example.net"],
            )
        };
        assert!(decide("a.example.net").is_ok());
        assert!(decide("b.example.net").is_err());
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
        ] {
            assert!(AuthorityPattern::parse(text).is_err(), "{text}");
        }
    }
    #[test]
    fn another_port_of_a_host_that_the_user_named_is_not_named() {
        for (asked, given, granted) in [
            ("store.example", "https://store.example/x", true),
            ("store.example:443", "https://store.example/x", true),
            ("store.example", "https://store.example:443/x", true),
            ("store.example:22", "https://store.example/x", false),
            ("store.example", "http://store.example:8080/x", false),
            ("store.example:8081", "http://store.example:8080/x", false),
            (
                "store.example:8080",
                "a=b;u=http://store.example:8080",
                true,
            ),
            ("[::1]:8080", "http://[::1]:8080/", true),
            ("[::1]:80", "http://[::1]:8080/", false),
        ] {
            assert_eq!(
                reach(&[asked], &[], &[given]).is_ok(),
                granted,
                "{asked} {given}"
            );
        }
    }

    #[test]
    fn this_machine_is_reached_only_where_the_user_named_it() {
        for address in [
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]",
            "[::ffff:7f00:1]",
            "0.0.0.0",
        ] {
            assert!(reach(&[address], &[address], &[]).is_err(), "{address}");
            let given = format!("http://{address}/");
            let granted = reach(&[address], &[address], &[&given]);
            assert!(granted.is_ok(), "{address}");
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
    fn the_end_of_an_address_is_no_domain() {
        for (asked, described) in [("127.0.0.1", "*.0.0.1"), ("10.0.0.1", "*.1")] {
            assert!(reach(&[asked], &[described], &[]).is_err(), "{asked}");
        }
        let Ok(reach) = reach(&["*.net"], &["*.net"], &[]) else {
            panic!("a domain");
        };
        let named_by = |url: &str| reach.named_by(&url.parse().unwrap());
        assert_eq!(named_by("http://a.net/"), Some(NamedBy::Plugin));
        assert_eq!(named_by("http://127.1/"), None);
    }
}
