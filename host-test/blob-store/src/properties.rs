//! What the service keeps beside a blob's bytes: the headers that a client sets when it writes and
//! gets back when it reads.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// The type of a blob whose writer named none.
pub(crate) const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

const METADATA_PREFIX: &str = "x-ms-meta-";

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
}

impl Properties {
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
            standard: Vec::new(),
            metadata: metadata(headers),
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
            standard: self.standard.clone(),
            metadata,
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
