//! BuildKit's Azure Blob Storage cache (`type=azblob`) as a component of the
//! contract in `wit/`.
//!
//! From the outside in: this file turns the contract's types into ours and
//! back; `cache` is export, import, read and inventory; `blob` is the Blob
//! service; `credential` signs; `transport` is the way out. `config` reads
//! what the user gave.
//!
//! Everything but this file and `transport::wasi` is plain Rust, and is
//! tested natively. Layers stream past: their bytes never enter the
//! component's memory.

mod blob;
mod cache;
mod config;
mod credential;
mod digest;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod secret;
mod side_by_side;
mod transport;

/// The contract's types and functions, generated from `wit/`.
mod bindings {
    wit_bindgen::generate!({ world: "cache-backend", path: "wit" });
}

use std::rc::Rc;

use bindings::exports::build_cache::plugin::{backend, inventory};
use bindings::{wit_future, wit_stream};
use wit_bindgen::{FutureReader, StreamReader};

use cache::manifest::{Layer, Manifest};
use cache::{Cache, Kind, Reading};
use config::Config;
use digest::Digest;
use error::Error;
use transport::wasi::{self, Wasi};

/// The component.
struct Component;

/// An open cache, which calls that still run keep alive.
struct OpenCache(Rc<Cache<Wasi>>);

impl backend::Guest for Component {
    type Cache = OpenCache;

    fn describe() -> backend::Description {
        let attributes = config::ATTRIBUTES.iter();
        let variables = config::VARIABLES.iter();
        backend::Description {
            type_: "azblob".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            attributes: attributes
                .map(|attribute| backend::Attribute {
                    name: attribute.name.to_owned(),
                    description: attribute.description.to_owned(),
                    default: attribute.default.map(str::to_owned),
                    required: attribute.required,
                    secret: attribute.secret,
                })
                .collect(),
            environment: variables
                .map(|variable| backend::Variable {
                    name: variable.name.to_owned(),
                    description: variable.description.to_owned(),
                    secret: variable.secret,
                    file: variable.file,
                })
                .collect(),
            authorities: credential::AUTHORITIES.map(str::to_owned).into(),
            files: credential::FILES.map(str::to_owned).into(),
        }
    }

    fn authorities(attributes: Vec<(String, String)>) -> Result<Vec<String>, backend::Error> {
        let config = Config::parse(attributes, environment())?;
        let mut authorities = vec![config.account_url.authority.clone()];
        authorities.extend(config.access.authorities());
        Ok(authorities)
    }
}

impl backend::GuestCache for OpenCache {
    async fn open(attributes: Vec<(String, String)>) -> Result<backend::Cache, backend::Error> {
        let config = Config::parse(attributes, environment())?;
        let cache = Cache::open(Wasi, config)?;
        cache.prepare().await?;
        Ok(backend::Cache::new(OpenCache(Rc::new(cache))))
    }

    async fn export(
        &self,
        manifest: backend::Manifest,
    ) -> Result<backend::ExportSummary, backend::Error> {
        let summary = self.0.export(manifest_from(manifest)?).await?;
        Ok(backend::ExportSummary {
            layers_stored: summary.layers_stored,
            layers_reused: summary.layers_reused,
            bytes_stored: summary.bytes_stored,
            requests: summary.requests,
            retries: summary.retries,
        })
    }

    async fn import(&self) -> Result<Vec<backend::Imported>, backend::Error> {
        let imported = self.0.import().await?.into_iter();
        Ok(imported
            .map(|imported| backend::Imported {
                name: imported.name,
                outcome: imported
                    .outcome
                    .map(|loaded| backend::Loaded {
                        manifest: manifest_to(loaded.manifest),
                        missing: loaded.missing.iter().map(Digest::to_string).collect(),
                    })
                    .map_err(backend::Error::from),
            })
            .collect())
    }

    async fn read(
        &self,
        blob: String,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Option<wasi::Outgoing>, backend::Error> {
        let digest = digest_from(&blob)?;
        Ok(match self.0.read(digest, offset, length).await? {
            Reading::Absent => None,
            Reading::Nothing => Some(wasi::nothing()),
            Reading::Bytes(body) => Some(body.hand_on(self.0.describe(digest))),
        })
    }

    async fn check(&self) -> Result<backend::Access, backend::Error> {
        let checked = self.0.check().await?;
        let attempts = checked.attempts.into_iter();
        Ok(backend::Access {
            credential: checked.credential,
            store: checked.store,
            attempts: attempts
                .map(|(what, outcome)| backend::Attempt {
                    what: what.to_owned(),
                    outcome: outcome.map_err(backend::Error::from),
                })
                .collect(),
        })
    }
}

/// A listing, as the contract returns it.
type Listed<I> = (StreamReader<I>, FutureReader<Result<(), backend::Error>>);

impl inventory::Guest for Component {
    async fn manifests(
        cache: inventory::CacheBorrow<'_>,
    ) -> Result<Listed<inventory::ManifestInfo>, backend::Error> {
        list(cache, Kind::Manifests, |found| inventory::ManifestInfo {
            name: found.name,
            size: found.size,
            modified: found.modified,
            version: found.version,
        })
        .await
    }

