//! List Blobs: what to list, which page of it, and the XML.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/list-blobs>.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::index::{Blob, Container};
use crate::properties::DEFAULT_CONTENT_TYPE;
use crate::refusal::Refusal;
use crate::request::Query;
use crate::xml::{PROLOGUE, can_carry, push_element, push_group};

/// The longest page that the service sends.
const MAX_RESULTS: usize = 5000;

/// The parameters of List Blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListQuery {
    prefix: String,
    delimiter: String,
    /// As the client sent it.
    marker: String,
    /// The key to begin with, out of the marker.
    from: String,
    /// As the client sent it.
    max_results: Option<usize>,
    metadata: bool,
    uncommitted: bool,
}

impl ListQuery {
    pub fn parse(query: &Query<'_>) -> Result<Self, Refusal> {
        let text = |name| query.get(name).unwrap_or_default().into_owned();
        let include = text("include");
        let includes = |name| include.split(',').any(|part| part == name);
        let marker = text("marker");
        Ok(Self {
            prefix: text("prefix"),
            delimiter: text("delimiter"),
            from: key_in_marker(&marker)?,
            marker,
            max_results: max_results(&text("maxresults"))?,
            metadata: includes("metadata"),
            uncommitted: includes("uncommittedblobs"),
        })
    }
}

fn max_results(value: &str) -> Result<Option<usize>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    match value.parse::<i64>() {
        Ok(1..) => Ok(Some(value.parse().unwrap_or(usize::MAX))),
        Ok(_) => Err(Refusal::out_of_range_query(
            "maxresults",
            value,
            "It is at least 1.",
        )),
        Err(_) => Err(Refusal::invalid_query(
            "maxresults",
            value,
            "It is a number.",
        )),
    }
}

fn key_in_marker(marker: &str) -> Result<String, Refusal> {
    let decoded = URL_SAFE_NO_PAD
        .decode(marker)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| {
        Refusal::invalid_query("marker", marker, "It is no NextMarker of this store.")
    })
}

/// One page of a container.
#[derive(Debug, Default)]
pub(crate) struct Page {
    items: Vec<Item>,
    next_key: Option<String>,
}

#[derive(Debug)]
enum Item {
    /// A blob, or `None` for a key that has only blocks that wait.
    Blob(String, Option<Arc<Blob>>),
    /// What several keys share up to the delimiter.
    Prefix(String),
}

impl Page {
    /// Collects the page that the query asks for.
    pub fn of(container: &Container, query: &ListQuery) -> Self {
        let limit = query.max_results.unwrap_or(MAX_RESULTS).min(MAX_RESULTS);
        let from = query.from.as_str().max(query.prefix.as_str());
        let mut page = Self::default();
        let range = (Bound::Included(from), Bound::Unbounded);
        for (key, entry) in container.blobs.range::<str, _>(range) {
            let Some(rest) = key.strip_prefix(query.prefix.as_str()) else {
                break;
            };
            if entry.blob.is_none() && !query.uncommitted {
                continue;
            }
            let end = if query.delimiter.is_empty() {
                None
            } else {
                rest.find(&query.delimiter)
            };
            let group = end.map(|end| &key[..query.prefix.len() + end + query.delimiter.len()]);
            if let (Some(group), Some(Item::Prefix(last))) = (group, page.items.last())
                && group == last
            {
                continue;
            }
            if page.items.len() == limit {
                page.next_key = Some(key.clone());
                break;
            }
            page.items.push(match group {
                Some(group) => Item::Prefix(group.to_owned()),
                None => Item::Blob(key.clone(), entry.blob.clone()),
            });
        }
        page
    }

