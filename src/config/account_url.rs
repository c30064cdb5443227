//! The address of a storage account, in every form that people give it.

use http::Uri;

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
    /// What stands before the container: empty, or `/` and segments, encoded
    /// as on the wire, without a closing `/`.
    pub(crate) path: String,
}

impl AccountUrl {
    /// Reads an address. Without a scheme it means https. The reason of a
    /// failure does not repeat the address, which may hold a secret.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "is not a URL such as https://ACCOUNT.blob.core.windows.net";
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty: give an address such as https://ACCOUNT.blob.core.windows.net");
        }
        if text.contains(['?', '#']) {
            return Err("must end with the path: leave out what follows `?` or `#`");
        }
        let uri: Uri = match text.contains("://") {
            true => text.parse(),
            false => format!("https://{text}").parse(),
        }
        .map_err(|_| FORM)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("must begin with https:// or http://"),
        };
        let authority = uri.authority().ok_or(FORM)?;
        if authority.as_str().contains('@') {
            return Err("must not hold a user or password");
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() || host.starts_with('.') {
            return Err("names no host");
        }
        if authority.as_str().ends_with(':') {
            return Err("has a `:` without a port after it");
        }
        let own_port = if https { 443 } else { 80 };
        Ok(Self {
            https,
            authority: match authority.port_u16() {
                Some(port) if port != own_port => format!("{host}:{port}"),
                Some(_) => host,
                None if authority.as_str().len() == host.len() => host,
                None => return Err("has a port that is no number up to 65535"),
            },
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The account's name as far as the address tells it: the host's first
    /// label as in BuildKit, or else, where the account stands in the path,
    /// the path's first segment. `-secondary` belongs to the endpoint, not to
    /// the account.
    pub(crate) fn account(&self) -> Option<String> {
        let (host, _) = self
            .authority
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'))
            .unwrap_or((&self.authority, ""));
        let in_path = self.path.split('/').nth(1).filter(|name| !name.is_empty());
        let (first, rest) = host.split_once('.').unwrap_or((host, ""));
        let is_address =
            host.starts_with('[') || host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let name = match in_path {
            Some(name) if !rest.split('.').any(|label| label == "blob") => name,
            _ if is_address => return None,
            _ => first,
        };
        let name = name.strip_suffix("-secondary").unwrap_or(name);
        (!name.is_empty()).then(|| name.to_owned())
    }
}
