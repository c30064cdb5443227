//! The JSON of a cache directory, and the map between it and a [`Manifest`].
//!
//! A cache is two blobs: a config (BuildKit's `CacheConfig`: which layer lies
//! on which, and the records) and a manifest (where the layers' sizes, media
//! types and diff IDs stand). What is written here is BuildKit's to the byte:
//! the order of the fields is Go's, and so is the escaping. That is why the
//! types are our own: those of `oci-spec` keep annotations in a hash map, and
//! two of them would come out in any order, under another digest each time.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::usable::LeftOut;
use crate::manifest::oci_media_type;
use crate::records::go_json::{self, Go, go_struct};
use crate::records::is_rfc3339;
use crate::{Digest, InvalidDigest, Layer, Manifest};

/// The media type of a cache's config.
pub(super) const CONFIG_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The media type of the manifest that is written.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of `index.json`.
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// What `oci-layout` says.
pub(super) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

pub(super) const CREATED_AT: &str = "buildkit/createdat";
const DIFF_ID: &str = "containerd.io/uncompressed";
/// Go's zero time, which BuildKit's stores write where there is none.
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// What points to a blob.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Go<AnyDescriptor>")]
pub(super) struct Descriptor {
    #[serde(rename = "mediaType")]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What points to something, as somebody wrote it: it may be of no use.
#[derive(Debug, Clone, Default)]
pub(super) struct AnyDescriptor {
    pub media_type: String,
    pub digest: String,
    pub size: i64,
    pub annotations: BTreeMap<String, String>,
}
go_struct!(AnyDescriptor {
    media_type: "mediaType",
    digest: "digest",
    size: "size",
    annotations: "annotations",
});

/// Why a descriptor points to no blob.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoBlob {
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    #[error("it has the size {0}")]
    Size(i64),
}

impl TryFrom<Go<AnyDescriptor>> for Descriptor {
    type Error = NoBlob;

    fn try_from(Go(any): Go<AnyDescriptor>) -> Result<Self, NoBlob> {
        Ok(Self {
            digest: any.digest.parse()?,
            size: u64::try_from(any.size).map_err(|_| NoBlob::Size(any.size))?,
            media_type: any.media_type,
            annotations: any.annotations,
        })
    }
}

/// Any form of manifest: an image manifest has a config and layers; an index,
/// or Docker's manifest list, lists the layers and the config alike.
#[derive(Default)]
struct AnyManifest {
    config: Option<AnyDescriptor>,
    layers: Option<Vec<AnyDescriptor>>,
    manifests: Option<Vec<AnyDescriptor>>,
}
go_struct!(AnyManifest {
    config: "config",
    layers: "layers",
    manifests: "manifests",
});

#[derive(Serialize)]
pub(super) struct ImageManifest {
    #[serde(rename = "schemaVersion")]
    pub schema_version: u8,
    #[serde(rename = "mediaType")]
    pub media_type: &'static str,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Default, Serialize)]
struct Config {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<ConfigLayer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Box<RawValue>>,
}
go_struct!(Config {
    layers: "layers",
    records: "records"
});

#[derive(Default, Serialize)]
struct ConfigLayer {
    blob: String,
    /// Left out when 0, for so does Go; -1 for a base layer.
    #[serde(skip_serializing_if = "is_zero")]
    parent: i64,
}
go_struct!(ConfigLayer {
    blob: "blob",
    parent: "parent"
});

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A manifest, sorted into the cache's config and layers.
pub(super) struct CacheManifest {
    pub config: Descriptor,
    /// By their digests, as they are written.
    layers: HashMap<String, AnyDescriptor>,
}

/// A cache in which there may be layers that nobody can use.
pub(super) struct Draft {
    /// The replacement of a layer that cannot be used has no more than
    /// its digest.
    pub manifest: Manifest,
    /// These layers, in their order.
    pub unusable: Vec<LeftOut>,
}

impl From<Manifest> for Draft {
    fn from(manifest: Manifest) -> Self {
        Self {
            manifest,
            unusable: Vec::new(),
        }
    }
}

impl CacheManifest {
    /// Reads a manifest of any form. `Err` says what it is instead of a cache,
    /// or what is wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, NotACache> {
        let Go(manifest) = go_json::object::<Go<AnyManifest>>(json).map_err(NotACache::Json)?;
        let (config, layers) = match manifest {
            AnyManifest {
                config: Some(_),
                manifests: Some(_),
                ..
            } => return Err(NotACache::Ambiguous),
            AnyManifest {
                layers: Some(_),
                manifests: Some(_),
                ..
            } => return Err(NotACache::Ambiguous),
            AnyManifest {
                config: Some(config),
                layers,
                ..
            } if config.media_type == CONFIG_TYPE => (config, layers.unwrap_or_default()),
            AnyManifest {
                config: Some(config),
                ..
            } => return Err(NotACache::Image(config.media_type)),
            AnyManifest { manifests, .. } => {
                let (mut configs, layers): (Vec<_>, Vec<_>) = manifests
                    .unwrap_or_default()
                    .into_iter()
                    .partition(|entry| entry.media_type == CONFIG_TYPE);
                (configs.pop().ok_or(NotACache::Index)?, layers)
            }
        };
        let layers = layers
            .into_iter()
            .map(|layer| (layer.digest.clone(), layer))
            .collect();
        let config = Descriptor::try_from(Go(config)).map_err(NotACache::Config)?;
        Ok(Self { config, layers })
    }

