//! One cache in one container: export, import, read, inventory. Knows
//! BuildKit's keys and manifests, and the Blob service by its operations.

mod check;
mod export;
mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod import;
mod inventory;
pub(crate) mod layout;
mod look_up;
pub(crate) mod manifest;
mod names;
mod publish;
mod read;
mod store;
mod touch;
mod upload;
mod usable;

#[cfg(test)]
mod tests;

pub(crate) use inventory::{Found, Kind};
pub(crate) use publish::Precondition;
pub(crate) use read::Reading;

use std::cell::{Cell, RefCell};

use crate::blob::{Blobs, Concern, Failure};
use crate::config::Config;
use crate::credential::Credential;
use crate::error::Error;
use crate::transport::{Event, Transport};
use layout::BlobKey;

/// One cache, open.
pub(crate) struct Cache<T> {
    transport: T,
    config: Config,
    credential: Credential,
    /// A blob that the credential was good for, to ask for again when another
    /// one is refused.
    proof: RefCell<Option<BlobKey>>,
}

/// How many unusable blobs one call names, each with its reason; a lifecycle
/// rule may have archived thousands.
const MOST_NAMED: u32 = 10;

impl<T: Transport> Cache<T> {
    /// Opens a cache. Sends nothing.
    pub(crate) fn open(transport: T, config: Config) -> Result<Self, Error> {
        let credential = Credential::find(&config)?;
        for name in &config.ignored {
            transport.emit(Event::Warning(format!(
                "the attribute `{name}` has no effect: azblob stores layers as they are"
            )));
        }
        Ok(Self {
            transport,
            config,
            credential,
            proof: RefCell::default(),
        })
    }

    /// Finds out whether there is a credential at all. Sends nothing to the
    /// store.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        self.credential.prepare(&self.transport).await
    }

    /// Whether a failure concerns the one blob that was asked for, and no other:
    /// where that is not clear from what came back, whether another blob, which
    /// could be had before, still can.
    async fn concerns_one_blob(&self, blobs: &Blobs<'_, T>, failure: &Failure) -> bool {
        match failure.concern() {
            Concern::ThisBlob => true,
            Concern::Everything => false,
            Concern::Unclear => self.others_can_be_had(blobs).await,
        }
    }

    async fn others_can_be_had(&self, blobs: &Blobs<'_, T>) -> bool {
        let proof = self.proof.borrow().clone();
        match proof {
            None => false,
            Some(key) => blobs.properties(&key).await.is_ok(),
        }
    }

    /// Notes a blob that could be had.
    fn could_be_had(&self, key: &BlobKey) {
        let mut proof = self.proof.borrow_mut();
        if proof.is_none() {
            *proof = Some(key.clone());
        }
    }

    /// Tells the user of a blob that is not as it should be; of the first ones of
    /// a call, which counts them in `named`.
    fn warn(&self, named: &Cell<u32>, text: impl FnOnce() -> String) {
        let before = named.replace(named.get().saturating_add(1));
        self.transport.emit(Event::Warning(match before {
            ..MOST_NAMED => text(),
            MOST_NAMED => "there are more such blobs, which are not named".to_owned(),
            _ => return,
        }));
    }

    /// The Blob service, for one call.
    fn blobs(&self) -> Blobs<'_, T> {
        Blobs::new(&self.transport, &self.config, &self.credential)
    }
}
