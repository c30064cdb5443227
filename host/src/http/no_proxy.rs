//! `NO_PROXY`: which servers are asked directly, as Go's programs understand it,
//! Docker and BuildKit among them.
//! <https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>

use std::net::IpAddr;

use ipnet::IpNet;

/// The servers that no proxy is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// `*`
    All,
    /// `10.0.0.0/8`, on every port.
    Network(IpNet),
    /// `10.0.0.1` or `[::1]:8080`
    Address(IpAddr, Option<u16>),
    /// `example.com`, which means its subdomains too, `.example.com` or
    /// `*.example.com`, which mean these alone; each perhaps with a port.
    Domain {
        /// With a dot before it.
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl NoProxy {
    /// Reads a list. An entry that means nothing is passed over, as in Go.
    pub(super) fn parse(list: &str) -> Self {
        let entries = list
            .split(',')
            .map(|entry| entry.trim().to_ascii_lowercase());
        Self(entries.filter_map(|entry| Entry::parse(&entry)).collect())
    }

    /// Whether this server is asked directly. The host is in lower case, an
    /// IPv6 address without brackets.
    pub(super) fn contains(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let fits = |given: &Option<u16>| given.is_none_or(|given| given == port);
        self.0.iter().any(|entry| match entry {
            Entry::All => true,
            Entry::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Entry::Address(one, port) => address == Some(*one) && fits(port),
            Entry::Domain {
                suffix,
                itself,
                port,
            } => (host.ends_with(suffix) || *itself && host == &suffix[1..]) && fits(port),
        })
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = entry.parse() {
            return Some(Self::Network(network));
        }
        let (host, port) = split_port(entry);
        let address = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = address.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let host = match host.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') => rest,
            _ => host,
        };
        match host.strip_prefix('.') {
            _ if host.trim_matches('.').is_empty() => None,
            Some(_) => Some(Self::Domain {
                suffix: host.to_owned(),
                itself: false,
                port,
            }),
            None => Some(Self::Domain {
                suffix: format!(".{host}"),
                itself: true,
                port,
            }),
        }
    }
}

/// The host and the port, where there is one. The colons of an IPv6 address
/// without brackets are not a port's.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_means_what_it_means_in_go() {
        for (list, host, port, is_direct) in [
            ("", "a.example", 443, false),
            ("*", "a.example", 443, true),
            ("x.example,*", "a.example", 443, true),
            ("*", "10.0.0.1", 80, true),
            ("a.example", "a.example", 443, true),
            ("A.Example", "a.example", 443, true),
            ("a.example", "b.a.example", 443, true),
            ("a.example", "ba.example", 443, false),
            ("a.example", "a.example.evil", 443, false),
            (".a.example", "b.a.example", 443, true),
            (".a.example", "a.example", 443, false),
            ("*.a.example", "b.a.example", 443, true),
            ("*.a.example", "a.example", 443, false),
            ("*a.example", "ba.example", 443, false),
            ("a.example:8443", "a.example", 8443, true),
            ("a.example:8443", "b.a.example", 8443, true),
            ("a.example:8443", "a.example", 443, false),
            (".a.example:443", "b.a.example", 443, true),
            ("x, a.example ,y", "a.example", 443, true),
            ("a.example b.example", "b.example", 443, false),
            ("com", "a.com", 443, true),
            ("10.0.0.1", "10.0.0.1", 443, true),
            ("10.0.0.1", "10.0.0.11", 443, false),
            ("10.0.0.1:80", "10.0.0.1", 80, true),
            ("10.0.0.1:80", "10.0.0.1", 443, false),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("10.0.0.0/8", "a.example", 443, false),
            ("10.0.0.0/33", "10.0.0.0", 443, false),
            ("fd00::/8", "fd12::1", 443, true),
            ("fd00::1", "fd00::1", 443, true),
            ("[fd00::1]", "fd00::1", 443, true),
            ("[fd00::1]:8080", "fd00::1", 8080, true),
            ("[fd00::1]:8080", "fd00::1", 443, false),
            ("::ffff:10.0.0.1", "10.0.0.1", 443, true),
            (".", "a.example", 443, false),
            (":443", "a.example", 443, false),
            (",,", "a.example", 443, false),
        ] {
            let address = host.parse().ok();
            let found = NoProxy::parse(list).contains(host, address, port);
            assert_eq!(found, is_direct, "`{list}` {host}:{port}");
        }
    }
}
