//! Import: the manifest of every name, and which layers the store still has.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};

use futures::stream::{self, StreamExt as _};

use super::Cache;
use super::manifest::{MAX_MANIFEST, Manifest};
use crate::blob::Blobs;
use crate::digest::Digest;
use crate::error::Error;
use crate::side_by_side::side_by_side;
use crate::transport::{Event, Transport};

/// What stands under one name.
pub(crate) struct Imported {
    pub(crate) name: String,
    pub(crate) outcome: Result<Loaded, Error>,
}

/// A manifest, and how much of it the store still backs.
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// The layers that the store lacks, or has at another size.
    pub(crate) missing: Vec<Digest>,
}

impl<T: Transport> Cache<T> {
    /// Loads the manifest of each name that the store has.
    pub(crate) async fn import(&self) -> Result<Vec<Imported>, Error> {
        let blobs = &self.blobs();
        let names = &self.config.names;
        let limit = self.config.tuning.small_requests();

        let manifests: Vec<_> = names.iter().map(|_| OnceCell::new()).collect();
        let loading = names.iter().zip(&manifests).map(|(name, manifest)| async {
            let loaded = self.load(blobs, name).await?;
            let _ = manifest.set(loaded);
            Ok(())
        });
        let loading = stream::iter(loading).map(|job| Box::pin(job) as _);
        side_by_side(limit, loading.boxed_local()).await?;
        let loaded = names.iter().zip(manifests).filter_map(|(name, manifest)| {
            let outcome = manifest.into_inner().flatten()?;
            Some((name.clone(), outcome))
        });
        let loaded: Vec<(String, Result<Manifest, Error>)> = loaded.collect();

        if loaded.is_empty() && blobs.has_no_container() {
            // An empty cache too, but perhaps not the one that was meant.
            self.transport.emit(Event::Warning(format!(
                "there is no container `{}` in the storage account `{}`, so there is no cache in \
                 it: check the name, or let the first push make it",
                self.config.container.as_str(),
                self.config.account
            )));
        }

        // Names share most of their layers: each is looked up once.
        let manifests = loaded
            .iter()
            .filter_map(|(_, outcome)| outcome.as_ref().ok());
        let mut seen = HashSet::new();
        let layers = manifests.flat_map(|manifest| &manifest.layers);
        let layers = layers.map(|layer| layer.blob);
        let layers = layers.filter(|blob| seen.insert(*blob)).collect();
        let stored = RefCell::new(HashMap::new());
        self.look_up(blobs, layers, &|blob, found| {
            let found = found.map(|found| (blob, found.size));
            stored.borrow_mut().extend(found);
        })
        .await?;
        let stored = stored.into_inner();

        let imported = loaded.into_iter().map(|(name, outcome)| {
            let outcome = outcome.map(|manifest| Loaded {
                missing: missing(&manifest, &stored),
                manifest,
            });
            Imported { name, outcome }
        });
        Ok(imported.collect())
    }

    /// Loads one manifest. The inner error is one of this name alone.
    async fn load(
        &self,
        blobs: &Blobs<'_, T>,
        name: &str,
    ) -> Result<Option<Result<Manifest, Error>>, Error> {
        let key = self.config.layout.manifest(name);
        let json = match blobs.get(&key, MAX_MANIFEST).await {
            Ok(None) => return Ok(None),
            Ok(Some(json)) => json,
            Err(failure) if failure.is_too_long() => {
                return Ok(Some(Err(Error::from(failure))));
            }
            Err(failure) => return Err(failure.into()),
        };
        let manifest = Manifest::from_json(&json).map_err(|why| {
            Error::Corrupt(format!(
                "the manifest `{}` in container `{}` is damaged: {why}. The next export under \
                 this name replaces it",
                key.as_str(),
                self.config.container.as_str()
            ))
        });
        Ok(Some(manifest))
    }
}

/// The layers of a manifest that the store does not have at their size, each
/// once, in their order.
fn missing(manifest: &Manifest, stored: &HashMap<Digest, u64>) -> Vec<Digest> {
    let mut seen = HashMap::new();
    let layers = manifest.layers.iter();
    layers
        .filter(|layer| stored.get(&layer.blob) != Some(&layer.size))
        .filter(|layer| seen.insert(layer.blob, layer.size).is_none())
        .map(|layer| layer.blob)
        .collect()
}
