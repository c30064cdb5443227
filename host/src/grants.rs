//! What one cache's instance may reach. Nothing is granted that nobody asked
//! for: the backend says what it reads and where it sends, the user's own
//! attributes and variables say which store is meant, and this is where the
//! two meet.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::{Description, Error, Files};

/// What an instance may reach and use. [`Grants::default`] gives no variable.
#[derive(Debug, Clone)]
pub struct Grants {
    /// Which authorities it may send requests to.
    pub authorities: Authorities,
    /// The environment variables that it sees, by name. Their values may be
    /// secrets, and none of them is ever shown.
    pub variables: Variables,
    /// Which files it may read.
    pub files: Files,
    /// The most memory of its own, in bytes. A manifest passes through it
    /// whole; layers do not.
    pub memory_bytes: usize,
    /// How long it may compute without asking the host for anything before it
    /// counts as stuck.
    pub compute_time: Duration,
}

/// Environment variables by name. Its `Debug` shows the names alone.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Grants {
    /// Room for a manifest of 64 MiB and what is made of it.
    const MEMORY_BYTES: usize = 512 << 20;
    /// Parsing the largest manifest takes a second or two.
    const COMPUTE_TIME: Duration = Duration::from_secs(20);

    /// Grants a plugin the variables that its description names, as far as
    /// this process has them.
    pub fn from_environment(description: &Description) -> Self {
        Self {
            variables: description
                .environment
                .iter()
                .filter_map(|v| Some((v.name.clone(), std::env::var(&v.name).ok()?)))
                .collect(),
            ..Self::default()
        }
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            authorities: Authorities::AsAsked,
            variables: Variables::default(),
            files: Files::default(),
            memory_bytes: Self::MEMORY_BYTES,
            compute_time: Self::COMPUTE_TIME,
        }
    }
}

impl Variables {
    /// The names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Takes out what the backend does not say that it reads.
    pub(crate) fn keep_described(&mut self, description: &Description) {
        let is_described = |name: &str| description.environment.iter().any(|v| v.name == name);
        self.0.retain(|name, _| is_described(name));
    }

    /// Adds a variable, or gives it another value.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

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

/// `host` or `host:port`, where a leading `*.` stands for one or more labels.
/// Without a port it means the scheme's own.
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
        Ok(Self {
            host: authority.host().to_ascii_lowercase(),
            wildcard,
            port,
        })
    }

    /// Whether a request to this host and port is meant.
    fn matches(&self, host: &str, port: u16, default_port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let host_matches = if self.wildcard {
            host.strip_suffix(&self.host)
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

/// The authorities that one instance was granted: the list that every one of
/// its requests is held against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach(Vec<AuthorityPattern>);

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
        let asked = asked
            .iter()
            .map(|text| AuthorityPattern::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        let described = match policy {
            Authorities::AsAsked => description
                .authorities
                .iter()
                .map(|text| AuthorityPattern::parse(text))
                .collect::<Result<Vec<_>, _>>()?,
            Authorities::Only(allowed) => allowed.clone(),
        };
        let named_by_user = |authority: &AuthorityPattern| {
            matches!(policy, Authorities::AsAsked)
                && !authority.wildcard
                && given_by_user.iter().any(|value| names(value, authority))
        };
        for authority in &asked {
            if !described.iter().any(|d| d.covers(authority)) && !named_by_user(authority) {
                return Err(Error::Denied {
                    plugin: plugin.to_owned(),
                    authority: authority.to_string(),
                });
            }
        }
        Ok(Self(asked))
    }

    /// Whether a request to this URL may be sent.
    pub(crate) fn allows(&self, url: &http::Uri) -> bool {
        let (Some(host), Some(scheme)) = (url.host(), url.scheme_str()) else {
            return false;
        };
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = url.port_u16().unwrap_or(default_port);
        self.0.iter().any(|a| a.matches(host, port, default_port))
    }
}

/// Whether the value names this host as a whole, not as a part of a longer one,
/// and with the port: on the same machine there may be other services.
fn names(value: &str, authority: &AuthorityPattern) -> bool {
    let value = value.to_ascii_lowercase();
    let host = &authority.host;
    let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    // A scheme's own port may be left out.
    let special = |port: Option<u16>| port.filter(|port| !matches!(port, 80 | 443));
    value.match_indices(host).any(|(start, _)| {
        let before = value.as_bytes()[..start].last();
        let after = &value[start + host.len()..];
        let port = after.strip_prefix(':').map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            &rest[..end.unwrap_or(rest.len())]
        });
        let port = port.and_then(|port| port.parse().ok());
        !before.is_some_and(|&b| is_host_byte(b))
            && !after.bytes().next().is_some_and(is_host_byte)
            && special(port) == special(authority.port)
    })
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
            assert_eq!(reach.allows(&url.parse().unwrap()), allowed, "{url}");
        }
    }

    #[test]
    fn a_backend_reaches_what_the_user_named() {
        let given = ["http://127.0.0.1:10000/devstoreaccount1"];
        let reach = reach(&["127.0.0.1:10000"], &[], &given).unwrap();
        assert!(reach.allows(&"http://127.0.0.1:10000/x".parse().unwrap()));
        assert!(!reach.allows(&"http://127.0.0.1:10001/x".parse().unwrap()));
        assert!(!reach.allows(&"http://127.0.0.1/x".parse().unwrap()));
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
    fn another_port_of_a_host_that_the_user_named_is_not_named() {
        for (asked, given, allowed) in [
            ("127.0.0.1:10000", "http://127.0.0.1:10000/account", true),
            ("127.0.0.1:2375", "http://127.0.0.1:10000/account", false),
            ("127.0.0.1", "http://127.0.0.1:10000/account", false),
            ("[::1]:10000", "http://[::1]:10000/account", true),
            ("[::1]:10001", "http://[::1]:10000/account", false),
            ("a.example", "https://a.example", true),
            ("a.example", "https://a.example:443/", true),
            ("a.example:443", "Endpoint=https://a.example/;Key=k", true),
            ("a.example:8443", "https://a.example", false),
        ] {
            let is_allowed = reach(&[asked], &[], &[given]).is_ok();
            assert_eq!(is_allowed, allowed, "{asked} by {given}");
        }
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
}
