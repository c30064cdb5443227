//! Looking up names that only a plugin named: what leads to this machine, to a
//! private network or to a cloud's internal services is nobody's public store,
//! and servers there trust everybody who reaches them.
//!
//! The check is made on the addresses that are then connected to, so a name
//! that leads elsewhere a moment later is of no use. It is made for requests that
//! are sent directly; behind a proxy, the proxy looks names up.

use std::io;
use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::places::Place;

/// Looks names up as the system does, and refuses those that lead to addresses
/// that are not public.
pub(super) struct PublicOnly;

/// A name leads to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error(
    "{host} leads to {address}, which is {place}; a name that only the plugin knows may lead to \
     public addresses alone, unless the user grants it"
)]
pub(super) struct NotPublic {
    host: String,
    address: IpAddr,
    place: Place,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            check(&host, &found)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn check(host: &str, found: &[SocketAddr]) -> io::Result<()> {
    let addresses = found.iter().map(SocketAddr::ip);
    let mut places = addresses.map(|address| (address, Place::of(address)));
    match places.find(|(_, place)| *place != Place::Public) {
        None => Ok(()),
        Some((address, place)) => Err(io::Error::other(NotPublic {
            host: host.to_owned(),
            address,
            place,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_to_no_public_address_is_refused_whatever_else_it_leads_to() {
        let addresses = |all: &[&str]| -> Vec<SocketAddr> {
            let parsed = all.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0));
            parsed.collect()
        };
        for address in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "fe80::1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "168.63.129.16",
            "fc00::1",
            "fd00:ec2::254",
            "64:ff9b::10.0.0.1",
        ] {
            let found = addresses(&["192.0.2.1", address]);
            let error = check("a.example", &found).expect_err(address).to_string();
            assert!(error.contains("a.example"), "{error}");
        }
        assert!(check("a.example", &addresses(&["192.0.2.1", "2001:db8::1"])).is_ok());
    }

    #[tokio::test]
    async fn localhost_is_refused() {
        let name = "localhost".parse().expect("a name");
        let error = PublicOnly.resolve(name).await.err().expect("refused");
        assert!(error.to_string().contains("localhost leads to"), "{error}");
    }
}