    /// The answer's body.
    pub fn xml(&self, query: &ListQuery, endpoint: &str, container: &str) -> String {
        let mut xml = PROLOGUE.to_owned();
        let endpoint = quick_xml::escape::escape(endpoint);
        xml.push_str(&format!(
            "<EnumerationResults ServiceEndpoint=\"{endpoint}\" ContainerName=\"{container}\">"
        ));
        for (name, value) in [("Prefix", &query.prefix), ("Marker", &query.marker)] {
            if !value.is_empty() {
                push_element(&mut xml, name, value);
            }
        }
        if let Some(max_results) = query.max_results {
            push_element(&mut xml, "MaxResults", &max_results.to_string());
        }
        if !query.delimiter.is_empty() {
            push_element(&mut xml, "Delimiter", &query.delimiter);
        }
        push_group(&mut xml, "Blobs", |xml| {
            for item in &self.items {
                item.push(xml, query.metadata);
            }
        });
        let marker = self
            .next_key
            .as_ref()
            .map(|key| URL_SAFE_NO_PAD.encode(key))
            .unwrap_or_default();
        push_element(&mut xml, "NextMarker", &marker);
        xml.push_str("</EnumerationResults>");
        xml
    }
}

impl Item {
    fn push(&self, xml: &mut String, with_metadata: bool) {
        match self {
            Self::Prefix(name) => push_group(xml, "BlobPrefix", |xml| push_name(xml, name)),
            Self::Blob(name, blob) => push_group(xml, "Blob", |xml| {
                push_name(xml, name);
                push_group(xml, "Properties", |xml| {
                    push_properties(xml, blob.as_deref())
                });
                if let Some(blob) = blob
                    && with_metadata
                {
                    push_group(xml, "Metadata", |xml| {
                        for (name, value) in blob.properties.metadata() {
                            push_element(xml, name, value);
                        }
                    });
                }
            }),
        }
    }
}

/// A name that XML cannot carry is percent-encoded and says so.
fn push_name(xml: &mut String, name: &str) {
    if can_carry(name) {
        push_element(xml, "Name", name);
    } else {
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
        xml.push_str(&format!("<Name Encoded=\"true\">{encoded}</Name>"));
    }
}

