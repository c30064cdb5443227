//! Link-local addresses, where clouds keep the services that hand out a
//! machine's identity: to reach one takes more than that its address stands
//! somewhere in what the user gave.

use std::net::IpAddr;

use crate::{Authorities, Description, Variables};

/// The first link-local authority that is asked for and not granted.
///
/// One is granted where the description names it literally, where a variable
/// is a URL of exactly this authority (some clouds give their containers the
/// identity's endpoint so), or where the host's own policy lists it.
pub(crate) fn denied<'a>(
    asked: &'a [String],
    policy: &Authorities,
    description: &Description,
    variables: &Variables,
) -> Option<&'a str> {
    if matches!(policy, Authorities::Only(_)) {
        return None;
    }
    let is_granted = |authority: &str| {
        !is_link_local(authority)
            || description.authorities.iter().any(|a| a == authority)
            || variables
                .iter()
                .any(|(_, value)| is_url_of(value, authority))
    };
    asked.iter().map(String::as_str).find(|a| !is_granted(a))
}

fn is_link_local(authority: &str) -> bool {
    // As the client reads it: `0xa9fea9fe` is an address as well.
    let url = reqwest::Url::parse(&format!("http://{authority}/")).ok();
    let host = url.as_ref().and_then(|url| url.host_str());
    let ip: Option<IpAddr> = host.and_then(|host| host.trim_matches(['[', ']']).parse().ok());
    match ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => ip.is_link_local(),
        Some(IpAddr::V6(ip)) => ip.is_unicast_link_local(),
        None => false,
    }
}

fn is_url_of(value: &str, authority: &str) -> bool {
    let Ok(value) = reqwest::Url::parse(value) else {
        return false;
    };
    let asked = reqwest::Url::parse(&format!("{}://{authority}/", value.scheme()));
    asked.is_ok_and(|asked| {
        asked.has_host()
            && asked.host_str() == value.host_str()
            && asked.port_or_known_default() == value.port_or_known_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_denied(asked: &str, described: &[&str], variables: &[&str]) -> bool {
        let description = Description {
            authorities: described.iter().map(ToString::to_string).collect(),
            ..Description::default()
        };
        let asked = [asked.to_owned()];
        let variables = variables
            .iter()
            .map(|value| (value.to_string(), value.to_string()));
        let variables = Variables::from_iter(variables);
        denied(&asked, &Authorities::AsAsked, &description, &variables).is_some()
    }

    #[test]
    fn an_address_that_the_description_names_literally_is_granted() {
        assert!(!is_denied("169.254.169.254", &["169.254.169.254"], &[]));
        assert!(is_denied("169.254.169.254", &["*.254.169.254"], &[]));
        assert!(is_denied("169.254.169.254:8080", &["169.254.169.254"], &[]));
    }

    #[test]
    fn a_variable_grants_it_only_as_a_url_of_its_own() {
        let asked = "169.254.129.3:8081";
        assert!(!is_denied(asked, &[], &["http://169.254.129.3:8081/token"]));
        for other in [
            "169.254.129.3:8081",
            "http://169.254.129.3/token",
            "http://a.example/?at=169.254.129.3:8081",
            "http://169.254.129.3:8081.example/",
        ] {
            assert!(is_denied(asked, &[], &[other]), "{other}");
        }
    }

    #[test]
    fn every_way_to_write_such_an_address_is_seen() {
        for asked in [
            "0xa9fea9fe",
            "2852039166",
            "[fe80::1]",
            "[::ffff:169.254.1.2]:80",
        ] {
            assert!(is_denied(asked, &[], &[]), "{asked}");
        }
        for asked in [
            "169.253.1.1",
            "127.0.0.1:10000",
            "acct.example.net",
            "[::1]",
        ] {
            assert!(!is_denied(asked, &[], &[]), "{asked}");
        }
    }
}
