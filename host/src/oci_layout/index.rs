//! `index.json`: which manifest has which tag.
//!
//! Other entries may be anybody's, such as an image that was exported to the
//! same directory. They are kept as the bytes they are.

use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use super::LayoutError;
use super::document::{AnyDescriptor, Descriptor, INDEX_TYPE};
use super::files::damaged;
use crate::records::go_json::{self, Go, go_struct};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const IMAGE_NAME: &str = "io.containerd.image.name";

/// The fields that BuildKit keeps, in the order in which Go writes them.
#[derive(Debug, Serialize)]
pub(super) struct Index {
    #[serde(rename = "schemaVersion")]
    schema_version: u64,
    #[serde(rename = "mediaType")]
    media_type: String,
    #[serde(rename = "artifactType", skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    manifests: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
}
go_struct!(Index {
    schema_version: "schemaVersion",
    media_type: "mediaType",
    artifact_type: "artifactType",
    manifests: "manifests",
    subject: "subject",
    annotations: "annotations",
});

/// An index without entries.
impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: INDEX_TYPE.to_owned(),
            artifact_type: None,
            manifests: Vec::new(),
            subject: None,
            annotations: None,
        }
    }
}

/// How an entry may be found.
#[derive(Default)]
struct Names {
    ref_name: Option<String>,
    image_name: Option<String>,
}

fn names(entry: &RawValue) -> Names {
    let Ok(Go(mut entry)) = serde_json::from_str::<Go<AnyDescriptor>>(entry.get()) else {
        return Names::default();
    };
    Names {
        ref_name: entry.annotations.remove(REF_NAME),
        image_name: entry.annotations.remove(IMAGE_NAME),
    }
}

impl Index {
    /// Reads an `index.json`; an empty file is an empty index, as in BuildKit.
    pub fn parse(json: &[u8], path: &Path) -> Result<Self, LayoutError> {
        // Editors put it there.
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        let json = if json.is_empty() { b"{}" } else { json };
        let Go(index) = go_json::object(json)
            .map_err(|error| damaged(path, format!("it is not an OCI index: {error}")))?;
        Ok(index)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.manifests.is_empty()
    }

    /// The tags of the entries that have one, in order.
    pub fn tags(&self) -> Vec<String> {
        self.manifests
            .iter()
            .filter_map(|entry| names(entry).ref_name)
            .collect()
    }

    /// The entry that BuildKit takes for `tag`.
    pub fn get(&self, tag: &str) -> Option<&RawValue> {
        let by_image = |entry: &RawValue| names(entry).image_name.as_deref() == Some(tag);
        let by_ref = |entry: &RawValue| names(entry).ref_name.as_deref() == Some(tag);
        let mut entries = self.manifests.iter().map(Box::as_ref);
        entries
            .clone()
            .find(|entry| by_image(entry))
            .or_else(|| entries.find(|entry| by_ref(entry)))
    }

    /// The one entry, where there is just one.
    pub fn only(&self) -> Option<&RawValue> {
        if let [only] = &self.manifests[..] {
            Some(only)
        } else {
            None
        }
    }

    /// Puts `manifest` under `tag`, in place of the one that was there. It goes
    /// to the end, as in BuildKit, but before an image of the same tag, which
    /// would hide it.
    pub fn put(&mut self, manifest: &Descriptor, tag: &str) -> serde_json::Result<()> {
        let has_tag = |names: &Names| names.ref_name.as_deref() == Some(tag);
        self.manifests.retain(|entry| {
            let names = names(entry);
            !has_tag(&names) || names.image_name.is_some()
        });
        let mut manifest = manifest.clone();
        manifest
            .annotations
            .insert(REF_NAME.to_owned(), tag.to_owned());
        let entry = RawValue::from_string(go_json::to_string(&manifest)?)?;
        let hidden_by = self
            .manifests
            .iter()
            .position(|entry| has_tag(&names(entry)));
        self.manifests
            .insert(hidden_by.unwrap_or(self.manifests.len()), entry);
        Ok(())
    }

    /// The content of the file.
    pub fn to_json(&self) -> serde_json::Result<String> {
        go_json::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::describe;
    use super::*;

    fn index(json: &str) -> Index {
        Index::parse(json.as_bytes(), Path::new("index.json")).expect("an index")
    }

    fn entry(name: &str) -> Descriptor {
        describe(name, "application/x")
    }

    #[test]
    fn a_tag_is_replaced_and_the_others_stay() {
        let mut index = index(r#"{"manifests":null}"#);
        for (name, tag) in [("one", "a"), ("two", "b"), ("three", "a")] {
            index.put(&entry(name), tag).expect("JSON");
        }
        assert_eq!(index.tags(), ["b", "a"]);
        let found: Descriptor =
            serde_json::from_str(index.get("a").expect("there").get()).expect("an entry");
        assert_eq!(found.digest, entry("three").digest);
    }

    #[test]
    fn what_others_wrote_is_kept_to_the_byte() {
        let image = r#"{ "digest": "sha512:xyz", "new": [1], "annotations": {"io.containerd.image.name": "app:latest", "org.opencontainers.image.ref.name": "latest"} }"#;
        let mut index = index(&format!(
            r#"{{"manifests":[{image}],"annotations":{{"k":"v"}},"dropped":1}}"#
        ));
        index.put(&entry("cache"), "latest").expect("JSON");
        let found: Descriptor =
            serde_json::from_str(index.get("latest").expect("there").get()).expect("an entry");
        assert_eq!(
            found.digest,
            entry("cache").digest,
            "the image does not hide the cache"
        );
        let json = index.to_json().expect("JSON");
        assert!(
            json.contains(image) && json.ends_with(r#","annotations":{"k":"v"}}"#),
            "{json}"
        );
        assert!(json.starts_with(r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#));
    }

    #[test]
    fn an_image_name_comes_before_a_tag() {
        let index = index(
            r#"{"manifests":[{"n":1,"annotations":{"org.opencontainers.image.ref.name":"x"}},
                {"n":2,"annotations":{"io.containerd.image.name":"x"}},{"n":3,"annotations":null},{"n":4}]}"#,
        );
        assert!(index.get("x").expect("there").get().contains("\"n\":2"));
        assert!(index.get("y").is_none() && index.only().is_none());
        assert_eq!(index.tags(), ["x"]);
    }

    #[test]
    fn what_is_no_index_is_an_error() {
        for json in [
            "[]",
            "{",
            "null",
            r#"{"manifests":{}}"#,
            r#"{"schemaVersion":"2"}"#,
            "\"{}\"",
        ] {
            let error = Index::parse(json.as_bytes(), Path::new("index.json"))
                .expect_err(json)
                .to_string();
            assert!(
                error.contains("`index.json` is damaged: it is not an OCI index"),
                "{error}"
            );
        }
    }
}
