//! What the user gave that may name a server: attributes, and the variables that
//! the host's policy lends.

use super::pattern::AuthorityPattern;
use crate::policy::{Lends, Policy};

/// Attributes and variables, by name.
#[derive(Debug, Default)]
pub(crate) struct Given<'a>(Vec<Value<'a>>);

#[derive(Debug)]
struct Value<'a> {
    name: &'a str,
    text: &'a str,
    /// Whether the servers that it names may be anywhere.
    names_servers: bool,
}

/// How clearly a value names a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// Its host is somewhere in the text.
    Somewhere,
    /// As the server of an address: in a URL, or by itself.
    AsServer,
}

impl<'a> Given<'a> {
    /// What the user gave. An attribute is the user's own; a variable counts
    /// as far as the policy lets it.
    pub(crate) fn new(
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
        policy: &Policy,
    ) -> Self {
        let attributes = attributes.into_iter().map(|(name, text)| Value {
            name,
            text,
            names_servers: true,
        });
        let variables = variables.into_iter().map(|(name, text)| Value {
            name,
            text,
            names_servers: policy.variable(name).unwrap_or(Lends::Everything).servers(),
        });
        Self(attributes.chain(variables).collect())
    }

    /// How clearly the user named this authority; none where nobody did.
    pub(super) fn names(&self, authority: &AuthorityPattern) -> Option<Named> {
        let values = self.0.iter().filter(|value| value.names_servers);
        values
            .filter_map(|value| named(value.text, authority))
            .max()
    }

    /// The values under a name that are not empty.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |value| value.name == name);
        let values = values.map(|value| value.text.trim());
        values.filter(|text| !text.is_empty())
    }
}

fn named(text: &str, authority: &AuthorityPattern) -> Option<Named> {
    // A single word is the name of anything: a container, a branch.
    let is_word = authority.port.is_none() && !authority.host.contains(['.', '[']);
    let text = text.to_ascii_lowercase();
    let is_meant = |server: Server| {
        server.host == authority.host
            && authority.has_port(server.port)
            && (server.has_scheme || !is_word)
    };
    if authority.wildcard {
        None
    } else if servers(&text).any(is_meant) {
        Some(Named::AsServer)
    } else {
        (!is_word && is_somewhere(&text, authority)).then_some(Named::Somewhere)
    }
}

/// A server in a text.
pub(super) struct Server<'a> {
    pub(super) host: &'a str,
    /// Where it is written, or its scheme is.
    port: Option<u16>,
    has_scheme: bool,
}

/// The servers of the URLs in a text, each with its port; and the one that it
/// begins with, as in `host:port/path`. A URL that is a part of another's path
/// or query is not one.
pub(super) fn servers(text: &str) -> impl Iterator<Item = Server<'_>> {
    let words = text.split(|c: char| c.is_whitespace() || ";,\"'".contains(c));
    words.filter_map(|word| {
        let (scheme, rest) = match word.split_once("://") {
            Some((before, rest)) => {
                let scheme = before.rsplit('=').next().unwrap_or(before);
                let is_scheme = !scheme.is_empty()
                    && scheme
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
                let is_first = !before.contains(['?', '#', '/', '&']);
                (is_scheme && is_first).then_some((Some(scheme), rest))?
            }
            None => (None, word),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        // The colons of an IPv6 address are in brackets.
        let after_host = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_host..].find(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_host + colon);
                (host, Some(port[1..].parse().ok()?))
            }
            None => (authority, None),
        };
        let port = port.or(match scheme {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        });
        (!host.is_empty()).then_some(Server {
            host,
            port,
            has_scheme: scheme.is_some(),
        })
    })
}

/// Whether the authority is in the text as a whole: not a part of a longer
/// host, and not another port of the same.
fn is_somewhere(text: &str, authority: &AuthorityPattern) -> bool {
    let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let mut places = text.match_indices(&authority.host);
    places.any(|(start, _)| {
        let before = text.as_bytes()[..start].last();
        let after = &text[start + authority.host.len()..];
        let port = after.strip_prefix(':').and_then(|after| {
            let end = after.find(|c: char| !c.is_ascii_digit());
            after[..end.unwrap_or(after.len())].parse().ok()
        });
        authority.has_port(port)
            && !before.is_some_and(|&b| is_host_byte(b))
            && !after.bytes().next().is_some_and(is_host_byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_named(text: &str, authority: &str) -> Option<Named> {
        named(text, &AuthorityPattern::parse(authority).unwrap())
    }

    #[test]
    fn a_server_is_named_in_every_form_that_people_give_it() {
        for (text, authority) in [
            ("10.0.0.4", "10.0.0.4"),
            ("10.0.0.4:8080", "10.0.0.4:8080"),
            ("127.0.0.1:10000/devstoreaccount1", "127.0.0.1:10000"),
            ("http://127.0.0.1:10000/devstoreaccount1", "127.0.0.1:10000"),
            ("https://Store.Example/x", "store.example"),
            ("https://store.example/x", "store.example:443"),
            ("http://store.example", "store.example:80"),
            ("https://me:pw@10.0.0.4/x?sig=1", "10.0.0.4"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://[fd00::1]", "[fd00::1]"),
            ("A=b;BlobEndpoint=http://10.1.1.1/acct;C=d", "10.1.1.1"),
            ("unix:///x tcp://10.0.0.9:2375", "10.0.0.9:2375"),
            ("http://azurite/devstoreaccount1", "azurite"),
            ("azurite:10000/devstoreaccount1", "azurite:10000"),
        ] {
            let found = is_named(text, authority);
            assert_eq!(found, Some(Named::AsServer), "{text} {authority}");
        }
    }

    #[test]
    fn what_is_only_a_part_of_an_address_is_named_somewhere_at_most() {
        for (text, authority, found) in [
            ("http://a.example/?at=10.0.0.4", "10.0.0.4", true),
            ("http://a.example/?at=http://10.0.0.4/", "10.0.0.4", true),
            ("http://a.example/http://10.0.0.4/", "10.0.0.4", true),
            ("see {10.0.0.4}", "10.0.0.4", true),
            ("http://10.0.0.4.example/", "10.0.0.4", false),
            ("http://110.0.0.4/", "10.0.0.4", false),
            ("http://10.0.0.4:8081/", "10.0.0.4", false),
            ("https://not-evil.com", "evil.com", false),
            ("redis", "redis", false),
            ("feature/redis;redis", "redis", false),
            ("https://evil.com.example", "evil.com", false),
        ] {
            let expected = found.then_some(Named::Somewhere);
            assert_eq!(is_named(text, authority), expected, "{text} {authority}");
        }
    }

    #[test]
    fn another_port_of_a_host_is_not_named() {
        for (authority, text, is) in [
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
            ("[::1]:80", "http://[::1]:8080/", false),
        ] {
            let found = is_named(text, authority).is_some();
            assert_eq!(found, is, "{authority} {text}");
        }
    }
}
