//! The check: which credential there is, and what it may do, tried on a probe
//! that is taken away again.

use std::rc::Rc;

use super::Cache;
use crate::blob::{Blobs, Condition, Failure};
use crate::cache::layout::BlobKey;
use crate::error::Error;
use crate::transport::{Body, Event, Transport};

/// What the probe holds.
const PROBE: &[u8] = b"A probe of build-cache. It may be removed.\n";

/// A version that every blob has.
const ANY: &str = "*";

/// What a credential opens.
pub(crate) struct Checked {
    /// The credential in words.
    pub(crate) credential: String,
    /// The account and the container.
    pub(crate) store: String,
    /// What was tried, in this order.
    pub(crate) attempts: Vec<(&'static str, Result<(), Error>)>,
}

impl<T: Transport> Cache<T> {
    /// Tries what the credential may do, by what a push and a pull do. Makes no
    /// container, leaves nothing behind where it may delete, and warns where
    /// something stays all the same.
    pub(crate) async fn check(&self) -> Result<Checked, Error> {
        self.prepare().await?;
        let key = self.config.layout.probe(self.transport.random());
        Ok(Checked {
            attempts: self.attempts(&self.blobs(), &key).await,
            credential: self.credential.describe(),
            store: format!(
                "container `{}` of the storage account `{}` at {}",
                self.config.container.as_str(),
                self.config.account,
                self.config.account_url.authority
            ),
        })
    }

    /// Looks for the probe and deletes it before it is there: the service
    /// tells first whether one may. A probe that could not be taken away again
    /// is never written; in its place there is a write that the service refuses
    /// for another reason.
    async fn attempts(
        &self,
        blobs: &Blobs<'_, T>,
        key: &BlobKey,
    ) -> Vec<(&'static str, Result<(), Error>)> {
        let found = blobs.get(key, PROBE.len()).await;
        let found = found.map(drop).map_err(Error::from);
        if !matches!(found, Ok(()) | Err(Error::Forbidden(_))) {
            // The same would come of all that follows.
            return vec![("read", found)];
        }
        let deleted = blobs.delete(key, ANY).await;
        let may_delete = deleted.is_ok();
        let written = match may_delete {
            true => written_once(blobs.put_probe(key, PROBE).await),
            false => blobs.put_nothing(key).await,
        };
        if let Err(failure) = &written
            && failure.status() == 404
        {
            // To a read, what is not there is an empty cache.
            let error = match failure.code() {
                "ContainerNotFound" => self.no_container(),
                _ => failure.clone().into(),
            };
            return vec![("write", Err(error))];
        }
        let is_there = written.is_ok() && may_delete;
        let written = match written {
            Ok(()) => self.replace(blobs, is_there.then_some(key)).await,
            Err(failure) => Err(failure.into()),
        };
        let read = match is_there && found.is_ok() {
            true => self.read_probe(blobs, key).await,
            false => found,
        };
        let listed = blobs.list(key.as_str(), 1, None).await;
        let deleted = match may_delete {
            true => self.delete_probe(blobs, key, is_there).await,
            false => deleted.map(drop).map_err(Error::from),
        };
        vec![
            ("read", read),
            ("write", written),
            ("list", listed.map(drop).map_err(Error::from)),
            ("delete", deleted),
        ]
    }

    /// Replaces the probe, where it is there, as a push replaces the manifest
    /// under a name. Some credentials may make blobs and not replace them, and
    /// a retention policy lets nobody replace them.
    async fn replace(&self, blobs: &Blobs<'_, T>, probe: Option<&BlobKey>) -> Result<(), Error> {
        if let Some(key) = probe {
            let again = Body::Bytes(Rc::new(PROBE.to_vec()));
            let replaced = blobs.put(key, again, &Condition::None).await;
            return replaced.map_err(|failure| {
                Error::from(failure).and(
                    "Blobs can be made, but not replaced: the first push under a name would work \
                     and no later one",
                )
            });
        }
        match self.credential.cannot_replace() {
            Some(why) => Err(Error::Forbidden(why.to_owned())),
            None => Ok(()),
        }
    }

    async fn read_probe(&self, blobs: &Blobs<'_, T>, key: &BlobKey) -> Result<(), Error> {
        match blobs.get(key, PROBE.len()).await? {
            Some(bytes) if bytes == PROBE => Ok(()),
            Some(_) => Err(self.lost("reads as something else")),
            None => Err(self.lost("is not there")),
        }
    }

    /// Deletes the probe, also where the answer to its write was lost.
    async fn delete_probe(
        &self,
        blobs: &Blobs<'_, T>,
        key: &BlobKey,
        is_there: bool,
    ) -> Result<(), Error> {
        // False is a first deletion whose answer was lost: nobody else knows
        // this key.
        let Err(failure) = blobs.delete(key, ANY).await else {
            return Ok(());
        };
        let stays = match is_there {
            true => "stays behind",
            false => "may have stayed behind",
        };
        let text = format!(
            "The probe `{}` {stays} in the container `{}`: delete it by hand",
            key.as_str(),
            self.config.container.as_str()
        );
        self.transport.emit(Event::Warning(text.clone()));
        Err(Error::from(failure).and(&text))
    }

    fn no_container(&self) -> Error {
        Error::Other(format!(
            "there is no container `{}` yet. A check creates none; the first push does, if the \
             credential may",
            self.config.container.as_str()
        ))
    }

    fn lost(&self, how: &str) -> Error {
        let container = self.config.container.as_str();
        Error::Other(format!(
            "the probe was written to the container `{container}`, and {how}"
        ))
    }
}

/// Whether the probe was written. A blob that stands there already is the probe
/// of an earlier try whose answer was lost: nobody else knows this key.
fn written_once(outcome: Result<(), Failure>) -> Result<(), Failure> {
    outcome.or_else(|failure| match failure.is_lost_race() {
        true => Ok(()),
        false => Err(failure),
    })
}
