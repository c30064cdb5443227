//! Publishing: a manifest under names, once all of its layers are known to be
//! durable. No matter who stored them, the store itself is asked.

use std::cell::RefCell;
use std::rc::Rc;

use futures::stream::{self, StreamExt as _};

use super::Cache;
use super::export::layers_once;
use super::find::is_stored;
use super::layout::BlobKey;
use super::manifest::{MAX_MANIFEST, Manifest};
use crate::blob::{Blobs, Condition, State};
use crate::error::Error;
use crate::side_by_side::{Job, side_by_side};
use crate::transport::{Body, Event, Transport};

/// What must be true of a name before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing: the last writer wins.
    Any,
    /// The name does not exist.
    Absent,
    /// The name still has this version.
    Unchanged(String),
}

impl<T: Transport> Cache<T> {
    /// Writes a manifest under names, unless layers of it are missing. Touches
    /// those that were last changed `touch_older_than` seconds ago or more first.
    pub(crate) async fn publish(
        &self,
        names: Vec<String>,
        manifest: Manifest,
        precondition: Precondition,
        touch_older_than: Option<u64>,
    ) -> Result<(), Error> {
        // What cannot be written at all is refused before anything is asked.
        for name in &names {
            self.key_of(name)?;
        }
        let unusable = |why| Error::Other(format!("this cache cannot be stored: {why}"));
        let json = manifest.to_json().map_err(unusable)?;
        let layers = layers_once(&manifest).map_err(unusable)?;
        // All that is needed of it is in the two, and memory is short.
        drop(manifest);
        let blobs = &self.blobs();

        let digests = layers.iter().map(|(digest, _)| *digest).collect();
        let held = self.held(blobs, digests).await?;
        let missing: Vec<_> = layers
            .iter()
            .filter(|(digest, size)| !is_stored(&held, *digest, *size))
            .map(|(digest, _)| *digest)
            .collect();
        if !missing.is_empty() {
            return Err(Error::MissingLayers(missing));
        }
        if let Some(age) = touch_older_than {
            let now = blobs.now();
            let is_old = |modified: u64| now.saturating_sub(modified) >= age;
            let old: Vec<_> = layers
                .iter()
                .map(|(digest, _)| *digest)
                .filter(|digest| held.get(digest).is_some_and(|it| is_old(it.modified)))
                .collect();
            let gone = self.touch_each(blobs, old.clone()).await?;
            if !gone.is_empty() {
                let missing = old.into_iter().filter(|layer| gone.contains(layer));
                return Err(Error::MissingLayers(missing.collect()));
            }
        }
        let condition = match precondition {
            Precondition::Any => return self.publish_any(blobs, &names, json).await,
            Precondition::Absent => Condition::Absent,
            Precondition::Unchanged(version) => Condition::Is(version),
        };
        let json = Rc::new(json);
        for name in &names {
            self.publish_on(blobs, name, &json, &condition).await?;
        }
        Ok(())
    }

    /// Writes the manifest under every name. A name that cannot be written costs
    /// no other, and fails the export in the end.
    pub(super) async fn publish_any(
        &self,
        blobs: &Blobs<'_, T>,
        names: &[String],
        json: Vec<u8>,
    ) -> Result<(), Error> {
        let json = Rc::new(json);
        let (written, failed) = (RefCell::new(Vec::new()), RefCell::new(None));
        let writing = names.iter().map(|name| {
            let body = Body::Bytes(Rc::clone(&json));
            let (written, failed) = (&written, &failed);
            async move {
                match self.write_name(blobs, name, body).await {
                    Ok(()) => {
                        self.transport.emit(Event::ManifestStored(name.clone()));
                        written.borrow_mut().push(format!("`{name}`"));
                    }
                    Err(error) => {
                        failed.borrow_mut().get_or_insert(error);
                    }
                }
                Ok(())
            }
        });
        let writing = stream::iter(writing).map(|job| -> Job { Box::pin(job) });
        side_by_side(self.config.tuning.parallelism, writing.boxed_local()).await?;
        match (failed.into_inner(), written.into_inner().join(", ")) {
            (None, _) => Ok(()),
            (Some(error), written) if written.is_empty() => Err(error),
            (Some(error), written) => {
                Err(error.and(&format!("The cache was stored as {written} all the same")))
            }
        }
    }