    /// The cache, from this manifest and its config. Layers get OCI media
    /// types, as BuildKit gives them when it writes to a store.
    pub fn with_config(&self, config: &[u8]) -> Result<Draft, String> {
        let config = go_json::object::<Go<Config>>(config);
        let Go(config) = config.map_err(|error| error.to_string())?;
        let mut layers = Vec::with_capacity(config.layers.len());
        let mut unusable = Vec::new();
        for (index, layer) in config.layers.iter().enumerate() {
            match self.layer(layer) {
                Ok(found) => layers.push(Layer {
                    parent: layer
                        .parent()
                        .map_err(|why| format!("layer {index}, {}, {why}", layer.blob))?,
                    ..found
                }),
                Err(reason) => {
                    layers.push(placeholder(&layer.blob));
                    unusable.push(LeftOut {
                        layer: index,
                        blob: layer.blob.clone(),
                        reason,
                    });
                }
            }
        }
        let records = config
            .records
            .as_deref()
            .map_or("[]", RawValue::get)
            .to_owned();
        let manifest = Manifest { layers, records };
        Ok(Draft { manifest, unusable })
    }

    /// A layer, all but its parent, or why nobody can use it.
    fn layer(&self, layer: &ConfigLayer) -> Result<Layer, String> {
        let descriptor = self
            .layers
            .get(&layer.blob)
            .ok_or("is not in the manifest")?;
        let described = Descriptor::try_from(Go(descriptor.clone()));
        let described = described.map_err(|error| format!("cannot be used: {error}"))?;
        let diff_id = descriptor.annotations.get(DIFF_ID);
        let diff_id = diff_id.ok_or_else(|| format!("has no `{DIFF_ID}` annotation"))?;
        let created_at = descriptor.annotations.get(CREATED_AT).cloned();
        let media_type = &descriptor.media_type;
        Ok(Layer {
            blob: described.digest,
            size: described.size,
            media_type: oci_media_type(media_type).unwrap_or(media_type).to_owned(),
            diff_id: diff_id
                .parse()
                .map_err(|error| format!("has a wrong `{DIFF_ID}`: {error}"))?,
            // Nothing depends on it.
            created_at: created_at.filter(|time| is_rfc3339(time)),
            parent: None,
        })
    }
}

impl ConfigLayer {
    /// The layer below, as far as there can be one with this index.
    fn parent(&self) -> Result<Option<u32>, String> {
        match self.parent {
            -1 => Ok(None),
            parent => match u32::try_from(parent) {
                Ok(parent) => Ok(Some(parent)),
                Err(_) => Err(format!("lies on layer {parent}")),
            },
        }
    }
}

/// The replacement of a layer that cannot be used, so that those that
/// lie on it find it. What it lies on itself does not matter.
fn placeholder(blob: &str) -> Layer {
    let blob: Digest = blob.parse().unwrap_or_else(|_| Digest::of(blob.as_bytes()));
    Layer {
        diff_id: blob.clone(),
        blob,
        size: 1,
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        created_at: None,
        parent: None,
    }
}

/// Why JSON is not the manifest of a cache.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotACache {
    #[error("it is not a manifest: {0}")]
    Json(#[source] serde_json::Error),
    #[error("it is a manifest and an index at once")]
    Ambiguous,
    #[error("its config cannot be found: {0}")]
    Config(#[source] NoBlob),
    #[error("an image, or something else with a config of type `{0}`")]
    Image(String),
    #[error("an index without a cache's config, as an image for several platforms has")]
    Index,
}

/// The config blob of a cache.
pub(super) fn config_json(manifest: &Manifest) -> serde_json::Result<String> {
    let layers = manifest.layers.iter().map(|layer| ConfigLayer {
        blob: layer.blob.to_string(),
        parent: layer.parent.map_or(-1, i64::from),
    });
    let records = RawValue::from_string(manifest.records.clone())?;
    let no_records = serde_json::from_str::<Option<Vec<&RawValue>>>(records.get())?
        .is_none_or(|list| list.is_empty());
    go_json::to_string(&Config {
        layers: layers.collect(),
        records: (!no_records).then_some(records),
    })
}

/// The manifest blob of a cache: always an OCI image manifest, BuildKit's
/// default form.
pub(super) fn manifest_json(manifest: &Manifest, config: Descriptor) -> serde_json::Result<String> {
    let layers = manifest.layers.iter().map(|layer| {
        let mut annotations = BTreeMap::from([(DIFF_ID.to_owned(), layer.diff_id.to_string())]);
        if let Some(time) = layer
            .created_at
            .as_deref()
            .filter(|time| *time != ZERO_TIME)
        {
            annotations.insert(CREATED_AT.to_owned(), time.to_owned());
        }
        let media_type = oci_media_type(&layer.media_type)
            .unwrap_or(&layer.media_type)
            .to_owned();
        Descriptor {
            media_type,
            digest: layer.blob.clone(),
            size: layer.size,
            annotations,
        }
    });
    let layers = layers.collect();
    go_json::to_string(&ImageManifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE,
        config,
        layers,
    })
}

/// The descriptor of a blob that is `json`.
pub(super) fn describe(json: &str, media_type: &str) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(json.as_bytes()),
        size: json.len() as u64,
        annotations: BTreeMap::new(),
    }
}
