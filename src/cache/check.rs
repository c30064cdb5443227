//! The check: which credential there is, and what it may do, tried on a probe
//! that is taken away again.

use super::Cache;
use crate::blob::Blobs;
use crate::cache::layout::BlobKey;
use crate::error::Error;
use crate::transport::Transport;

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
    /// Tries what the credential may do. Leaves nothing behind, and makes no
    /// container.
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
    /// is never written; in its place goes a write that the service refuses
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
            true => blobs.put_probe(key, PROBE).await,
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
            ("write", written.map_err(Error::from)),
            ("list", listed.map(drop).map_err(Error::from)),
            ("delete", deleted),
        ]
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
        match blobs.delete(key, ANY).await {
            Ok(false) if is_there => Err(self.lost("is not there to be deleted")),
            Ok(_) => Ok(()),
            Err(failure) => {
                let text = format!("The probe {} may stay behind", key.as_str());
                Err(Error::from(failure).and(&text))
            }
        }
    }

    fn no_container(&self) -> Error {
        Error::Other(format!(
            "there is no container `{}` yet. A check makes none; the first push does, if the \
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