    /// Writes the manifest under one name, also over one in the archive tier.
    async fn write_name(&self, blobs: &Blobs<'_, T>, name: &str, json: Body) -> Result<(), Error> {
        let key = self.config.layout.manifest(name);
        let Err(failure) = blobs.put(&key, json.clone(), &Condition::None).await else {
            return Ok(());
        };
        if !failure.refuses_this_blob() && !failure.is_lost_race() {
            return Err(failure.into());
        }
        let found = blobs.properties(&key).await.ok().flatten();
        match found.as_ref().map(|found| &found.state) {
            Some(State::Archived | State::Rehydrating) => {
                self.transport.emit(Event::Warning(format!(
                    "the manifest of `{name}` is in the archive tier: replacing it"
                )));
                let etag = found.map(|found| found.etag).unwrap_or_default();
                blobs.delete(&key, &etag).await?;
                Ok(blobs.put(&key, json, &Condition::None).await?)
            }
            Some(State::Directory) => Err(Error::Other(format!(
                "the cache cannot be stored as `{name}`: `{}` is a directory in this account, whose \
                 namespace is hierarchical, as other caches have names that begin with `{name}/`. \
                 Choose another name",
                key.as_str()
            ))),
            _ if name.contains('/') => Err(Error::from(failure).and(
                "In an account whose namespace is hierarchical, what stands before a `/` in a name \
                 cannot be the name of another cache",
            )),
            _ => Err(failure.into()),
        }
    }

    /// Writes the manifest under one name, if the condition holds.
    async fn publish_on(
        &self,
        blobs: &Blobs<'_, T>,
        name: &str,
        json: &Rc<Vec<u8>>,
        condition: &Condition,
    ) -> Result<(), Error> {
        // Empty, or `*`, it would hold for every version.
        if matches!(condition, Condition::Is(version) if !version.starts_with('"')) {
            return Err(Error::Conflict(format!(
                "`{name}` never had the version that it is expected to have"
            )));
        }
        let key = self.config.layout.manifest(name);
        let retries = blobs.retries();
        let body = Body::Bytes(Rc::clone(json));
        match blobs.put(&key, body, condition).await {
            Ok(()) => {}
            Err(failure) if failure.is_lost_race() => {
                // Perhaps to a try of our own whose answer was lost.
                let was_retried = blobs.retries() > retries;
                if !(was_retried && self.holds(blobs, &key, json).await?) {
                    return Err(self.conflict(name, &key, condition));
                }
            }
            Err(failure) if failure.is_absence() => {
                return Err(self.conflict(name, &key, condition));
            }
            Err(failure) => return Err(failure.into()),
        }
        self.transport.emit(Event::ManifestStored(name.to_owned()));
        Ok(())
    }

    /// Whether a name's manifest has these very bytes.
    async fn holds(&self, blobs: &Blobs<'_, T>, key: &BlobKey, json: &[u8]) -> Result<bool, Error> {
        let found = blobs.get(key, MAX_MANIFEST).await?;
        Ok(found.is_some_and(|found| found == json))
    }

    fn conflict(&self, name: &str, key: &BlobKey, condition: &Condition) -> Error {
        let expected = match condition {
            Condition::Absent => "exists already",
            _ => "is not in the expected version any more",
        };
        Error::Conflict(format!(
            "`{name}` was not written, because the manifest `{}` in container `{}` {expected}: \
             another client was there first. Load it again and decide anew",
            key.as_str(),
            self.config.container.as_str()
        ))
    }
}
