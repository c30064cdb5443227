//! A cache backend of the contract 0.1, built against its frozen text and never
//! changed again: it shows that a newer host runs what was published before. Its
//! store is the memory of its instance, so that it needs no server.

/// The contract 0.1 in Rust.
#[allow(missing_docs, reason = "the contract documents itself")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit/frozen/0.1.0", world: "cache-backend" });
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Plugin with_types_in bindings);

use std::cell::RefCell;
use std::collections::BTreeMap;

use bindings::build_cache::plugin::content;
use bindings::build_cache::plugin::events::{Event, emit};
use bindings::build_cache::plugin::types::{AttributeError, Error, Manifest};
use bindings::exports::build_cache::plugin::backend::{
    self, Access, Attempt, Attribute, CacheBorrow, Description, ExportSummary, Imported, Loaded,
};
use bindings::exports::build_cache::plugin::inventory::{self, BlobInfo, ManifestInfo};
use bindings::{wit_future, wit_stream};
use wit_bindgen::{FutureReader, StreamReader};

/// The one version that anything here has.
const VERSION: &str = "1";

/// The component.
struct Plugin;

/// A cache, and all that is stored in it.
struct Cache {
    name: String,
    layers: RefCell<BTreeMap<String, Vec<u8>>>,
    manifest: RefCell<Option<Manifest>>,
}

/// What is streamed, and whether it was all.
type Streamed<T> = (StreamReader<T>, FutureReader<Result<(), Error>>);

impl backend::Guest for Plugin {
    type Cache = Cache;

    fn describe() -> Description {
        Description {
            type_: "old".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            attributes: vec![Attribute {
                name: "name".into(),
                description: "The name of the cache".into(),
                default: Some("buildkit".into()),
                required: false,
                secret: false,
            }],
            environment: Vec::new(),
            authorities: Vec::new(),
            files: Vec::new(),
        }
    }

    fn authorities(attributes: Vec<(String, String)>) -> Result<Vec<String>, Error> {
        name(attributes).map(|_| Vec::new())
    }
}

impl backend::GuestCache for Cache {
    async fn open(attributes: Vec<(String, String)>) -> Result<backend::Cache, Error> {
        Ok(backend::Cache::new(Self {
            name: name(attributes)?,
            layers: RefCell::default(),
            manifest: RefCell::default(),
        }))
    }

    async fn export(&self, manifest: Manifest) -> Result<ExportSummary, Error> {
        let mut summary = ExportSummary {
            layers_stored: 0,
            layers_reused: 0,
            bytes_stored: 0,
            requests: 0,
            retries: 0,
        };
        for layer in &manifest.layers {
            let blob = layer.blob.clone();
            if self.layers.borrow().contains_key(&blob) {
                summary.layers_reused += 1;
                emit(&Event::LayerReused(blob));
                continue;
            }
            emit(&Event::LayerStarted(blob.clone()));
            let (bytes, outcome) = content::read(&blob, 0, layer.size);
            let bytes = bytes.collect().await;
            outcome.await?;
            self.layers.borrow_mut().insert(blob.clone(), bytes);
            summary.layers_stored += 1;
            summary.bytes_stored += layer.size;
            emit(&Event::LayerStored(blob));
        }
        *self.manifest.borrow_mut() = Some(manifest);
        emit(&Event::ManifestStored(self.name.clone()));
        Ok(summary)
    }

    async fn import(&self) -> Result<Vec<Imported>, Error> {
        let manifest = self.manifest.borrow().clone();
        let imported = manifest.map(|manifest| {
            let layers = self.layers.borrow();
            let blobs = manifest.layers.iter().map(|layer| layer.blob.clone());
            let missing = blobs.filter(|blob| !layers.contains_key(blob)).collect();
            Imported {
                name: self.name.clone(),
                outcome: Ok(Loaded { manifest, missing }),
            }
        });
        Ok(imported.into_iter().collect())
    }

    async fn read(
        &self,
        blob: String,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Option<Streamed<u8>>, Error> {
        let layers = self.layers.borrow();
        let Some(bytes) = layers.get(&blob) else {
            return Ok(None);
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = bytes.get(offset..).unwrap_or_default();
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.unwrap_or(bytes.len()).min(bytes.len());
        Ok(Some(stream(bytes[..length].to_vec())))
    }

    async fn check(&self) -> Result<Access, Error> {
        Ok(Access {
            credential: "none".into(),
            store: "the memory of the plugin".into(),
            attempts: vec![Attempt {
                what: "read".into(),
                outcome: Ok(()),
            }],
        })
    }
}

impl inventory::Guest for Plugin {
    async fn manifests(cache: CacheBorrow<'_>) -> Result<Streamed<ManifestInfo>, Error> {
        let cache = cache.get::<Cache>();
        let manifest = cache.manifest.borrow();
        let infos = manifest.iter().map(|manifest| ManifestInfo {
            name: cache.name.clone(),
            size: manifest.records.len() as u64,
            modified: 0,
            version: VERSION.into(),
        });
        Ok(stream(infos.collect()))
    }

    async fn blobs(cache: CacheBorrow<'_>) -> Result<Streamed<BlobInfo>, Error> {
        let layers = cache.get::<Cache>().layers.borrow();
        let infos = layers.iter().map(|(blob, bytes)| BlobInfo {
            blob: blob.clone(),
            size: bytes.len() as u64,
            modified: 0,
            version: VERSION.into(),
        });
        Ok(stream(infos.collect()))
    }

    async fn remove_blob(cache: CacheBorrow<'_>, info: BlobInfo) -> Result<bool, Error> {
        let mut layers = cache.get::<Cache>().layers.borrow_mut();
        Ok(info.version == VERSION && layers.remove(&info.blob).is_some())
    }

    async fn remove_manifest(cache: CacheBorrow<'_>, info: ManifestInfo) -> Result<bool, Error> {
        let cache = cache.get::<Cache>();
        if info.version != VERSION || info.name != cache.name {
            return Ok(false);
        }
        Ok(cache.manifest.borrow_mut().take().is_some())
    }
}

/// The cache's name, if no other attribute is given.
fn name(attributes: Vec<(String, String)>) -> Result<String, Error> {
    let mut name = "buildkit".to_owned();
    for (attribute, value) in attributes {
        if attribute != "name" {
            return Err(Error::InvalidAttribute(AttributeError {
                name: attribute,
                reason: "unknown; old has only name".into(),
            }));
        }
        name = value;
    }
    Ok(name)
}

/// Streams items from memory, as fast as the host takes them.
fn stream<T: wit_stream::StreamPayload>(items: Vec<T>) -> Streamed<T> {
    let (mut writer, reader) = wit_stream::new();
    let (verdict, outcome) = wit_future::new(|| Ok(()));
    wit_bindgen::spawn_local(async move {
        // What is left over, the host did not want.
        writer.write_all(items).await;
        drop(writer);
        let _ = verdict.write(Ok(())).await;
    });
    (reader, outcome)
}
