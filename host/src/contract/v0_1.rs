//! Components of the contract 0.1 in a host of 0.2: their imports, answered as
//! those of 0.2 are, and their answers in 0.2's types. The calls that 0.1 does
//! not have end with `unsupported`. Its events and its requests for content do
//! not say which call they are of.

use wasmtime::AsContextMut;
use wasmtime::component::{
    Access, Accessor, FutureReader, HasData, Linker, ResourceAny, StreamReader,
};

use super::Contract;
use crate::bindings::build_cache::plugin as new;
use crate::bindings::exports::build_cache::plugin as new_exports;
use crate::bindings::v0_1::CacheBackend;
use crate::bindings::v0_1::build_cache::plugin::{content, events, files, identity, types};
use crate::bindings::v0_1::exports::build_cache::plugin::{backend, inventory};
use crate::instance::{Answer, Job};
use crate::listener::NO_CALL;
use crate::receive;
use crate::state::{self, Imports, State};

/// Links what the contract 0.1 lets a backend import of its own package.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<State, OldImports>(linker, |state| state)?;
    content::add_to_linker::<State, OldImports>(linker, |state| state)?;
    events::add_to_linker::<State, OldImports>(linker, |state| state)?;
    identity::add_to_linker::<State, OldImports>(linker, |state| state)?;
    files::add_to_linker::<State, OldImports>(linker, |state| state)
}

/// The imports of 0.1, answered from a [`State`].
struct OldImports;

impl HasData for OldImports {
    type Data<'a> = &'a mut State;
}

impl types::Host for State {}
impl content::Host for State {}

impl content::HostWithStore<State> for OldImports {
    fn read(
        mut host: Access<'_, State, Self>,
        blob: String,
        offset: u64,
        length: u64,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Result<(), types::Error>>)> {
        let (stream, ended) = state::lend(host.as_context_mut(), NO_CALL, &blob, offset, length)?;
        let outcome = FutureReader::new(&mut host, async move {
            Ok::<_, wasmtime::Error>(ended.await.map_err(types::Error::Content))
        })?;
        Ok((stream, outcome))
    }
}

impl events::Host for State {
    fn emit(&mut self, event: events::Event) -> wasmtime::Result<()> {
        self.listener.told(NO_CALL, event.into());
        Ok(())
    }
}

impl identity::Host for State {}

impl identity::HostWithStore<State> for OldImports {
    async fn get_token(
        host: &Accessor<State, Self>,
        scope: String,
    ) -> wasmtime::Result<Result<Option<identity::AccessToken>, String>> {
        let given = <Imports as new::identity::HostWithStore<State>>::get_token(
            &host.with_getter::<Imports>(|state| state),
            scope,
        )
        .await?;
        Ok(given.map(|given| {
            given.map(|given| identity::AccessToken {
                token: given.token,
                expires_at: given.expires_at,
            })
        }))
    }
}

impl files::Host for State {}

