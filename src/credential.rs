//! What lets us into the store. Signs requests; knows nothing of blobs.

mod shared_key;

#[cfg(test)]
mod tests;

pub(crate) use shared_key::SharedKey;

use crate::config::Config;
use crate::error::Error;
use crate::transport::Request;

/// A way into the store.
pub(crate) enum Credential {
    /// The storage account's key.
    SharedKey(SharedKey),
}

impl Credential {
    /// The credential that the configuration gives.
    pub(crate) fn find(config: &Config) -> Result<Self, Error> {
        match &config.shared_key {
            Some(key) => Ok(Self::SharedKey(key.clone())),
            None => Err(Error::Unauthenticated(format!(
                "no credential for the storage account `{}`: give its key as the attribute \
                 secret_access_key or in the variable AZURE_STORAGE_KEY",
                config.account
            ))),
        }
    }

    /// Puts the signature on a request that is otherwise complete, its date
    /// included.
    pub(crate) fn sign(&self, request: &mut Request) {
        match self {
            Self::SharedKey(key) => {
                let authorization = key.authorization(request);
                request.headers.push("authorization", authorization);
            }
        }
    }
}
