//! What the service tells of a blob beside its bytes: its size, its version,
//! and whether its bytes can be had at all. That a HEAD is answered with 200
//! does not mean that a GET will be.

use std::fmt;

use crate::transport::Headers;

/// A blob's size and version, and whether it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Properties {
    /// In bytes.
    pub(crate) size: u64,
    /// When it was last written or touched, in seconds since the Unix epoch; 0
    /// where the service did not tell.
    pub(crate) modified: u64,
    /// Empty where the service did not tell.
    pub(crate) etag: String,
    pub(crate) state: State,
}

/// Whether a blob's bytes can be had. The later state hides the earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum State {
    /// They can.
    #[default]
    Readable,
    /// Not before somebody moves the blob out of the archive tier, which takes
    /// hours. <https://learn.microsoft.com/azure/storage/blobs/archive-rehydrate-overview>
    Archived,
    /// Somebody does so right now.
    Rehydrating,
    /// Only with a key that a customer sent with the blob.
    /// <https://learn.microsoft.com/azure/storage/blobs/encryption-customer-provided-keys>
    CustomerKey,
    /// A directory of an account with a hierarchical namespace, which the Blob
    /// service shows as an empty blob.
    /// <https://learn.microsoft.com/azure/storage/blobs/data-lake-storage-introduction>
    Directory,
    /// The service refuses to tell, for this reason.
    Refused(String),
}

impl State {
    /// Out of an answer's head. A field may come twice, where a proxy adds one.
    pub(super) fn of(headers: &Headers) -> Self {
        let mut state = Self::default();
        for (name, value) in headers.iter() {
            state.hear(&name.to_ascii_lowercase(), value);
        }
        state
    }

    /// Takes in one property, by the name of its header or of its element in a
    /// listing.
    pub(super) fn hear(&mut self, name: &str, value: &str) {
        let is = |text: &str| {
            let mut values = value.split(',');
            values.any(|value| value.trim().eq_ignore_ascii_case(text))
        };
        let heard = match name {
            "x-ms-access-tier" | "AccessTier" if is("archive") => Self::Archived,
            "x-ms-archive-status" | "ArchiveStatus" if !is("") => Self::Rehydrating,
            "x-ms-encryption-key-sha256" | "CustomerProvidedKeySha256" if !is("") => {
                Self::CustomerKey
            }
            "x-ms-resource-type" | "ResourceType" if is("directory") => Self::Directory,
            // How the older drivers of Hadoop mark a directory, in any account.
            "x-ms-meta-hdi_isfolder" | "hdi_isfolder" if is("true") => Self::Directory,
            _ => return,
        };
        if heard > *self {
            *self = heard;
        }
    }
}

impl Properties {
    /// A blob of which the service tells nothing, for this reason.
    pub(crate) fn refused(reason: String) -> Self {
        Self {
            size: 0,
            modified: 0,
            etag: String::new(),
            state: State::Refused(reason),
        }
    }
}

/// Why it cannot be read, to follow "it cannot be used: ".
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Readable => "it can be read",
            Self::Archived => "it is in the archive tier, where it cannot be read",
            Self::Rehydrating => "it is still on its way out of the archive tier",
            Self::CustomerKey => "it is encrypted with a customer's key",
            Self::Directory => "a directory has its name",
            Self::Refused(reason) => return write!(f, "the store refuses it: {reason}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(fields: &[(&str, &str)]) -> State {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name, *value);
        }
        State::of(&headers)
    }

    #[test]
    fn the_head_of_an_answer_tells_whether_a_blob_can_be_read() {
        for (fields, expected) in [
            (&[][..], State::Readable),
            (&[("x-ms-access-tier", "Hot")], State::Readable),
            (&[("x-ms-access-tier", "Cold")], State::Readable),
            (&[("x-ms-access-tier", "Archive")], State::Archived),
            (
                &[("x-ms-access-tier", "Hot"), ("x-ms-access-tier", "Archive")],
                State::Archived,
            ),
            (&[("x-ms-access-tier", "Hot, Archive")], State::Archived),
            (
                &[
                    ("x-ms-access-tier", "Archive"),
                    ("x-ms-archive-status", "rehydrate-pending-to-hot"),
                ],
                State::Rehydrating,
            ),
            (&[("x-ms-resource-type", "file")], State::Readable),
            (&[("x-ms-resource-type", "directory")], State::Directory),
            (&[("X-Ms-Meta-Hdi_IsFolder", "True")], State::Directory),
            (&[("x-ms-meta-hdi_isfolder", "false")], State::Readable),
        ] {
            assert_eq!(state(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_listing_tells_the_same_by_other_names() {
        for (name, value, expected) in [
            ("AccessTier", "Archive", State::Archived),
            ("AccessTier", "Cool", State::Readable),
            (
                "ArchiveStatus",
                "rehydrate-pending-to-cool",
                State::Rehydrating,
            ),
            ("ArchiveStatus", "", State::Readable),
            ("CustomerProvidedKeySha256", "abc=", State::CustomerKey),
            ("ResourceType", "directory", State::Directory),
            ("hdi_isfolder", "true", State::Directory),
        ] {
            let mut heard = State::default();
            heard.hear(name, value);
            assert_eq!(heard, expected, "{name} {value}");
        }
    }
}
