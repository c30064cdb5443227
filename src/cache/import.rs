//! Import: the manifest of every name, and which layers the store still has.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::Cache;
use super::manifest::{MAX_MANIFEST, Manifest};
use crate::blob::Blobs;
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::Transport;

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
        let loading = self.config.names.iter().map(|name| async move {
            let loaded = self.load(blobs, name).await?;
            Ok(loaded.map(|outcome| (name.clone(), outcome)))
        });
        let loaded: Vec<Result<Option<_>, Error>> = join_all(loading).await;
        let loaded: Vec<_> = loaded.into_iter().collect::<Result<_, _>>()?;

        let manifests = || {
            let outcomes = loaded.iter().flatten();
            outcomes.filter_map(|(_, outcome)| outcome.as_ref().ok())
        };
        let digests: BTreeSet<Digest> = manifests()
            .flat_map(|manifest| manifest.layers.iter().map(|layer| layer.blob))
            .collect();
        let sizes = self.sizes(blobs, digests).await?;

        let imported = loaded.into_iter().flatten().map(|(name, outcome)| {
            let outcome = outcome.map(|manifest| Loaded {
                missing: missing(&manifest, &sizes),
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

    /// The sizes of those layers that the store has.
    async fn sizes(
        &self,
        blobs: &Blobs<'_, T>,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, u64>, Error> {
        let looking = digests.into_iter().map(|digest| async move {
            let found = blobs.properties(&self.config.layout.blob(digest)).await?;
            Ok(found.map(|found| (digest, found.size)))
        });
        stream::iter(looking)
            .buffer_unordered(self.config.tuning.small_requests())
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await
    }
}

/// The layers of a manifest that the store does not have in full, each once.
fn missing(manifest: &Manifest, sizes: &BTreeMap<Digest, u64>) -> Vec<Digest> {
    let layers = manifest.layers.iter();
    let lacking = layers.filter(|layer| sizes.get(&layer.blob) != Some(&layer.size));
    let missing: BTreeSet<Digest> = lacking.map(|layer| layer.blob).collect();
    missing.into_iter().collect()
}
