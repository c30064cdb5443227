//! One instance of a plugin of either version of the contract, called in the
//! newest one's terms. What the older one does not have ends with `unsupported`.

use wasmtime::Store;
use wasmtime::component::{Accessor, InstancePre, ResourceAny};

use super::{Contract, v0_1};
use crate::bindings::build_cache::plugin::types;
use crate::bindings::exports::build_cache::plugin::backend;
use crate::bindings::{self, CacheBackend, CacheBackendPre};
use crate::instance::Job;
use crate::receive;
use crate::state::State;

/// A component that was linked and checked: it can be instantiated.
#[derive(Clone)]
pub(crate) enum Pre {
    V0_1(bindings::v0_1::CacheBackendPre<State>),
    V0_2(CacheBackendPre<State>),
}

impl Pre {
    /// Checks a linked component against the world of its version.
    pub(crate) fn new(contract: Contract, pre: InstancePre<State>) -> wasmtime::Result<Self> {
        Ok(match contract {
            Contract::V0_1 => Self::V0_1(bindings::v0_1::CacheBackendPre::new(pre)?),
            Contract::V0_2 => Self::V0_2(CacheBackendPre::new(pre)?),
        })
    }

    /// Makes an instance.
    pub(crate) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Backend> {
        Ok(match self {
            Self::V0_1(pre) => Backend::V0_1(pre.instantiate_async(store).await?),
            Self::V0_2(pre) => Backend::V0_2(pre.instantiate_async(store).await?),
        })
    }
}

/// An instance of a plugin.
pub(crate) enum Backend {
    V0_1(bindings::v0_1::CacheBackend),
    V0_2(CacheBackend),
}

type Answer<T> = Result<T, types::Error>;

impl Backend {
    /// What the backend is.
    pub(crate) async fn describe(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<backend::Description> {
        match self {
            Self::V0_1(old) => {
                let old = old.build_cache_plugin_backend();
                old.call_describe(store).await.map(Into::into)
            }
            Self::V0_2(new) => new.build_cache_plugin_backend().call_describe(store).await,
        }
    }

    /// Where a cache with these attributes would send requests.
    pub(crate) async fn authorities(
        &self,
        store: &mut Store<State>,
        attributes: &[(String, String)],
    ) -> wasmtime::Result<Answer<Vec<String>>> {
        match self {
            Self::V0_1(old) => {
                let old = old.build_cache_plugin_backend();
                let answer = old.call_authorities(store, attributes).await?;
                Ok(answer.map_err(Into::into))
            }
            Self::V0_2(new) => {
                let new = new.build_cache_plugin_backend();
                new.call_authorities(store, attributes).await
            }
        }
    }

    /// Opens a cache.
    pub(crate) async fn open(
        &self,
        accessor: &Accessor<State>,
        call: types::CallId,
        attributes: Vec<(String, String)>,
    ) -> wasmtime::Result<Answer<ResourceAny>> {
        match self {
            Self::V0_1(old) => {
                let caches = old.build_cache_plugin_backend().cache();
                let answer = caches.call_open(accessor, attributes).await?;
                Ok(answer.map_err(Into::into))
            }
            Self::V0_2(new) => {
                let caches = new.build_cache_plugin_backend().cache();
                caches.call_open(accessor, call, attributes).await
            }
        }
    }

    /// Runs one call and sends its answer. It is not a failure if the answer is not
    /// awaited any more.
    pub(crate) async fn run(
        &self,
        accessor: &Accessor<State>,
        cache: ResourceAny,
        call: types::CallId,
        job: Job,
    ) -> wasmtime::Result<()> {
        match self {
            Self::V0_1(old) => v0_1::run(old, accessor, cache, job).await,
            Self::V0_2(new) => run(new, accessor, cache, call, job).await,
        }
    }
}

/// Runs one call of the newest contract.
async fn run(
    backend: &CacheBackend,
    accessor: &Accessor<State>,
    cache: ResourceAny,
    call: types::CallId,
    job: Job,
) -> wasmtime::Result<()> {
    let caches = backend.build_cache_plugin_backend().cache();
    let layers = backend.build_cache_plugin_layers();
    let names = backend.build_cache_plugin_names();
    let inventory = backend.build_cache_plugin_inventory();
    match job {
        Job::Export(manifest, reply) => {
            let _ = reply.send(caches.call_export(accessor, cache, call, manifest).await?);
        }
        Job::Import(reply) => {
            let _ = reply.send(caches.call_import(accessor, cache, call).await?);
        }
        Job::Check(reply) => {
            let _ = reply.send(caches.call_check(accessor, cache, call).await?);
        }
        Job::Find(blobs, reply) => {
            let _ = reply.send(layers.call_find(accessor, cache, call, blobs).await?);
        }
        Job::Store { blob, size, reply } => {
            let stored = layers.call_store(accessor, cache, call, blob, size);
            let _ = reply.send(stored.await?);
        }
        Job::Read {
            blob,
            offset,
            length,
            reply,
        } => {
            let read = layers.call_read(accessor, cache, call, blob.clone(), offset, length);
            let answer = match read.await? {
                Ok(Some((stream, outcome))) => {
                    Ok(Some(accessor.with(|store| {
                        receive::bytes(store, &blob, stream, outcome)
                    })?))
                }
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            let _ = reply.send(answer);
        }
        Job::Touch(blobs, reply) => {
            let _ = reply.send(layers.call_touch(accessor, cache, call, blobs).await?);
        }
        Job::ConfiguredNames(reply) => {
            let _ = reply.send(Ok(names.call_configured(accessor, cache).await?));
        }
        Job::Load(name, reply) => {
            let _ = reply.send(names.call_load(accessor, cache, call, name).await?);
        }
        Job::Publish(publication, reply) => {
            let published = names.call_publish(
                accessor,
                cache,
                call,
                publication.names,
                publication.manifest,
                publication.precondition,
                publication.touch_older_than,
            );
            let _ = reply.send(published.await?);
        }
        Job::Manifests(reply) => {
            let answer = match inventory.call_manifests(accessor, cache, call).await? {
                Ok((stream, outcome)) => {
                    Ok(accessor.with(|store| receive::items(store, stream, outcome))?)
                }
                Err(error) => Err(error),
            };
            let _ = reply.send(answer);
        }
        Job::Blobs(reply) => {
            let answer = match inventory.call_blobs(accessor, cache, call).await? {
                Ok((stream, outcome)) => {
                    Ok(accessor.with(|store| receive::items(store, stream, outcome))?)
                }
                Err(error) => Err(error),
            };
            let _ = reply.send(answer);
        }
        Job::RemoveManifest(info, reply) => {
            let removed = inventory.call_remove_manifest(accessor, cache, call, info);
            let _ = reply.send(removed.await?);
        }
        Job::RemoveBlob(info, reply) => {
            let removed = inventory.call_remove_blob(accessor, cache, call, info);
            let _ = reply.send(removed.await?);
        }
    }
    Ok(())
}