impl files::HostWithStore<State> for OldImports {
    async fn read(
        host: &Accessor<State, Self>,
        path: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, String>> {
        <Imports as new::files::HostWithStore<State>>::read(
            &host.with_getter::<Imports>(|state| state),
            path,
        )
        .await
    }
}

/// Runs one call.
pub(super) async fn run(
    backend: &CacheBackend,
    accessor: &Accessor<State>,
    cache: ResourceAny,
    job: Job,
) -> wasmtime::Result<()> {
    let caches = backend.build_cache_plugin_backend().cache();
    let inventory = backend.build_cache_plugin_inventory();
    match job {
        Job::Export(manifest, reply) => {
            let exported = caches.call_export(accessor, cache, manifest.into());
            let _ = reply.send(in_new_terms(exported.await?));
        }
        Job::Import(reply) => {
            let imported = caches.call_import(accessor, cache).await?;
            let imported = imported.map(|all| all.into_iter().map(Into::into).collect());
            let _ = reply.send(imported.map_err(Into::into));
        }
        Job::Check(reply) => {
            let checked = caches.call_check(accessor, cache).await?;
            let _ = reply.send(in_new_terms(checked));
        }
        Job::Read {
            blob,
            offset,
            length,
            reply,
        } => {
            let read = caches.call_read(accessor, cache, blob.clone(), offset, length);
            let answer = match read.await? {
                Ok(Some((stream, outcome))) => {
                    Ok(Some(accessor.with(|store| {
                        receive::bytes(store, &blob, stream, outcome)
                    })?))
                }
                Ok(None) => Ok(None),
                Err(error) => Err(error.into()),
            };
            let _ = reply.send(answer);
        }
        Job::Manifests(reply) => {
            let answer = match inventory.call_manifests(accessor, cache).await? {
                Ok((stream, outcome)) => Ok(accessor
                    .with(|store| receive::items(store, stream, outcome))?
                    .map(new_exports::inventory::ManifestInfo::from)),
                Err(error) => Err(error.into()),
            };
            let _ = reply.send(answer);
        }
        Job::Blobs(reply) => {
            let answer = match inventory.call_blobs(accessor, cache).await? {
                Ok((stream, outcome)) => Ok(accessor
                    .with(|store| receive::items(store, stream, outcome))?
                    .map(new_exports::inventory::BlobInfo::from)),
                Err(error) => Err(error.into()),
            };
            let _ = reply.send(answer);
        }
        Job::RemoveManifest(info, reply) => {
            let removed = inventory.call_remove_manifest(accessor, cache, info.into());
            let _ = reply.send(in_new_terms(removed.await?));
        }
        Job::RemoveBlob(info, reply) => {
            let removed = inventory.call_remove_blob(accessor, cache, info.into());
            let _ = reply.send(in_new_terms(removed.await?));
        }
        Job::Find(_, reply) => drop(reply.send(unsupported("find layers"))),
        Job::Store { reply, .. } => drop(reply.send(unsupported("store single layers"))),
        Job::Touch(_, reply) => drop(reply.send(unsupported("touch layers"))),
        Job::ConfiguredNames(reply) => drop(reply.send(unsupported("report its names"))),
        Job::Load(_, reply) => drop(reply.send(unsupported("load single names"))),
        Job::Publish(_, reply) => drop(reply.send(unsupported("publish a manifest alone"))),
    }
    Ok(())
}

/// What a call answers that 0.1 does not have.
fn unsupported<T>(what: &str) -> Answer<T> {
    Err(new::types::Error::Unsupported(format!(
        "the plugin speaks version {} of the contract, which has no way to {what}; use a plugin \
         that was built for version {}",
        Contract::V0_1,
        Contract::V0_2
    )))
}

fn in_new_terms<T, U: From<T>>(answer: Result<T, types::Error>) -> Answer<U> {
    answer.map(Into::into).map_err(Into::into)
}

impl From<types::Error> for new::types::Error {
    fn from(old: types::Error) -> Self {
        match old {
            types::Error::InvalidAttribute(old) => {
                Self::InvalidAttribute(new::types::AttributeError {
                    name: old.name,
                    reason: old.reason,
                })
            }
            types::Error::Unauthenticated(text) => Self::Unauthenticated(text),
            types::Error::Forbidden(text) => Self::Forbidden(text),
            types::Error::Unavailable(text) => Self::Unavailable(text),
            types::Error::Corrupt(text) => Self::Corrupt(text),
            types::Error::Content(text) => Self::Content(text),
            types::Error::Other(text) => Self::Other(text),
        }
    }
}

impl From<events::Event> for new::events::Event {
    fn from(old: events::Event) -> Self {
        match old {
            events::Event::LayerReused(blob) => Self::LayerReused(blob),
            events::Event::LayerStarted(blob) => Self::LayerStarted(blob),
            events::Event::LayerStored(blob) => Self::LayerStored(blob),
            events::Event::ManifestStored(name) => Self::ManifestStored(name),
            events::Event::Retrying(old) => Self::Retrying(new::events::Retry {
                request: old.request,
                reason: old.reason,
                attempt: old.attempt,
                delay_milliseconds: old.delay_milliseconds,
            }),
            events::Event::Warning(text) => Self::Warning(text),
        }
    }
}

impl From<new::types::Manifest> for types::Manifest {
    fn from(new: new::types::Manifest) -> Self {
        let layers = new.layers.into_iter().map(|layer| types::Layer {
            blob: layer.blob,
            size: layer.size,
            media_type: layer.media_type,
            diff_id: layer.diff_id,
            created_at: layer.created_at,
            parent: layer.parent,
        });
        Self {
            layers: layers.collect(),
            records: new.records,
        }
    }
}

impl From<types::Manifest> for new::types::Manifest {
    fn from(old: types::Manifest) -> Self {
        let layers = old.layers.into_iter().map(|layer| new::types::Layer {
            blob: layer.blob,
            size: layer.size,
            media_type: layer.media_type,
            diff_id: layer.diff_id,
            created_at: layer.created_at,
            parent: layer.parent,
        });
        Self {
            layers: layers.collect(),
            records: old.records,
        }
    }
}

impl From<backend::Description> for new_exports::backend::Description {
    fn from(old: backend::Description) -> Self {
        let attributes = old.attributes.into_iter();
        let environment = old.environment.into_iter();
        Self {
            type_: old.type_,
            version: old.version,
            attributes: attributes
                .map(|old| new_exports::backend::Attribute {
                    name: old.name,
                    description: old.description,
                    default: old.default,
                    required: old.required,
                    secret: old.secret,
                })
                .collect(),
            environment: environment
                .map(|old| new_exports::backend::Variable {
                    name: old.name,
                    description: old.description,
                    secret: old.secret,
                    file: old.file,
                })
                .collect(),
            authorities: old.authorities,
            files: old.files,
        }
    }
}

impl From<backend::ExportSummary> for new_exports::backend::ExportSummary {
    fn from(old: backend::ExportSummary) -> Self {
        Self {
            layers_stored: old.layers_stored,
            layers_reused: old.layers_reused,
            bytes_stored: old.bytes_stored,
            requests: old.requests,
            retries: old.retries,
        }
    }
}

impl From<backend::Imported> for new_exports::backend::Imported {
    fn from(old: backend::Imported) -> Self {
        let loaded = |old: backend::Loaded| new_exports::backend::Loaded {
            manifest: old.manifest.into(),
            missing: old.missing,
        };
        Self {
            name: old.name,
            outcome: old.outcome.map(loaded).map_err(Into::into),
        }
    }
}

impl From<backend::Access> for new_exports::backend::Access {
    fn from(old: backend::Access) -> Self {
        let attempts = old.attempts.into_iter();
        Self {
            credential: old.credential,
            store: old.store,
            attempts: attempts
                .map(|old| new_exports::backend::Attempt {
                    what: old.what,
                    outcome: old.outcome.map_err(Into::into),
                })
                .collect(),
        }
    }
}

impl From<inventory::ManifestInfo> for new_exports::inventory::ManifestInfo {
    fn from(old: inventory::ManifestInfo) -> Self {
        Self {
            name: old.name,
            size: old.size,
            modified: old.modified,
            used: None,
            version: old.version,
        }
    }
}

impl From<new_exports::inventory::ManifestInfo> for inventory::ManifestInfo {
    fn from(new: new_exports::inventory::ManifestInfo) -> Self {
        Self {
            name: new.name,
            size: new.size,
            modified: new.modified,
            version: new.version,
        }
    }
}

impl From<inventory::BlobInfo> for new_exports::inventory::BlobInfo {
    fn from(old: inventory::BlobInfo) -> Self {
        Self {
            blob: old.blob,
            size: old.size,
            modified: old.modified,
            used: None,
            version: old.version,
        }
    }
}

impl From<new_exports::inventory::BlobInfo> for inventory::BlobInfo {
    fn from(new: new_exports::inventory::BlobInfo) -> Self {
        Self {
            blob: new.blob,
            size: new.size,
            modified: new.modified,
            version: new.version,
        }
    }
}
