//! Repositories, tags and digests as they are in a request's path: checked once
//! here, right everywhere else.

use std::fmt;

use build_cache_host::Digest;
use oci_spec::distribution::Reference as OciReference;

/// The longest repository name, in bytes. The specification leaves 255 to the
/// name together with the registry's host.
const MAX_REPOSITORY_BYTES: usize = 255;

/// A registry's name for the sake of parsing. It never leaves this file.
const ANY_REGISTRY: &str = "gateway.invalid";

/// The name of a repository, such as `team/app`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

/// A tag, such as `main`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// Its tag.
    Tag(Tag),
    /// Its digest.
    Digest(Digest),
}

impl Repository {
    /// Checks a name by the rules of the distribution specification: lower-case
    /// letters and digits, with `.`, `_`, `__` or `-` between them, in parts
    /// with `/` between them.
    pub fn parse(name: &str) -> Option<Self> {
        if name.len() > MAX_REPOSITORY_BYTES || !name.is_ascii() || name.contains([':', '@']) {
            return None;
        }
        let parsed: OciReference = format!("{ANY_REGISTRY}/{name}:tag").parse().ok()?;
        (parsed.registry() == ANY_REGISTRY && parsed.repository() == name)
            .then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// Checks a tag: up to 128 letters, digits, `.`, `_` and `-`, of which the
    /// first is a letter, a digit or `_`.
    pub fn parse(tag: &str) -> Option<Self> {
        // What a crate takes for a letter may be one of any script.
        if !tag.is_ascii() || tag.contains(['@', '/', ':']) {
            return None;
        }
        let parsed: OciReference = format!("{ANY_REGISTRY}/r:{tag}").parse().ok()?;
        (parsed.tag() == Some(tag)).then(|| Self(tag.to_owned()))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reference {
    /// A digest where it looks like one, else a tag.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(':') {
            text.parse().ok().map(Self::Digest)
        } else {
            Tag::parse(text).map(Self::Tag)
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_what_the_specification_allows() {
        for name in ["app", "cache/app", "a.b/c_d/e__f/g-h", "0", "a--b"] {
            assert_eq!(
                Repository::parse(name).map(|name| name.0).as_deref(),
                Some(name)
            );
        }
        let long = "a".repeat(MAX_REPOSITORY_BYTES + 1);
        let wrong = [
            "", "/", "a/", "/a", "a//b", "App", "a..b", "../a", "a:b", "a@b", "a b", "-a", &long,
        ];
        for name in wrong {
            assert_eq!(Repository::parse(name), None, "`{name}`");
        }
    }

    #[test]
    fn tags_are_what_the_specification_allows() {
        let longest = "a".repeat(128);
        for tag in ["main", "v1.2", "_x", "Feature_.2FX", "0", &longest] {
            assert_eq!(Tag::parse(tag).map(|tag| tag.0).as_deref(), Some(tag));
        }
        let long = "a".repeat(129);
        for tag in ["", ".", "..", "-a", "a/b", "a:b", "a b", "a@b", "é", &long] {
            assert_eq!(Tag::parse(tag), None, "`{tag}`");
        }
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest() {
        let digest = Digest::of(b"");
        assert_eq!(
            Reference::parse(&digest.to_string()),
            Some(Reference::Digest(digest))
        );
        assert!(matches!(
            Reference::parse("sha256"),
            Some(Reference::Tag(_))
        ));
        assert_eq!(Reference::parse("sha512:00"), None);
        assert_eq!(Reference::parse("sha256:xyz"), None);
    }
}
