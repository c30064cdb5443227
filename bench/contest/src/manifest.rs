//! The manifest of a made-up cache in BuildKit's azblob format, written and read without the
//! component, for those contestants that have none.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Layer;

/// The whole.
pub(crate) fn azblob(layers: &[Layer]) -> String {
    let entry = |(number, layer): (usize, &Layer)| {
        let mut entry = json!({
            "blob": layer.digest,
            "annotations": {
                "mediaType": Layer::MEDIA_TYPE,
                "diffID": layer.diff_id(),
                "size": layer.size,
                "createdAt": Layer::CREATED_AT,
            },
        });
        // BuildKit leaves a parent out when it is layer 0.
        match number {
            0 => entry["parent"] = json!(-1),
            1 => {}
            _ => entry["parent"] = json!(number - 1),
        }
        entry
    };
    let entries = Value::from_iter(layers.iter().enumerate().map(entry));
    format!(r#"{{"layers":{entries},"records":{}}}"#, records(layers))
}

/// The solver's records: one a layer, each on the one before.
pub(crate) fn records(layers: &[Layer]) -> String {
    let record = |(number, layer): (usize, &Layer)| {
        let mut record = json!({
            "digest": layer.diff_id(),
            "layers": [{"layer": number, "createdAt": Layer::CREATED_AT}],
        });
        if let Some(below) = number.checked_sub(1) {
            record["inputs"] = json!([[{"link": below}]]);
        }
        record
    };
    Value::from_iter(layers.iter().enumerate().map(record)).to_string()
}

/// The layers that a manifest names.
pub(crate) fn layers(manifest: &[u8]) -> Result<Vec<Layer>> {
    #[derive(Deserialize)]
    struct Manifest {
        layers: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        blob: String,
        annotations: Annotations,
    }
    #[derive(Deserialize)]
    struct Annotations {
        size: u64,
    }
    let manifest: Manifest =
        serde_json::from_slice(manifest).context("the store holds no manifest")?;
    let layer = |entry: Entry| Layer {
        digest: entry.blob,
        size: entry.annotations.size,
    };
    Ok(manifest.layers.into_iter().map(layer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_the_layers_that_it_was_made_of() {
        let layer = |digit: char, size| Layer {
            digest: format!("sha256:{}", digit.to_string().repeat(64)),
            size,
        };
        let made = [layer('a', 1), layer('b', 2), layer('c', 3)];
        let text = azblob(&made);
        assert_eq!(layers(text.as_bytes()).unwrap(), made);
        let manifest: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest["layers"][0]["parent"], -1);
        assert_eq!(manifest["layers"][1]["parent"], Value::Null);
        assert_eq!(manifest["layers"][2]["parent"], 1);
        assert_eq!(manifest["records"].as_array().unwrap().len(), 3);
    }
}
