//! Import: the manifest of every name, and which layers the store still has. A
//! name that cannot be read costs no other name, and a layer no other layer.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};

use futures::stream::{self, StreamExt as _};

use super::Cache;
use super::layout::BlobKey;
use super::manifest::{MAX_MANIFEST, Manifest, Parsed};
use crate::blob::{Blobs, Concern, Failure, Properties, State, Whole};
use crate::digest::Digest;
use crate::error::Error;
use crate::side_by_side::side_by_side;
use crate::transport::{Event, Transport};

/// The manifest of one name.
pub(crate) struct Imported {
    pub(crate) name: String,
    pub(crate) outcome: Result<Loaded, Error>,
}

/// A manifest, and how much of it the store still backs.
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// The layers that the store lacks, has at another size, or does not give
    /// away, and those that the manifest does not describe.
    pub(crate) missing: Vec<Digest>,
}

/// Why one name could not be loaded.
pub(super) enum NotLoaded {
    /// What is stored under it is of no use.
    Damaged(Error),
    Refused(Failure),
}

impl From<NotLoaded> for Error {
    fn from(not_loaded: NotLoaded) -> Self {
        match not_loaded {
            NotLoaded::Damaged(error) => error,
            NotLoaded::Refused(failure) => failure.into(),
        }
    }
}

impl<T: Transport> Cache<T> {
    /// Loads the manifest of each name that the store has.
    pub(crate) async fn import(&self) -> Result<Vec<Imported>, Error> {
        let blobs = &self.blobs();
        let names = &self.config.names;
        let limit = self.config.tuning.small_requests();

        let manifests: Vec<_> = names.iter().map(|_| OnceCell::new()).collect();
        let was_answered = &Cell::new(false);
        let loading = names.iter().zip(&manifests).map(|(name, manifest)| async {
            let loaded = match self.load(blobs, &self.config.layout.manifest(name)).await {
                Err(NotLoaded::Refused(failure)) if failure.concern() == Concern::Everything => {
                    return Err(failure.into());
                }
                loaded => loaded,
            };
            let may_concern_all = matches!(&loaded, Err(NotLoaded::Refused(failure))
                if failure.concern() == Concern::Unclear);
            was_answered.set(was_answered.get() || !may_concern_all);
            let loaded = loaded.map(|loaded| loaded.map(|(parsed, _)| parsed));
            let _ = manifest.set(loaded.transpose());
            Ok(())
        });
        let loading = stream::iter(loading).map(|job| Box::pin(job) as _);
        side_by_side(limit, loading.boxed_local()).await?;
        let mut loaded: Vec<(String, Result<Parsed, Error>)> = Vec::new();
        for (name, manifest) in names.iter().zip(manifests) {
            let outcome = match manifest.into_inner().flatten() {
                None => continue,
                Some(Ok(parsed)) => Ok(parsed),
                Some(Err(NotLoaded::Damaged(error))) => Err(error),
                // Nothing but this was answered: it concerns everything.
                Some(Err(NotLoaded::Refused(failure))) if !was_answered.get() => {
                    return Err(failure.into());
                }
                Some(Err(NotLoaded::Refused(failure))) => Err(Error::from(failure)),
            };
            loaded.push((name.clone(), outcome));
        }
        let named = &Cell::new(0);
        for (name, parsed) in &loaded {
            for unusable in parsed.iter().flat_map(|parsed| &parsed.unusable) {
                self.warn(named, || {
                    format!("a layer of `{name}` cannot be used: {unusable}")
                });
            }
        }

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
        let layers = manifests.flat_map(|parsed| parsed.usable_layers());
        let layers = layers.map(|layer| layer.blob);
        let layers = layers.filter(|blob| seen.insert(*blob)).collect();
        let stored = RefCell::new(HashMap::new());
        self.look_up(blobs, layers, &|blob, found| {
            let found = found.map(|found| {
                // Versions are of no use here, and memory is short.
                let etag = String::new();
                (blob, Properties { etag, ..found })
            });
            stored.borrow_mut().extend(found);
        })
        .await?;
        let stored = stored.into_inner();

        let mut told = HashSet::new();
        let imported = loaded.into_iter().map(|(name, outcome)| {
            let outcome = outcome.map(|parsed| Loaded {
                missing: missing(&parsed, &stored, |blob, why| {
                    if told.insert(blob) {
                        self.warn(named, || format!("{blob} cannot be used: {why}"));
                    }
                }),
                manifest: parsed.manifest,
            });
            Imported { name, outcome }
        });
        Ok(imported.collect())
    }

    /// Loads one manifest, and the version in which it was read.
    pub(super) async fn load(
        &self,
        blobs: &Blobs<'_, T>,
        key: &BlobKey,
    ) -> Result<Option<(Parsed, String)>, NotLoaded> {
        let Whole { bytes: json, etag } = match blobs.get_whole(key, MAX_MANIFEST).await {
            Ok(None) => return Ok(None),
            Ok(Some(whole)) => whole,
            Err(failure) => return Err(NotLoaded::Refused(failure)),
        };
        self.could_be_had(key);
        // A directory reads as an empty blob, and is no cache.
        if json.is_empty()
            && let Ok(Some(found)) = blobs.properties(key).await
            && found.state == State::Directory
        {
            return Ok(None);
        }
        let parsed = Manifest::as_far_as_usable(&json)
            .map_err(|why| NotLoaded::Damaged(self.damaged(key, &why)))?;
        Ok(Some((parsed, etag)))
    }

    /// The error of a manifest that cannot be used.
    pub(super) fn damaged(&self, key: &BlobKey, why: &dyn std::fmt::Display) -> Error {
        Error::Corrupt(format!(
            "the manifest `{}` in container `{}` is damaged: {why}. The next export under this \
             name replaces it",
            key.as_str(),
            self.config.container.as_str()
        ))
    }
}

/// The layers of a manifest that cannot be used, each once, in their order.
/// The user is warned of those that the store has and that cannot be used.
fn missing(
    parsed: &Parsed,
    stored: &HashMap<Digest, Properties>,
    mut tell: impl FnMut(Digest, String),
) -> Vec<Digest> {
    let mut seen = HashSet::new();
    let mut unusable = parsed.unusable.iter().map(|layer| layer.index).peekable();
    let mut missing = Vec::new();
    for (index, layer) in parsed.manifest.layers.iter().enumerate() {
        let obstacle = match stored.get(&layer.blob) {
            _ if unusable.next_if_eq(&index).is_some() => None,
            None => None,
            Some(found) => match found.obstacle(layer.size) {
                None => continue,
                obstacle => obstacle,
            },
        };
        if seen.insert(layer.blob) {
            missing.push(layer.blob);
            if let Some(obstacle) = obstacle {
                tell(layer.blob, obstacle.to_string());
            }
        }
    }
    missing
}
