//! The manifest's JSON, in the shape of BuildKit's Go structs
//! (`cache/remotecache/v1/types/spec.go`), and with Go's leniency: unknown
//! members are skipped, `null` stands for nothing, the case of a member's name
//! does not matter, and of two members with one name the later counts.

use super::{Layer, Manifest, Parsed, Unusable};
use crate::digest::Digest;
use crate::json::{Reader, write_string};

/// How Go writes that there is no time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// What a layer takes at most in what is written, its media type left out, and
/// what stands around layers and records, in bytes; a strange text takes more.
const LAYER_BYTES: usize = 296;
const REST_BYTES: usize = 32;

/// A layer as it was found; Go has a zero for what is left out.
#[derive(Default)]
struct CacheLayer {
    blob: String,
    /// Index of the layer below, -1 for none.
    parent: i64,
    annotations: Option<Annotations>,
}

#[derive(Default)]
struct Annotations {
    media_type: String,
    diff_id: String,
    size: i64,
    created_at: Option<String>,
}

/// Reads a manifest, as far as its form goes.
pub(super) fn read(json: &[u8]) -> Result<Parsed, String> {
    let json = std::str::from_utf8(json).map_err(|_| "it is not UTF-8")?;
    if json.trim_start().starts_with('<') {
        return Err("it is HTML or XML instead of JSON".to_owned());
    }
    let mut layers = Vec::new();
    let mut unusable = Vec::new();
    let mut records = "null";
    let mut reader = Reader::new(json);
    reader.object(|key, reader| {
        match &*key.to_ascii_lowercase() {
            "layers" if reader.null() => {}
            "layers" => {
                layers.clear();
                unusable.clear();
                reader.array(|reader| {
                    let (index, layer) = (layers.len(), read_layer(reader)?);
                    let parent = parent(layer.parent);
                    layers.push(match checked_layer(&layer) {
                        Ok(layer) => Layer {
                            parent: parent.map_err(|what| format!("layer {index} {what}"))?,
                            ..layer
                        },
                        Err(why) => {
                            let blob = layer.blob;
                            let stands_in = placeholder(index, &blob);
                            let parent = parent.unwrap_or_default();
                            unusable.push((parent, Unusable { index, blob, why }));
                            stands_in
                        }
                    });
                    Ok(())
                })?;
            }
            "records" => records = reader.skip()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    reader.end()?;
    let unusable = without_those_described_elsewhere(unusable, &mut layers);
    let records = match records {
        "null" => "[]".to_owned(),
        records => check_records(records)?.to_owned(),
    };
    let manifest = Manifest { layers, records };
    Ok(Parsed { manifest, unusable })
}

fn read_layer(reader: &mut Reader) -> Result<CacheLayer, String> {
    let mut layer = CacheLayer::default();
    if reader.null() {
        return Ok(layer);
    }
    reader.object(|key, reader| {
        match &*key.to_ascii_lowercase() {
            _ if reader.null() => {}
            "blob" => layer.blob = reader.string()?,
            "parent" => layer.parent = reader.integer()?,
            "annotations" => read_annotations(reader, layer.annotations.get_or_insert_default())?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    Ok(layer)
}

fn read_annotations(reader: &mut Reader, annotations: &mut Annotations) -> Result<(), String> {
    reader.object(|key, reader| {
        match &*key.to_ascii_lowercase() {
            _ if reader.null() => {}
            "mediatype" => annotations.media_type = reader.string()?,
            "diffid" => annotations.diff_id = reader.string()?,
            "size" => annotations.size = reader.integer()?,
            "createdat" => annotations.created_at = Some(reader.string()?),
            _ => drop(reader.skip()?),
        }
        Ok(())
    })
}

/// The layer below, as far as there can be one with this index.
fn parent(index: i64) -> Result<Option<u32>, &'static str> {
    match index {
        -1 => Ok(None),
        index => {
            let index = u32::try_from(index);
            Ok(Some(index.map_err(|_| "has a parent that does not exist")?))
        }
    }
}

/// A layer with all that it needs but its parent, or what it lacks.
fn checked_layer(layer: &CacheLayer) -> Result<Layer, &'static str> {
    let digest = |text: &str| text.parse::<Digest>();
    let blob = digest(&layer.blob).map_err(|_| "has no SHA-256 digest")?;
    let annotations = layer.annotations.as_ref().ok_or("has no annotations")?;
    let layer = Layer {
        blob,
        size: u64::try_from(annotations.size).map_err(|_| "has a negative size")?,
        media_type: annotations.media_type.clone(),
        diff_id: digest(&annotations.diff_id).map_err(|_| "has no SHA-256 diffID")?,
        created_at: annotations
            .created_at
            .clone()
            .filter(|time| time != NO_TIME),
        parent: None,
    };
    match layer.flaw() {
        Some(flaw) => Err(flaw),
        None => Ok(layer),
    }
}

/// The replacement of a layer that cannot be used: nothing of it is
/// right but its digest, if it has one. What it lies on does not matter: whatever
/// lies on it cannot be used either.
fn placeholder(index: usize, blob: &str) -> Layer {
    let blob = blob.parse().unwrap_or_else(|_| Digest::placeholder(index));
    Layer {
        blob,
        size: u64::from(blob != Digest::OF_NOTHING),
        media_type: "application/octet-stream".to_owned(),
        diff_id: blob,
        created_at: None,
        parent: None,
    }
}

/// How many layers are looked for elsewhere: more are not an accident, and each is
/// compared with all others.
const MOST_ELSEWHERE: usize = 100;

/// A blob on two parents is two layers. If only one of them describes it, that
/// is sufficient for both. Takes these out of the unusable ones, each of which
/// stands here with its parent.
fn without_those_described_elsewhere(
    mut unusable: Vec<(Option<u32>, Unusable)>,
    layers: &mut [Layer],
) -> Vec<Unusable> {
    if unusable.len() <= MOST_ELSEWHERE {
        let places: Vec<usize> = unusable.iter().map(|(_, layer)| layer.index).collect();
        unusable.retain(|(parent, unusable)| {
            let blob = layers[unusable.index].blob;
            let mut others = layers.iter().enumerate();
            let describing = others
                .find(|(index, layer)| layer.blob == blob && !places.contains(index))
                .map(|(_, layer)| layer.clone());
            let is_described = describing.is_some();
            if let Some(layer) = describing {
                layers[unusable.index] = Layer {
                    parent: *parent,
                    ..layer
                };
            }
            !is_described
        });
    }
    unusable.into_iter().map(|(_, unusable)| unusable).collect()
}

/// Writes a manifest that has been checked. What Go's `omitempty` leaves out
/// is left out: empty lists, a parent of 0, a size of 0.
pub(super) fn write(manifest: &Manifest) -> Result<Vec<u8>, String> {
    let mut reader = Reader::new(&manifest.records);
    let records = check_records(reader.skip()?)?;
    reader.end()?;

    // Where it grew as it is written, it would stand in memory twice.
    let layers = manifest.layers.iter();
    let length = layers.map(|layer| LAYER_BYTES + layer.media_type.len());
    let mut json = String::with_capacity(records.len() + length.sum::<usize>() + REST_BYTES);
    json.push('{');
    for (index, layer) in manifest.layers.iter().enumerate() {
        json.push_str(if index == 0 { "\"layers\":[" } else { "," });
        write_layer(&mut json, layer);
    }
    if !manifest.layers.is_empty() {
        json.push(']');
    }
    if records[1..].trim_start() != "]" {
        json.push_str(if manifest.layers.is_empty() { "" } else { "," });
        json.push_str("\"records\":");
        json.push_str(records);
    }
    json.push('}');
    Ok(json.into_bytes())
}

fn write_layer(json: &mut String, layer: &Layer) {
    // A digest holds nothing that would be escaped.
    json.push_str(&format!("{{\"blob\":\"{}\"", layer.blob));
    match layer.parent {
        Some(0) => {}
        Some(parent) => json.push_str(&format!(",\"parent\":{parent}")),
        None => json.push_str(",\"parent\":-1"),
    }
    json.push_str(",\"annotations\":{\"mediaType\":");
    write_string(json, &layer.media_type);
    json.push_str(&format!(",\"diffID\":\"{}\"", layer.diff_id));
    if layer.size > 0 {
        json.push_str(&format!(",\"size\":{}", layer.size));
    }
    json.push_str(",\"createdAt\":");
    write_string(json, layer.created_at.as_deref().unwrap_or(NO_TIME));
    json.push_str("}}");
}

/// The records must be an array, and are not looked into.
fn check_records(records: &str) -> Result<&str, String> {
    match records.starts_with('[') {
        true => Ok(records),
        false => Err("its records are not a JSON array".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_longest_layers_before_they_are_written() {
        let layer = Layer {
            blob: Digest::OF_NOTHING,
            size: i64::MAX as u64,
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd".to_owned(),
            diff_id: Digest::OF_NOTHING,
            created_at: Some("2026-11-23T14:14:42.815976394+00:00".to_owned()),
            parent: Some(u32::MAX),
        };
        let manifest = Manifest {
            layers: vec![layer.clone(); 3],
            records: "[{}]".to_owned(),
        };
        let written = write(&manifest).unwrap();
        let room = 3 * (LAYER_BYTES + layer.media_type.len()) + REST_BYTES + "[{}]".len();
        assert!(written.len() <= room, "{} bytes in {room}", written.len());
    }
}