fn push_properties(xml: &mut String, blob: Option<&Blob>) {
    if let Some(blob) = blob {
        push_element(xml, "Creation-Time", &httpdate::fmt_http_date(blob.created));
        push_element(
            xml,
            "Last-Modified",
            &httpdate::fmt_http_date(blob.stamp.modified),
        );
        push_element(xml, "Etag", blob.stamp.etag.trim_matches('"'));
    }
    push_element(
        xml,
        "Content-Length",
        &blob.map_or(0, |blob| blob.content.len()).to_string(),
    );
    let property = |name| {
        blob.and_then(|blob| blob.properties.get(name))
            .unwrap_or_default()
    };
    let content_type = property("content-type");
    push_element(
        xml,
        "Content-Type",
        if content_type.is_empty() {
            DEFAULT_CONTENT_TYPE
        } else {
            content_type
        },
    );
    for (element, name) in [
        ("Content-Encoding", "content-encoding"),
        ("Content-Language", "content-language"),
        ("Content-MD5", "content-md5"),
        ("Cache-Control", "cache-control"),
        ("Content-Disposition", "content-disposition"),
    ] {
        push_element(xml, element, property(name));
    }
    if let Some(tier) = blob.and_then(|blob| blob.properties.tier()) {
        push_element(xml, "AccessTier", tier);
    }
    if let Some(status) = blob.and_then(|blob| blob.properties.archive_status()) {
        push_element(xml, "ArchiveStatus", &status);
    }
    if blob.is_some_and(|blob| blob.properties.is_directory()) {
        push_element(xml, "ResourceType", "directory");
    }
    for (element, value) in [
        ("BlobType", "BlockBlob"),
        ("LeaseStatus", "unlocked"),
        ("LeaseState", "available"),
        ("ServerEncrypted", "true"),
    ] {
        push_element(xml, element, value);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::conditions::Stamp;
    use crate::index::Entry;

    fn container(keys: &[&str]) -> Container {
        let stamp = Stamp {
            etag: "\"0x1\"".into(),
            modified: SystemTime::UNIX_EPOCH,
        };
        let blob = Arc::new(Blob {
            stamp: stamp.clone(),
            created: SystemTime::UNIX_EPOCH,
            properties: Default::default(),
            content: Default::default(),
            blocks: Vec::new(),
        });
        let entry = |key: &&str| {
            let blob = (!key.starts_with('~')).then(|| Arc::clone(&blob));
            (
                (*key).to_owned(),
                Entry {
                    blob,
                    uncommitted: Default::default(),
                },
            )
        };
        Container {
            stamp,
            metadata: Vec::new(),
            blobs: keys.iter().map(entry).collect(),
        }
    }

    fn query(query: &str) -> Result<ListQuery, Refusal> {
        let request = http::Request::builder()
            .uri(format!("/a/c?{query}"))
            .body(())
            .unwrap();
        ListQuery::parse(&Query::of(&request.into_parts().0))
    }

    fn names(page: &Page) -> Vec<&str> {
        page.items
            .iter()
            .map(|item| match item {
                Item::Blob(name, _) | Item::Prefix(name) => name.as_str(),
            })
            .collect()
    }

    #[test]
    fn a_prefix_leaves_the_others_out() {
        let page = Page::of(
            &container(&["a", "b/1", "b/2", "c"]),
            &query("prefix=b%2F").unwrap(),
        );
        assert_eq!(names(&page), ["b/1", "b/2"]);
    }

    #[test]
    fn pages_follow_one_another_without_gap_or_overlap() {
        let container = container(&["a", "b", "c/1", "c/2", "d"]);
        for delimiter in ["", "&delimiter=/"] {
            let whole = Page::of(&container, &query(delimiter).unwrap());
            let mut seen = Vec::new();
            let mut marker = String::new();
            loop {
                let page = Page::of(
                    &container,
                    &query(&format!("maxresults=1&marker={marker}{delimiter}")).unwrap(),
                );
                assert_eq!(page.items.len(), 1);
                seen.extend(names(&page).into_iter().map(str::to_owned));
                let Some(next) = page.next_key else { break };
                marker = URL_SAFE_NO_PAD.encode(next);
            }
            assert_eq!(seen, names(&whole));
        }
    }

    #[test]
    fn a_delimiter_folds_what_shares_a_prefix() {
        let page = Page::of(
            &container(&["a/1", "a/2", "b", "c/d/1"]),
            &query("delimiter=/").unwrap(),
        );
        assert_eq!(names(&page), ["a/", "b", "c/"]);
    }

    #[test]
    fn blobs_that_only_wait_are_listed_on_request() {
        let container = container(&["a", "~b"]);
        assert_eq!(names(&Page::of(&container, &query("").unwrap())), ["a"]);
        assert_eq!(
            names(&Page::of(
                &container,
                &query("include=uncommittedblobs").unwrap()
            )),
            ["a", "~b"]
        );
    }

    #[test]
    fn a_page_has_1_to_5000_results() {
        assert_eq!(
            query("maxresults=0").unwrap_err().code,
            "OutOfRangeQueryParameterValue"
        );
        assert_eq!(
            query("maxresults=x").unwrap_err().code,
            "InvalidQueryParameterValue"
        );
        let keys: Vec<_> = (0..5001).map(|i| format!("{i:05}")).collect();
        let container = container(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            Page::of(&container, &query("maxresults=9999").unwrap())
                .items
                .len(),
            5000
        );
    }

    #[test]
    fn a_name_that_xml_cannot_carry_is_encoded() {
        let query = query("").unwrap();
        let xml = Page::of(&container(&["a&b", "\u{1}"]), &query).xml(&query, "http://h/a", "c");
        assert!(
            xml.contains("<Name>a&amp;b</Name>")
                && xml.contains("<Name Encoded=\"true\">%01</Name>"),
            "{xml}"
        );
    }
}
