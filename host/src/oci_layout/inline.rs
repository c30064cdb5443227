//! The inline form of a cache: an image whose config holds the records.
//!
//! BuildKit's local and registry importers read at most 1 MiB of a cache's
//! manifest and of its config, and build without the cache where there is
//! more ([moby/buildkit#3719](https://github.com/moby/buildkit/issues/3719)).
//! An image's config they read without a limit, and any manifest that an index
//! names (`importInlineCache` in `cache/remotecache/import.go`): it is the way
//! of caches that were embedded in images. So a cache of any size can be given
//! to BuildKit, as an image that nobody runs, behind an index if need be.
//!
//! The rules of that form:
//! - The config has a diff ID and a `history` entry for each layer of the
//!   manifest, in its order.
//! - `moby.buildkit.cache.v0` is the base64 of the records, a JSON array.
//! - A result names its layers as a chain of indexes into the manifest's
//!   layers, or its top layer alone if it lies on all the layers before it.
//!
//! What is written here holds all that the cache is. The layers keep their
//! order. Parents are in the chains; for the few layers that no result names,
//! an annotation holds them. What an image holds besides its cache is left out
//! on reading: layers that no result names.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::document::{CREATED_AT, Descriptor, ImageManifest, MANIFEST_TYPE, ZERO_TIME};
use crate::manifest::oci_media_type;
use crate::records::{self, Claim, go_json};
use crate::{Digest, Layer, Manifest, RecordsError};

/// The media type of an image's config.
pub(super) const IMAGE_CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's name for the same.
const DOCKER_IMAGE_CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";

/// What a layer that no result names lies on: an index into the manifest's
/// layers, or `-1`.
const PARENT: &str = "build-cache.parent";

/// A cache is for no platform; this is how the images that BuildKit attaches
/// to others say so.
const NO_PLATFORM: &str = "unknown";

/// An image's config, as it is written.
#[derive(Serialize)]
struct ConfigOut<'a> {
    architecture: &'static str,
    os: &'static str,
    rootfs: RootfsOut<'a>,
    history: Vec<History>,
    #[serde(rename = "moby.buildkit.cache.v0")]
    cache: String,
}

#[derive(Serialize)]
struct RootfsOut<'a> {
    r#type: &'static str,
    diff_ids: Vec<&'a Digest>,
}

/// An image's config, as far as it is read.
#[derive(Deserialize)]
struct ConfigIn {
    #[serde(default, deserialize_with = "nullable")]
    rootfs: RootfsIn,
    #[serde(default, deserialize_with = "nullable")]
    history: Vec<History>,
    #[serde(rename = "moby.buildkit.cache.v0", default)]
    cache: Option<String>,
}

#[derive(Default, Deserialize)]
struct RootfsIn {
    #[serde(default, deserialize_with = "nullable")]
    diff_ids: Vec<Digest>,
}

/// How a layer came about.
#[derive(Default, Serialize, Deserialize)]
struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "std::ops::Not::not"
    )]
    empty_layer: bool,
}

/// Reads a value, or the type's default for `null`, as Go does.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a config of this media type may be an image's.
pub(super) fn is_image_config(media_type: &str) -> bool {
    [IMAGE_CONFIG_TYPE, DOCKER_IMAGE_CONFIG_TYPE].contains(&media_type)
}

/// The image config that holds `manifest`, which must be valid. None where it
/// would have more than `max_bytes`, or there are no layers: an importer reads
/// no records of an image without layers.
pub(super) fn config_json(
    manifest: &Manifest,
    max_bytes: usize,
) -> Result<Option<String>, RecordsError> {
    if manifest.layers.is_empty() {
        return Ok(None);
    }
    // Base64 makes four bytes of three.
    let Some(records) = records::with_chains(manifest, max_bytes / 4 * 3)? else {
        return Ok(None);
    };
    let config = ConfigOut {
        architecture: NO_PLATFORM,
        os: NO_PLATFORM,
        rootfs: RootfsOut {
            r#type: "layers",
            diff_ids: manifest.layers.iter().map(|layer| &layer.diff_id).collect(),
        },
        history: manifest
            .layers
            .iter()
            .map(|layer| History {
                created: created_at(layer).filter(|time| go_reads(time)).cloned(),
                empty_layer: false,
            })
            .collect(),
        cache: STANDARD.encode(records),
    };
    let json = go_json::to_string(&config).map_err(RecordsError::Json)?;
    Ok((json.len() <= max_bytes).then_some(json))
}