    async fn blobs(
        cache: inventory::CacheBorrow<'_>,
    ) -> Result<Listed<inventory::BlobInfo>, backend::Error> {
        list(cache, Kind::Blobs, |found| inventory::BlobInfo {
            blob: found.name,
            size: found.size,
            modified: found.modified,
            version: found.version,
        })
        .await
    }

    async fn remove_blob(
        cache: inventory::CacheBorrow<'_>,
        info: inventory::BlobInfo,
    ) -> Result<bool, backend::Error> {
        let digest = digest_from(&info.blob)?;
        let cache = &cache.get::<OpenCache>().0;
        Ok(cache.remove_blob(digest, &info.version).await?)
    }

    async fn remove_manifest(
        cache: inventory::CacheBorrow<'_>,
        info: inventory::ManifestInfo,
    ) -> Result<bool, backend::Error> {
        let cache = &cache.get::<OpenCache>().0;
        Ok(cache.remove_manifest(&info.name, &info.version).await?)
    }
}

/// Begins a listing, whose first part tells whether there can be one, and
/// leaves the rest to a task that goes on as fast as the host takes it.
async fn list<I: wit_stream::StreamPayload>(
    cache: inventory::CacheBorrow<'_>,
    kind: Kind,
    item: fn(cache::Found) -> I,
) -> Result<Listed<I>, backend::Error> {
    let cache = Rc::clone(&cache.get::<OpenCache>().0);
    let mut listing = cache.list(kind).await?;
    let (mut items, to_host) = wit_stream::new();
    let (verdict, outcome) = wit_future::new(|| Ok(()));
    wit_bindgen::spawn_local(async move {
        let ended = loop {
            let found = listing.take().into_iter().map(item).collect();
            if !items.write_all(found).await.is_empty() {
                break Ok(()); // The host wants no more.
            }
            match cache.list_more(&mut listing).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        drop(items);
        // The host may not care how it ended.
        let _ = verdict.write(ended).await;
    });
    Ok((to_host, outcome))
}

/// The variables that the host lets us see.
fn environment() -> Vec<(String, String)> {
    wasip3::cli::environment::get_environment()
}

fn digest_from(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|_| {
        Error::Other(format!(
            "`{text}` is not a digest: it must be `sha256:` and 64 lowercase hex digits"
        ))
    })
}

fn manifest_from(manifest: backend::Manifest) -> Result<Manifest, Error> {
    let layers = manifest.layers.into_iter().map(|layer| {
        Ok(Layer {
            blob: digest_from(&layer.blob)?,
            size: layer.size,
            media_type: layer.media_type,
            diff_id: digest_from(&layer.diff_id)?,
            created_at: layer.created_at,
            parent: layer.parent,
        })
    });
    Ok(Manifest {
        layers: layers.collect::<Result<_, Error>>()?,
        records: manifest.records,
    })
}

fn manifest_to(manifest: Manifest) -> backend::Manifest {
    let layers = manifest.layers.into_iter();
    backend::Manifest {
        layers: layers
            .map(|layer| bindings::build_cache::plugin::types::Layer {
                blob: layer.blob.to_string(),
                size: layer.size,
                media_type: layer.media_type,
                diff_id: layer.diff_id.to_string(),
                created_at: layer.created_at,
                parent: layer.parent,
            })
            .collect(),
        records: manifest.records,
    }
}

impl From<Error> for backend::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidAttribute { name, reason } => {
                Self::InvalidAttribute(bindings::build_cache::plugin::types::AttributeError {
                    name,
                    reason,
                })
            }
            Error::Unauthenticated(text) => Self::Unauthenticated(text),
            Error::Forbidden(text) => Self::Forbidden(text),
            Error::Unavailable(text) => Self::Unavailable(text),
            Error::Corrupt(text) => Self::Corrupt(text),
            Error::Content(text) => Self::Content(text),
            Error::Other(text) => Self::Other(text),
        }
    }
}

#[cfg(target_family = "wasm")]
bindings::export!(Component with_types_in bindings);

/// Exports have names that only a component can have. Natively, where the
/// tests run, they are merely checked.
#[cfg(not(target_family = "wasm"))]
const _: () = {
    const fn exports<T: backend::Guest + inventory::Guest>() {}
    exports::<Component>();
};
