//! Where a cache's blobs are: BuildKit's keys, made by Go's rules.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::digest::Digest;

/// The most characters that a blob's name may have.
/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
const MAX_KEY_CHARACTERS: usize = 1024;

/// What Go's `url.PathEscape` escapes: all but these. BuildKit's SDK escapes
/// a whole key with it, its slashes too.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A blob's name within its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobKey(String);

impl BlobKey {
    /// The name as one segment of a URL's path.
    pub(crate) fn on_the_wire(&self) -> String {
        utf8_percent_encode(&self.0, SEGMENT).to_string()
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn new(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// Where layers and manifests are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    prefix: String,
    blobs: String,
    manifests: String,
}

impl Layout {
    /// A layout of three prefixes, each of which may be empty.
    pub(crate) fn new(prefix: &str, blobs: &str, manifests: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            blobs: blobs.to_owned(),
            manifests: manifests.to_owned(),
        }
    }

    /// The key of a layer.
    pub(crate) fn blob(&self, digest: Digest) -> BlobKey {
        BlobKey(join(&[&self.prefix, &self.blobs, &digest.to_string()]))
    }

    /// The key of a manifest.
    pub(crate) fn manifest(&self, name: &str) -> BlobKey {
        BlobKey(join(&[&self.prefix, &self.manifests, name]))
    }

    /// The key of a probe: neither a layer's nor, with the usual prefixes, a
    /// manifest's.
    pub(crate) fn probe(&self, random: u64) -> BlobKey {
        let name = format!("build-cache-probe-{random:016x}");
        BlobKey(join(&[&self.prefix, &name]))
    }

    /// What the keys of all layers begin with: the digests follow.
    pub(crate) fn blobs_begin_with(&self) -> String {
        listing_prefix(&[&self.prefix, &self.blobs])
    }

    /// What the keys of all manifests begin with: the names follow.
    pub(crate) fn manifests_begin_with(&self) -> String {
        listing_prefix(&[&self.prefix, &self.manifests])
    }

    /// Whether the keys can be in a container, else the attribute to change
    /// and why.
    pub(crate) fn check(&self, names: &[String]) -> Result<(), (&'static str, String)> {
        check_key(&self.blob(Digest::OF_NOTHING))
            .map_err(|why| ("blobs_prefix", format!("with it, the keys of layers {why}")))?;
        for name in names {
            check_key(&self.manifest(name))
                .map_err(|why| ("name", format!("the key of `{name}` {why}")))?;
        }
        Ok(())
    }
}

/// Whether Azure, and every proxy on the way, takes the key as it is.
fn check_key(BlobKey(key): &BlobKey) -> Result<(), &'static str> {
    if key == "." || key == ".." || key.starts_with("../") || key == "/" {
        return Err("would lie outside of the container");
    }
    if key.chars().any(char::is_control) {
        return Err("would hold a control character");
    }
    if key.chars().count() > MAX_KEY_CHARACTERS {
        return Err("would be longer than the 1,024 characters that Azure allows");
    }
    Ok(())
}

/// The joined parts and a closing `/`, or nothing for the container's root.
fn listing_prefix(parts: &[&str]) -> String {
    match join(parts).as_str() {
        "" | "." => String::new(),
        "/" => "/".to_owned(),
        joined => format!("{joined}/"),
    }
}

/// Go's `filepath.Join` on Unix, which BuildKit makes its keys with: leading
/// empty parts are dropped, the rest is joined and cleaned.
fn join(parts: &[&str]) -> String {
    match parts.iter().position(|part| !part.is_empty()) {
        Some(first) => clean(&parts[first..].join("/")),
        None => String::new(),
    }
}

/// Go's `path.Clean`: no empty, `.` or inner `..` elements, no closing `/`;
/// what leads above a root stays at the root.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut elements: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => match elements.last() {
                Some(&last) if last != ".." => {
                    elements.pop();
                }
                _ if rooted => {}
                _ => elements.push(".."),
            },
            name => elements.push(name),
        }
    }
    let joined = elements.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_as_go_joins_them() {
        // What Go's filepath.Join gives.
        let cases: &[(&[&str], &str)] = &[
            (&[], ""),
            (&["", ""], ""),
            (&["", "manifests", "buildkit"], "manifests/buildkit"),
            (&["p", "", "x"], "p/x"),
            (&["p/", "/manifests/", "x"], "p/manifests/x"),
            (&["a//b", "./c", "x"], "a/b/c/x"),
            (&["a", "../b", "x"], "b/x"),
            (&["..", "b"], "../b"),
            (&["/a", "../..", "b"], "/b"),
            (&["a", ".."], "."),
            (&["/"], "/"),
            (&["a/b/..", "c/"], "a/c"),
        ];
        for (parts, joined) in cases {
            assert_eq!(join(parts), *joined, "{parts:?}");
        }
    }

    #[test]
    fn a_key_is_escaped_as_one_segment_the_way_gos_path_escape_does() {
        for (key, wire) in [
            ("blobs/sha256:0e", "blobs%2Fsha256:0e"),
            ("a b", "a%20b"),
            ("é/%", "%C3%A9%2F%25"),
            ("a-._~$&+=:@", "a-._~$&+=:@"),
            ("!*'();,?#[]", "%21%2A%27%28%29%3B%2C%3F%23%5B%5D"),
        ] {
            assert_eq!(BlobKey::new(key).on_the_wire(), wire);
        }
    }

    #[test]
    fn prefixes_may_be_empty() {
        let layout = Layout::new("", "", "");
        assert_eq!(layout.manifest("n").as_str(), "n");
        assert_eq!(layout.manifests_begin_with(), "");
        let layout = Layout::new("/team", "", "m/");
        assert_eq!(layout.blobs_begin_with(), "/team/");
        assert_eq!(layout.manifests_begin_with(), "/team/m/");
        let digest = Digest::OF_NOTHING;
        assert_eq!(layout.blob(digest).as_str(), format!("/team/{digest}"));
    }
}
