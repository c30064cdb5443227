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

#[cfg(test)]
mod tests;

pub(crate) use inventory::{Found, Kind};
pub(crate) use publish::Precondition;
pub(crate) use read::Reading;

use crate::blob::Blobs;
use crate::config::Config;
use crate::credential::Credential;
use crate::error::Error;
use crate::transport::{Event, Transport};

/// One cache, open.
pub(crate) struct Cache<T> {
    transport: T,
    config: Config,
    credential: Credential,
}

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
        })
    }

    /// Finds out whether there is a credential at all. Sends nothing to the
    /// store.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        self.credential.prepare(&self.transport).await
    }

    /// The Blob service, for one call.
    fn blobs(&self) -> Blobs<'_, T> {
        Blobs::new(&self.transport, &self.config, &self.credential)
    }
}
