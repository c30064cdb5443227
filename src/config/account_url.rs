//! The address of a storage account, in every form that people give it.

use std::net::Ipv4Addr;

use crate::secret::unquoted;

/// Where a storage account's Blob service is.
///
/// Azure's own form is `https://ACCOUNT.blob.core.windows.net`; an emulator
/// has the account in the path, `http://127.0.0.1:10000/devstoreaccount1`; a
/// custom domain shows no account at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountUrl {
    /// Whether requests go over TLS.
    pub(crate) https: bool,
    /// `host` or `host:port`, in lower case, without the scheme's own port.
    pub(crate) authority: String,
    /// What precedes the container: empty, or `/` and segments, encoded
    /// as on the wire, without a closing `/`.
    pub(crate) path: String,
}

impl AccountUrl {
    /// Reads an address. Without a scheme it means https. The reason of a
    /// failure does not repeat the address, which may hold a secret.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = unquoted(text);
        if text.is_empty() {
            return Err("empty: give an address such as https://ACCOUNT.blob.core.windows.net");
        }
        if text.contains(['?', '#']) {
            return Err(
                "it must end with the path: leave out what follows `?` or `#`, unless it is a SAS token",
            );
        }
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if rest.starts_with("//") => (scheme, &rest[2..]),
            _ => ("https", text),
        };
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it must begin with https:// or http://"),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("it must not hold a user or password");
        }
        let path = path.trim_end_matches('/');
        if !path.bytes().all(is_in_path) {
            return Err("its path has characters that must be percent-encoded");
        }
        if path.split('/').any(is_step) {
            return Err("its path has a step such as `..`, which clients remove: leave it out");
        }
        Ok(Self {
            https,
            authority: parse_authority(authority, if https { 443 } else { 80 })?,
            path: path.to_owned(),
        })
    }

    /// The host, without the port; an IPv6 address in its brackets.
    pub(crate) fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// Whether it is an address rather than a name.
    pub(super) fn is_address(&self) -> bool {
        let host = self.host();
        host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
    }
}

/// The host of `host` or `host:port`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    }
}

/// Whether what is sent to this `host` or `host:port` stays on this machine:
/// `localhost` or a loopback address. Other names may lead anywhere.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    // The parser of IPv6 addresses is not worth its size for one of them.
    let address: Option<Ipv4Addr> = host.parse().ok();
    ["localhost", "[::1]"].contains(&host) || address.is_some_and(|address| address.is_loopback())
}

const NO_PORT: &str = "its port is not a number from 1 to 65535";

/// A host and perhaps a port, without the port that the scheme has anyway.
fn parse_authority(text: &str, own_port: u16) -> Result<String, &'static str> {
    // The colons of an IPv6 address stand in brackets.
    let after_host = text.rfind(']').unwrap_or(0);
    let (host, port) = match text[after_host..].find(':') {
        Some(colon) => {
            let (host, port) = text.split_at(after_host + colon);
            (host, Some(&port[1..]))
        }
        None => (text, None),
    };
    let host = host.to_ascii_lowercase();
    let is_host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => {
            !address.is_empty()
                && address
                    .bytes()
                    .all(|b| b.is_ascii_hexdigit() || b":.".contains(&b))
        }
        None => {
            !host.is_empty()
                && host
                    .split('.')
                    .rev()
                    .skip_while(|label| label.is_empty())
                    .all(is_label)
        }
    };
    if !is_host {
        return Err(
            "it does not name a host: give an address such as https://ACCOUNT.blob.core.windows.net",
        );
    }
    if ends_in_a_number(&host) && host.parse::<Ipv4Addr>().is_err() {
        return Err("its host is a number, but not an address of the form 192.0.2.1");
    }
    match port {
        None => Ok(host),
        // As a number: clients take `0443` for 443.
        Some(port) => match port.parse::<u16>() {
            _ if !port.bytes().all(|b| b.is_ascii_digit()) => Err(NO_PORT),
            Ok(port) if port == own_port => Ok(host),
            Ok(port @ 1..) => Ok(format!("{host}:{port}")),
            _ => Err(NO_PORT),
        },
    }
}

/// Whether the text can stand between the dots of a host's name.
fn is_label(label: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !label.is_empty() && label.bytes().all(is_plain)
}

/// Whether clients take the host for an IPv4 address, which to them may have
/// fewer parts and be octal or hexadecimal: `0x7f.1` is 127.0.0.1.
/// <https://url.spec.whatwg.org/#ends-in-a-number-checker>
fn ends_in_a_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    last.bytes().all(|b| b.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a segment of a path is not a name but a step: to here, or up.
fn is_step(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase().replace("%2e", ".");
    segment == "." || segment == ".."
}

/// Whether a path may hold the character as it is (RFC 3986, section 3.3).
fn is_in_path(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&b)
}
