//! The content digests that name layers.

use std::fmt;
use std::str::FromStr;

/// A SHA-256 content digest: `sha256:` and 64 lowercase hex digits.
///
/// BuildKit's caches use no other algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

/// The text is not a SHA-256 digest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotADigest;

impl Digest {
    /// The digest of no bytes at all, the only one that goes with size 0.
    pub(crate) const OF_NOTHING: Digest = Digest([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);

    /// What stands for the blob of the layer at this index, where the layer
    /// names none: the digest of nothing that there is.
    pub(crate) fn placeholder(index: usize) -> Self {
        let mut bytes = [0xff; 32];
        bytes[24..].copy_from_slice(&(index as u64).to_be_bytes());
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text.strip_prefix("sha256:").ok_or(NotADigest)?.as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 2 * bytes.len() {
            return Err(NotADigest);
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

/// The value of one lowercase hex digit.
fn nibble(digit: u8) -> Result<u8, NotADigest> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(NotADigest),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_prints_as_it_was_read() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest, Digest::OF_NOTHING);
    }

    #[test]
    fn other_texts_are_no_digests() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85";
        for text in [
            String::new(),
            "sha256:".to_owned(),
            format!("sha256:{hex}"),
            format!("sha256:{hex}5a"),
            format!("sha256:{hex}G"),
            format!("sha256:{}", format!("{hex}5").to_uppercase()),
            format!("sha512:{hex}5"),
            format!("sha256:{}é", &hex[1..]),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(NotADigest), "{text}");
        }
    }
}
