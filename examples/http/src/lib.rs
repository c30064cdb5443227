//! A cache backend for any HTTP server that takes PUT, GET, HEAD and DELETE:
//! `type=http,url=https://host/path/`. Small on purpose, to copy from when
//! writing one; `examples/README.md` is its guide.
//!
//! This room is the contract's world: each call of a cache, step by step;
//! `single` is the part of it that deals with single layers and names. `config`
//! knows what the user gave, `layout` what lies where on the server,
//! `server` what can be asked of it, `wire` how a request travels; `check` tries
//! what may be done there.

mod check;
mod config;
mod layout;
mod server;
mod single;
mod wire;

/// The contract in Rust. Its manifest is also what is stored, as JSON.
#[allow(missing_docs, reason = "the contract documents itself")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "cache-backend",
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Plugin with_types_in bindings);

use std::collections::BTreeMap;

use bindings::build_cache::plugin::events::{Event, emit};
use bindings::build_cache::plugin::types::{CallId, Error, Layer, Manifest};
use bindings::exports::build_cache::plugin::backend::{self, CacheBorrow, Description};
use bindings::exports::build_cache::plugin::backend::{Access, ExportSummary, Imported, Loaded};
use bindings::exports::build_cache::plugin::inventory::{self, BlobInfo, ManifestInfo};
use futures::stream::{self, StreamExt, TryStreamExt};
use wasip3::cli::environment::get_environment;
use wasip3::random::random::get_random_u64;
use wit_bindgen::{FutureReader, StreamReader};

use config::Config;
use layout::{layer_path, manifest_path, write_manifest};
use server::Server;
use single::find;

struct Plugin;

/// A cache: all that is kept between calls is what the user gave.
struct Cache(Config);

impl backend::Guest for Plugin {
    type Cache = Cache;

    fn describe() -> Description {
        Description {
            type_: "http".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            attributes: config::attributes(),
            environment: config::variables(),
            authorities: Vec::new(),
            files: Vec::new(),
        }
    }

    fn authorities(attributes: Vec<(String, String)>) -> Result<Vec<String>, Error> {
        let config = Config::new(&attributes, &get_environment())?;
        Ok(vec![config.authority.to_string()])
    }
}

impl backend::GuestCache for Cache {
    async fn open(_: CallId, attributes: Vec<(String, String)>) -> Result<backend::Cache, Error> {
        let config = Config::new(&attributes, &get_environment())?;
        Ok(backend::Cache::new(Cache(config)))
    }

    async fn export(&self, call: CallId, manifest: Manifest) -> Result<ExportSummary, Error> {
        let server = Server::new(&self.0, call);
        let mut summary = ExportSummary {
            layers_stored: 0,
            layers_reused: 0,
            bytes_stored: 0,
            requests: 0,
            retries: 0,
        };
        // The first failure ends the export, and with it what is under way.
        let layers = blobs(&manifest);
        let mut layers = stream::iter(
            layers
                .values()
                .map(|layer| store(&server, &layer.blob, layer.size)),
        )
        .buffer_unordered(self.0.parallelism);
        while let Some((size, was_sent)) = layers.try_next().await? {
            if was_sent {
                summary.layers_stored += 1;
                summary.bytes_stored += size;
            } else {
                summary.layers_reused += 1;
            }
        }
        // Every layer is durable; only now may a name say so.
        let bytes = write_manifest(&manifest)?;
        for name in &self.0.names {
            server.put(&manifest_path(name), &bytes).await?;
            emit(call, &Event::ManifestStored(name.clone()));
        }
        summary.requests = server.requests.get();
        summary.retries = server.retries.get();
        Ok(summary)
    }

    async fn import(&self, call: CallId) -> Result<Vec<Imported>, Error> {
        let server = Server::new(&self.0, call);
        let mut imported = Vec::new();
        for name in &self.0.names {
            let outcome = match load(&server, name).await {
                Ok(Some(loaded)) => Ok(loaded),
                Ok(None) => continue,
                // What is wrong with this name alone leaves the others usable.
                Err(error @ (Error::Corrupt(_) | Error::Other(_))) => Err(error),
                Err(error) => return Err(error),
            };
            imported.push(Imported {
                name: name.clone(),
                outcome,
            });
        }
        Ok(imported)
    }

    async fn check(&self, call: CallId) -> Result<Access, Error> {
        Ok(check::check(&self.0, call, get_random_u64()).await)
    }
}

/// The layers by their blobs, each of which is one file wherever it lies in the
/// cache.
fn blobs(manifest: &Manifest) -> BTreeMap<&str, &Layer> {
    let layers = manifest.layers.iter();
    layers.map(|layer| (&*layer.blob, layer)).collect()
}

/// Stores a layer where it is missing, and tells the host. The layer's size, and
/// whether it had to be sent.
async fn store(server: &Server<'_>, blob: &str, size: u64) -> Result<(u64, bool), Error> {
    let path = layer_path(blob)?;
    let was_sent = server.store_layer(&path, blob, size).await?;
    let event = match was_sent {
        true => Event::LayerStored(blob.to_owned()),
        false => Event::LayerReused(blob.to_owned()),
    };
    emit(server.call, &event);
    Ok((size, was_sent))
}

/// Loads the manifest of a name, and asks which of its layers are lost. None if
/// the name does not exist.
async fn load(server: &Server<'_>, name: &str) -> Result<Option<Loaded>, Error> {
    let Some((manifest, _)) = single::load(server, name).await? else {
        return Ok(None);
    };
    let layers = blobs(&manifest);
    let found = find(server, layers.keys().copied()).await?;
    let missing = layers.values().zip(found);
    let missing = missing
        .filter(|(layer, found)| !single::is_stored(found.as_ref(), layer.size))
        .map(|(layer, _)| layer.blob.clone())
        .collect();
    Ok(Some(Loaded { manifest, missing }))
}

type Listing<T> = (StreamReader<T>, FutureReader<Result<(), Error>>);

impl inventory::Guest for Plugin {
    async fn manifests(_: CacheBorrow<'_>, _: CallId) -> Result<Listing<ManifestInfo>, Error> {
        Err(cannot_list())
    }

    async fn blobs(_: CacheBorrow<'_>, _: CallId) -> Result<Listing<BlobInfo>, Error> {
        Err(cannot_list())
    }

    async fn remove_blob(
        cache: CacheBorrow<'_>,
        call: CallId,
        info: BlobInfo,
    ) -> Result<bool, Error> {
        let server = Server::new(&cache.get::<Cache>().0, call);
        server
            .remove(&layer_path(&info.blob)?, info.size, &info.version)
            .await
    }

    async fn remove_manifest(
        cache: CacheBorrow<'_>,
        call: CallId,
        info: ManifestInfo,
    ) -> Result<bool, Error> {
        let server = Server::new(&cache.get::<Cache>().0, call);
        server
            .remove(&manifest_path(&info.name), info.size, &info.version)
            .await
    }
}

fn cannot_list() -> Error {
    Error::Unsupported("HTTP has no way to list what a server holds; look at its own files".into())
}
