//! The manifest's JSON, in the shape of BuildKit's Go structs
//! (`cache/remotecache/v1/types/spec.go`).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::go_json;
use super::{Layer, Manifest};
use crate::digest::Digest;

/// How Go writes the time that is none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize, Deserialize)]
struct CacheConfig<'a> {
    #[serde(default, skip_serializing_if = "is_empty")]
    layers: Option<Vec<CacheLayer>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    records: Option<&'a RawValue>,
}

#[derive(Serialize, Deserialize)]
struct CacheLayer {
    #[serde(default)]
    blob: String,
    /// Index of the layer below, -1 for none. As Go's `omitempty` has it,
    /// index 0 is left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    parent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    #[serde(default)]
    media_type: String,
    #[serde(default, rename = "diffID")]
    diff_id: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: i64,
    #[serde(default)]
    created_at: Option<String>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_empty(layers: &Option<Vec<CacheLayer>>) -> bool {
    layers.as_ref().is_none_or(Vec::is_empty)
}

/// Reads a manifest, as far as its form goes.
pub(super) fn read(json: &[u8]) -> Result<Manifest, String> {
    // Reading from text only, not from bytes too, halves what it costs.
    let json = std::str::from_utf8(json).map_err(|_| "it is not UTF-8")?;
    if json.trim_start().starts_with('[') {
        // Serde would take it for the object's values in order.
        return Err("it is a JSON array instead of an object".to_owned());
    }
    let config: CacheConfig = serde_json::from_str(json).map_err(|error| {
        let is_html = json.trim_start().starts_with('<');
        let hint = if is_html {
            "; it looks like HTML or XML"
        } else {
            ""
        };
        format!("it is not the JSON of a manifest: {error}{hint}")
    })?;
    let records = match config.records.map(RawValue::get) {
        None | Some("null") => "[]",
        Some(records) => records,
    };
    check_records(records)?;
    let layers = config.layers.unwrap_or_default();
    Ok(Manifest {
        layers: layers
            .into_iter()
            .enumerate()
            .map(|(index, layer)| read_layer(layer).map_err(|what| format!("layer {index} {what}")))
            .collect::<Result<_, _>>()?,
        records: records.to_owned(),
    })
}

/// Reads a layer, or says what it lacks.
fn read_layer(layer: CacheLayer) -> Result<Layer, &'static str> {
    let annotations = layer.annotations.ok_or("has no annotations")?;
    let digest = |text: &str| text.parse::<Digest>();
    Ok(Layer {
        blob: digest(&layer.blob).map_err(|_| "has no SHA-256 digest")?,
        size: u64::try_from(annotations.size).map_err(|_| "has a negative size")?,
        media_type: annotations.media_type,
        diff_id: digest(&annotations.diff_id).map_err(|_| "has no SHA-256 diffID")?,
        created_at: annotations.created_at.filter(|time| time != NO_TIME),
        parent: match layer.parent {
            -1 => None,
            parent => {
                let parent = u32::try_from(parent);
                Some(parent.map_err(|_| "stands on a layer that does not exist")?)
            }
        },
    })
}

/// Writes a manifest that has been checked.
pub(super) fn write(manifest: &Manifest) -> Result<Vec<u8>, String> {
    let unusable = |error| format!("its records are no JSON: {error}");
    let records: &RawValue = serde_json::from_str(&manifest.records).map_err(unusable)?;
    check_records(records.get())?;
    let is_bare = records.get()[1..].trim_start() == "]";
    go_json::compact(&CacheConfig {
        layers: Some(manifest.layers.iter().map(write_layer).collect()),
        records: (!is_bare).then_some(records),
    })
    .map_err(|error| format!("it cannot be written as JSON: {error}"))
}

fn write_layer(layer: &Layer) -> CacheLayer {
    CacheLayer {
        blob: layer.blob.to_string(),
        parent: layer.parent.map_or(-1, i64::from),
        annotations: Some(Annotations {
            media_type: layer.media_type.clone(),
            diff_id: layer.diff_id.to_string(),
            // Checked before.
            size: i64::try_from(layer.size).unwrap_or(i64::MAX),
            created_at: Some(layer.created_at.as_deref().unwrap_or(NO_TIME).to_owned()),
        }),
    }
}

/// The records must be an array, and are not looked into.
fn check_records(records: &str) -> Result<(), String> {
    match records.starts_with('[') {
        true => Ok(()),
        false => Err("its records are no JSON array".to_owned()),
    }
}
