//! Looking up names that only a plugin named: what leads to this machine, or
//! to the link that it hangs on, is no store of anybody, and servers there
//! trust whoever reaches them.
//!
//! The check is made on the addresses that are then connected to, so a name
//! that leads elsewhere a moment later is of no use. Where a proxy is used, the
//! proxy looks names up, and what it lets through is its own affair.

use std::io;
use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::reach::is_this_machine;

/// Looks names up as the system does, and refuses those of this machine.
pub(super) struct ElsewhereOnly {
    /// The proxies that the environment names, which may well be here.
    proxies: Vec<String>,
}

/// A name leads to this machine, or to the link that it hangs on.
#[derive(Debug, thiserror::Error)]
#[error("{host} leads to {address}, which is no address for a name that only the plugin knows")]
pub(super) struct LeadsHere {
    host: String,
    address: IpAddr,
}

impl ElsewhereOnly {
    pub(super) fn new() -> Self {
        let variables = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
        let variables = variables.map(|name| [name.to_owned(), name.to_ascii_lowercase()]);
        let values = variables
            .iter()
            .flatten()
            .filter_map(|name| std::env::var(name).ok());
        Self {
            proxies: values.filter_map(|value| proxy_host(&value)).collect(),
        }
    }
}

impl Resolve for ElsewhereOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let is_proxy = self.proxies.contains(&host);
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            if !is_proxy {
                check(&host, &found)?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn check(host: &str, found: &[SocketAddr]) -> io::Result<()> {
    let is_here = |address: &IpAddr| match address.to_canonical() {
        address if is_this_machine(address) => true,
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let mut addresses = found.iter().map(SocketAddr::ip);
    addresses.find(is_here).map_or(Ok(()), |address| {
        Err(io::Error::other(LeadsHere {
            host: host.to_owned(),
            address,
        }))
    })
}

/// The host of a proxy, which may be given without its scheme.
fn proxy_host(value: &str) -> Option<String> {
    let url = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    let url = reqwest::Url::parse(&url).ok()?;
    url.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_here_is_refused_whatever_else_it_leads_to() {
        let addresses = |all: &[&str]| -> Vec<SocketAddr> {
            let parsed = all.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0));
            parsed.collect()
        };
        for here in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "fe80::1",
        ] {
            let found = addresses(&["192.0.2.1", here]);
            let error = check("a.example", &found).expect_err(here).to_string();
            assert!(error.contains("a.example"), "{error}");
        }
        // A private network is where a store of one's own may well be.
        let elsewhere = addresses(&["192.0.2.1", "10.0.0.1", "2001:db8::1"]);
        assert!(check("a.example", &elsewhere).is_ok());
    }

    #[tokio::test]
    async fn localhost_is_refused() {
        let name = "localhost".parse().expect("a name");
        let resolver = ElsewhereOnly { proxies: vec![] };
        let error = resolver.resolve(name).await.err().expect("refused");
        assert!(error.to_string().contains("localhost leads to"), "{error}");

        let name = "localhost".parse().expect("a name");
        let proxies = vec!["localhost".to_owned()];
        let found = ElsewhereOnly { proxies }.resolve(name).await;
        assert!(found.expect("a proxy may be here").count() > 0);
    }

    #[test]
    fn a_proxy_is_known_by_its_host() {
        for value in ["http://user:pw@proxy.example:3128/", "proxy.example:3128"] {
            assert_eq!(proxy_host(value).as_deref(), Some("proxy.example"));
        }
    }
}
