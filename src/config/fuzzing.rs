//! What a user, or whoever wrote the build's script, may give.

use percent_encoding::percent_decode_str;

use super::attributes::ATTRIBUTES;
use super::{AccountUrl, Config, Place};
use crate::digest::Digest;
use crate::fuzzing::SECRET;

/// Attributes, one `name=value` a line, and after an empty line variables: a
/// configuration that is accepted reaches the store that it names and writes
/// only keys that a container can hold, and no error shows a secret.
pub fn attributes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (attributes, variables) = text.split_once("\n\n").unwrap_or((text, ""));
    let shows_anyway = |(name, value): &(String, String)| {
        let is_secret = ATTRIBUTES
            .iter()
            .any(|known| known.name == name && known.secret);
        name.contains(SECRET) || (value.contains(SECRET) && !is_secret)
    };
    let (attributes, variables) = (pairs(attributes), pairs(variables));
    let may_show = attributes.iter().any(shows_anyway) || !variables.is_empty();
    let config = match Config::parse(attributes, variables) {
        Ok(config) => config,
        Err(error) => {
            let message = error.to_string();
            assert!(may_show || !message.contains(SECRET), "{message}");
            return;
        }
    };
    assert_is_contacted(&config.account_url);
    assert!((3..=63).contains(&config.container.as_str().len()));
    assert!(!config.names.is_empty());
    let blob = config.layout.blob(Digest::OF_NOTHING);
    assert!(blob.as_str().starts_with(&config.layout.blobs_begin_with()));
    let manifests = config.names.iter().map(|name| config.layout.manifest(name));
    for key in manifests.chain([blob]) {
        let wire = key.on_the_wire();
        assert!(
            !wire.contains(['/', '\\', '?', '#', ' ']) && wire.is_ascii(),
            "{wire}"
        );
        assert!(wire != "." && wire != "..");
        assert_eq!(
            percent_decode_str(&wire).decode_utf8().as_deref(),
            Ok(key.as_str())
        );
    }
    let tuning = &config.tuning;
    assert!((1..=256).contains(&tuning.parallelism) && tuning.block_size >= 65536);
    assert!((1..=86400).contains(&tuning.stall_timeout.as_secs()) && tuning.max_retries <= 100);
}

fn pairs(lines: &str) -> Vec<(String, String)> {
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// An address: what is accepted is what is contacted, and prints as what it
/// was read from.
pub fn account_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(url) = AccountUrl::parse(text) {
        assert_is_contacted(&url);
        assert_eq!(AccountUrl::parse(&printed(&url)).as_ref(), Ok(&url));
        if let Ok(place) = Place::find(url, &[]) {
            assert_is_contacted(&place.url);
            assert!(place.account.is_none_or(|account| !account.is_empty()));
        }
    }
}

fn printed(url: &AccountUrl) -> String {
    let scheme = if url.https { "https" } else { "http" };
    format!("{scheme}://{}{}", url.authority, url.path)
}

/// The host's HTTP client reads URLs as browsers do, which know many ways to
/// write an address. What we say and what it understands must be the same, or
/// it must refuse.
pub(crate) fn assert_is_contacted(ours: &AccountUrl) {
    let Ok(theirs) = url::Url::parse(&format!("{}/container", printed(ours))) else {
        return;
    };
    let host = match theirs.host() {
        // As an address: there are several ways to write the same.
        Some(url::Host::Ipv6(host)) => {
            let address = ours
                .authority
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'));
            assert_eq!(address.map(|(address, _)| address.parse()), Some(Ok(host)));
            None
        }
        host => host.map(|host| host.to_string()),
    };
    if let Some(host) = host {
        let port = theirs.port().map(|port| format!(":{port}"));
        assert_eq!(ours.authority, host + &port.unwrap_or_default());
    }
    assert_eq!(theirs.path(), format!("{}/container", ours.path));
    assert_eq!(
        (theirs.scheme() == "https", theirs.username()),
        (ours.https, "")
    );
}
