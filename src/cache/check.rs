//! The check: which credential there is, and what it may do, tried on a probe
//! that is taken away again.

use super::Cache;
use crate::blob::Failure;
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
    ///
    /// Where the probe cannot be written, the answer to what is not there
    /// tells whether one may read and delete.
    pub(crate) async fn check(&self) -> Result<Checked, Error> {
        self.prepare().await?;
        let blobs = self.blobs();
        let key = self.config.layout.probe(self.transport.random());
        let written = blobs.put_probe(&key, PROBE).await;
        let read = match blobs.get(&key, PROBE.len()).await {
            Ok(Some(bytes)) if bytes != PROBE => Err(self.lost("reads as something else")),
            Ok(None) if written.is_ok() => Err(self.lost("is not there")),
            outcome => outcome.map(drop).map_err(Error::from),
        };
        let listed = blobs.list(key.as_str(), 1, None).await;
        let deleted = match blobs.delete(&key, ANY).await {
            Ok(false) if written.is_ok() => Err(self.lost("is not there to be deleted")),
            Err(failure) if written.is_ok() => {
                let error = Error::from(failure);
                Err(error.and(&format!("The probe {} stays behind", key.as_str())))
            }
            outcome => outcome.map(drop).map_err(Error::from),
        };
        Ok(Checked {
            credential: self.credential.describe(),
            store: format!(
                "container `{}` of the storage account `{}` at {}",
                self.config.container.as_str(),
                self.config.account,
                self.config.account_url.authority
            ),
            attempts: vec![
                ("write", written.map_err(no_container)),
                ("read", read),
                ("list", listed.map(drop).map_err(Error::from)),
                ("delete", deleted),
            ],
        })
    }

    fn lost(&self, how: &str) -> Error {
        let container = self.config.container.as_str();
        Error::Other(format!(
            "the probe was written to the container `{container}`, and {how}"
        ))
    }
}

/// A container that is not there yet is no matter of what one may do.
fn no_container(failure: Failure) -> Error {
    let is_missing = failure.code() == "ContainerNotFound";
    let error = Error::from(failure);
    match is_missing {
        true => error.and("The first export makes it, if the credential may"),
        false => error,
    }
}
