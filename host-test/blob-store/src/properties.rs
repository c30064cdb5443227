//! What the service keeps beside a blob's bytes: the headers that a client sets when it writes and
//! gets back when it reads, and the access tier, on which it depends whether the bytes can be had.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// The type of a blob whose writer named none.
pub(crate) const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

const METADATA_PREFIX: &str = "x-ms-meta-";

/// The metadata by which the Blob service shows a directory of a Data Lake account.
pub(crate) const IS_FOLDER: &str = "hdi_isfolder";

/// The tiers of a block blob.
/// <https://learn.microsoft.com/rest/api/storageservices/set-blob-tier>
const TIERS: [&str; 4] = ["Hot", "Cool", "Cold", ARCHIVE];

const ARCHIVE: &str = "Archive";

/// The standard properties (header of the answer, where it comes from in a write).
const KEPT: [(&str, &str); 6] = [
    ("content-type", "x-ms-blob-content-type"),
    ("content-encoding", "x-ms-blob-content-encoding"),
    ("content-language", "x-ms-blob-content-language"),
    ("content-disposition", "x-ms-blob-content-disposition"),
    ("cache-control", "x-ms-blob-cache-control"),
    ("content-md5", "x-ms-blob-content-md5"),
];

/// A blob's properties and metadata: pairs of a lower-case header name and its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Properties {
    standard: Vec<(String, String)>,
    metadata: Vec<(String, String)>,
    /// None as long as nobody has chosen one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    /// The tier that a blob is on its way to, out of the archive. It never gets there: that would
    /// take hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rehydrating_to: Option<String>,
}

impl Properties {
    /// Those of a directory.
    pub fn of_directory() -> Self {
        Self {
            metadata: vec![(IS_FOLDER.to_owned(), "true".to_owned())],
            ..Self::default()
        }
    }

    /// Whether the blob is a directory.
    pub fn is_directory(&self) -> bool {
        let mut metadata = self.metadata.iter();
        metadata.any(|(name, value)| name == IS_FOLDER && value == "true")
    }

    /// Another tier, by the name that a client gave it. False where that takes a while.
    pub fn set_tier(&mut self, tier: &str) -> Result<bool, Refusal> {
        let known = TIERS.iter().find(|known| **known == tier);
        let tier = known.ok_or_else(|| Refusal::invalid_header("x-ms-access-tier", tier))?;
        if self.is_archived() && *tier != ARCHIVE {
            self.rehydrating_to = Some((*tier).to_owned());
            return Ok(false);
        }
        self.tier = Some((*tier).to_owned());
        Ok(true)
    }

    fn is_archived(&self) -> bool {
        self.tier.as_deref() == Some(ARCHIVE)
    }

    /// The tier, if somebody chose one.
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// What a blob on its way out of the archive says of that.
    pub fn archive_status(&self) -> Option<String> {
        let to = self.rehydrating_to.as_ref()?;
        Some(format!("rehydrate-pending-to-{}", to.to_lowercase()))
    }

    /// Whether the bytes can be had. In the archive they can be neither read nor overwritten.
    pub fn check_readable(&self) -> Result<(), Refusal> {
        match (self.is_archived(), &self.rehydrating_to) {
            (false, _) => Ok(()),
            (true, None) => Err(Refusal::archived("BlobArchived")),
            (true, Some(_)) => Err(Refusal::archived("BlobBeingRehydrated")),
        }
    }

    /// Whether another blob may be put in the place of this one.
    pub fn check_replaceable(&self) -> Result<(), Refusal> {
        if self.is_directory() {
            return Err(Refusal::blob_exists());
        }
        self.check_readable()
    }

    /// From a Put Blob, whose plain headers describe the blob where the service's own are missing.
    pub fn of_put_blob(headers: &HeaderMap, md5: Option<String>) -> Self {
        let mut properties = Self::of_block_list(headers);
        for (name, _) in KEPT.iter().filter(|(name, _)| *name != "content-md5") {
            properties.add_missing(name, text(headers, name));
        }
        properties.add_missing("content-md5", md5);
        properties
    }

    /// From a Put Block List, whose plain headers describe the list.
    pub fn of_block_list(headers: &HeaderMap) -> Self {
        let mut properties = Self {
            metadata: metadata(headers),
            ..Self::default()
        };
        for (name, source) in KEPT {
            properties.add_missing(name, text(headers, source));
        }
        properties
    }

    fn add_missing(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value.filter(|value| !value.is_empty())
            && self.get(name).is_none()
        {
            self.standard.push((name.to_owned(), value));
        }
    }

    /// A standard property by the name of its header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.standard
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Names without their prefix, and values.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The same, with other metadata.
    pub fn with_metadata(&self, metadata: Vec<(String, String)>) -> Self {
        Self {
            metadata,
            ..self.clone()
        }
    }

    /// Adds the headers that a reader gets. The MD5 of the whole blob has another name beside a
    /// part of it.
    pub fn write(&self, headers: &mut HeaderMap, partial: bool) {
        insert(headers, "content-type", DEFAULT_CONTENT_TYPE);
        for (name, value) in &self.standard {
            let name = if partial && name == "content-md5" {
                "x-ms-blob-content-md5"
            } else {
                name
            };
            insert(headers, name, value);
        }
        write_metadata(&self.metadata, headers);
        if let Some(tier) = &self.tier {
            insert(headers, "x-ms-access-tier", tier);
        }
        if let Some(status) = self.archive_status() {
            insert(headers, "x-ms-archive-status", &status);
        }
        if self.is_directory() {
            insert(headers, "x-ms-resource-type", "directory");
        }
    }
}

/// The metadata in a request's headers: names without their prefix, and values.
pub(crate) fn metadata(headers: &HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str().strip_prefix(METADATA_PREFIX)?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(pair).collect()
}

/// Adds metadata to an answer's headers.
pub(crate) fn write_metadata(metadata: &[(String, String)], headers: &mut HeaderMap) {
    for (name, value) in metadata {
        insert(headers, &format!("{METADATA_PREFIX}{name}"), value);
    }
}

/// What came in as a header goes out as one; anything else (from a record on disk that somebody
/// changed) is left out.
fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn the_service_s_own_header_describes_the_blob_before_the_plain_one() {
        let sent = headers(&[
            ("content-type", "a/b"),
            ("x-ms-blob-content-type", "c/d"),
            ("content-encoding", "gzip"),
        ]);
        let properties = Properties::of_put_blob(&sent, None);
        assert_eq!(
            (
                properties.get("content-type"),
                properties.get("content-encoding")
            ),
            (Some("c/d"), Some("gzip"))
        );
    }

    #[test]
    fn the_type_of_a_block_list_is_not_that_of_the_blob() {
        let properties =
            Properties::of_block_list(&headers(&[("content-type", "application/xml")]));
        let mut answer = HeaderMap::new();
        properties.write(&mut answer, false);
        assert_eq!(answer["content-type"], DEFAULT_CONTENT_TYPE);
    }

    #[test]
    fn metadata_comes_back() {
        let properties =
            Properties::of_put_blob(&headers(&[("x-ms-meta-a", "1"), ("x-ms-date", "d")]), None);
        let mut answer = HeaderMap::new();
        properties.write(&mut answer, false);
        assert_eq!(answer["x-ms-meta-a"], "1");
        assert_eq!(properties.metadata().len(), 1);
    }
}