/// The image manifest over `manifest`, which must be valid, with `config`.
pub(super) fn manifest_json(
    manifest: &Manifest,
    config: Descriptor,
) -> Result<String, RecordsError> {
    let mut annotations = vec![BTreeMap::new(); manifest.layers.len()];
    for (layer, parent) in records::unnamed(manifest)? {
        let parent = parent.map_or("-1".to_owned(), |parent| parent.to_string());
        annotations[layer].insert(PARENT.to_owned(), parent);
    }
    let layers = manifest.layers.iter().zip(annotations);
    let layers = layers.map(|(layer, mut annotations)| {
        if let Some(time) = created_at(layer).filter(|time| !go_reads(time)) {
            annotations.insert(CREATED_AT.to_owned(), time.clone());
        }
        let media_type = oci_media_type(&layer.media_type).unwrap_or(&layer.media_type);
        Descriptor {
            media_type: media_type.to_owned(),
            digest: layer.blob.clone(),
            size: layer.size,
            annotations,
        }
    });
    let image = ImageManifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE,
        config,
        layers: layers.collect(),
    };
    go_json::to_string(&image).map_err(RecordsError::Json)
}

/// When a layer was created, if that is known.
fn created_at(layer: &Layer) -> Option<&String> {
    layer.created_at.as_ref().filter(|time| *time != ZERO_TIME)
}

/// Whether Go reads an RFC 3339 time from JSON: a small letter or a leap
/// second, and it refuses the whole config. As an annotation, such a time does
/// no harm.
fn go_reads(time: &str) -> bool {
    let time = time.as_bytes();
    time.get(10) == Some(&b'T') && time.last() != Some(&b'z') && time.get(17..19) != Some(b"60")
}

/// Reads the cache in an image: `layers` of its manifest, and its config. None
/// where the image has none; `Err` says what is wrong.
pub(super) fn read(layers: &[Descriptor], config: &[u8]) -> Result<Option<Manifest>, String> {
    let config: ConfigIn = go_json::object(config).map_err(|error| error.to_string())?;
    let Some(records) = config.cache else {
        return Ok(None);
    };
    let (have, want) = (config.rootfs.diff_ids.len(), layers.len());
    if have != want {
        return Err(format!(
            "it has the diff IDs of {have} layers, but the manifest has {want} layers"
        ));
    }
    // Go leaves line ends out.
    let records: Vec<u8> = records.bytes().filter(|b| !b"\r\n".contains(b)).collect();
    let records = STANDARD
        .decode(records)
        .map_err(|error| error.to_string())
        .and_then(|json| String::from_utf8(json).map_err(|error| error.to_string()))
        .map_err(|error| {
            format!("its `moby.buildkit.cache.v0` is not the base64 of JSON: {error}")
        })?;
    let claims = layers.iter().enumerate();
    let claims = claims.filter_map(|(index, layer)| {
        let parent = layer.annotations.get(PARENT)?;
        Some(claim(index, parent).ok_or_else(|| format!("layer {index} lies on layer `{parent}`")))
    });
    let claims: Vec<Claim> = claims.collect::<Result<_, _>>()?;
    let (placed, records) =
        records::without_chains(&records, want, &claims).map_err(|error| error.to_string())?;
    let mut dates = config
        .history
        .into_iter()
        .filter(|layer| !layer.empty_layer);
    let dates: Vec<_> = layers
        .iter()
        .map(|layer| {
            let created = dates.next().and_then(|layer| layer.created);
            created
                .or_else(|| layer.annotations.get(CREATED_AT).cloned())
                .filter(|time| time != ZERO_TIME)
        })
        .collect();
    let layers = placed.into_iter().map(|placed| {
        let layer = &layers[placed.flat];
        let media_type = &layer.media_type;
        Layer {
            blob: layer.digest.clone(),
            size: layer.size,
            media_type: oci_media_type(media_type).unwrap_or(media_type).to_owned(),
            diff_id: config.rootfs.diff_ids[placed.flat].clone(),
            created_at: dates[placed.flat].clone(),
            parent: placed.parent,
        }
    });
    Ok(Some(Manifest {
        layers: layers.collect(),
        records,
    }))
}

fn claim(layer: usize, parent: &str) -> Option<Claim> {
    match parent {
        "-1" => Some((layer, None)),
        parent => Some((layer, Some(parent.parse().ok()?))),
    }
}
