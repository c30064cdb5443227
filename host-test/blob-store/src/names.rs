//! The names that the service allows, parsed once at the edge.
//!
//! Rules: <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>.

use std::fmt;

use http::StatusCode;
use percent_encoding::percent_decode_str;

use crate::refusal::Refusal;

/// The longest blob name, in characters.
const MAX_KEY_CHARACTERS: usize = 1024;

/// A container's name that keeps the service's rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ContainerName(String);

impl ContainerName {
    /// 3 to 63 lower-case letters, digits and single hyphens, a letter or digit at both ends; or
    /// one of the service's own containers.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        if matches!(name, "$root" | "$web" | "$logs") {
            return Ok(Self(name.to_owned()));
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.chars().all(allowed)
            || name.starts_with('-')
            || name.ends_with('-')
            || name.contains("--")
        {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "InvalidResourceName",
                "A container's name has lower-case letters, digits and single hyphens between them.",
            ));
        }
        if !(3..=63).contains(&name.len()) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "OutOfRangeInput",
                "A container's name has 3 to 63 characters.",
            ));
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A blob's name, decoded: `blobs%2Fsha256:…` and `blobs/sha256:…` are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlobKey(String);

impl BlobKey {
    /// From the part of the path behind the container, as it came over the wire.
    pub fn from_wire(encoded: &str) -> Result<Self, Refusal> {
        let key = percent_decode_str(encoded).decode_utf8().map_err(|_| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "InvalidUri",
                "The blob's name is not UTF-8 once it is decoded.",
            )
        })?;
        Self::parse(&key)
    }

    /// From a name that needs no decoding.
    pub fn parse(key: &str) -> Result<Self, Refusal> {
        if key.is_empty() || key.chars().count() > MAX_KEY_CHARACTERS {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "OutOfRangeInput",
                "A blob's name has 1 to 1,024 characters.",
            ));
        }
        Ok(Self(key.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this is an account name: 3 to 24 lower-case letters and digits.
pub(crate) fn is_account_name(name: &str) -> bool {
    (3..=24).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_name_keeps_the_rules() {
        for good in ["abc", "buildkit-cache", "0a0", &"a".repeat(63), "$root"] {
            assert!(ContainerName::parse(good).is_ok(), "{good}");
        }
        for (bad, code) in [
            ("Abc", "InvalidResourceName"),
            ("a_b", "InvalidResourceName"),
            ("-ab", "InvalidResourceName"),
            ("ab-", "InvalidResourceName"),
            ("a--b", "InvalidResourceName"),
            ("a%2Fb", "InvalidResourceName"),
            ("ab", "OutOfRangeInput"),
            (&"a".repeat(64), "OutOfRangeInput"),
        ] {
            assert_eq!(ContainerName::parse(bad).unwrap_err().code, code, "{bad}");
        }
    }

    #[test]
    fn a_key_is_the_same_in_both_forms_on_the_wire() {
        assert_eq!(
            BlobKey::from_wire("blobs%2Fsha256:ab"),
            BlobKey::from_wire("blobs/sha256%3aab")
        );
    }

    #[test]
    fn a_key_that_is_not_utf8_is_refused() {
        assert_eq!(BlobKey::from_wire("a%FFb").unwrap_err().code, "InvalidUri");
    }

    #[test]
    fn a_key_is_counted_in_characters() {
        assert!(BlobKey::parse(&"ü".repeat(1024)).is_ok());
        assert!(BlobKey::parse(&"ü".repeat(1025)).is_err());
    }
}
