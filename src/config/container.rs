//! The name of a container, by Azure's rules:
//! <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>

/// A container's name: 3 to 63 lowercase letters, digits and single hyphens,
/// a letter or digit at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerName(String);

impl ContainerName {
    /// Reads a name, or says which rule it breaks.
    pub(crate) fn parse(name: &str) -> Result<Self, &'static str> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = name.as_bytes();
        if !(3..=63).contains(&bytes.len()) {
            return Err("not a container name, which has 3 to 63 characters");
        }
        if !bytes.iter().all(|&b| plain(b) || b == b'-') {
            return Err("not a container name, which has lowercase letters, digits and `-` only");
        }
        if !name.split('-').all(|part| !part.is_empty()) {
            return Err(
                "not a container name, in which every `-` has a letter or digit on both sides",
            );
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ContainerName {
    /// BuildKit's own.
    fn default() -> Self {
        Self("buildkit-cache".to_owned())
    }
}
