//! Single layers of an open cache: finding, storing and touching them one call
//! at a time, for hosts that learn of layers one at a time.

use super::Cache;
use crate::bindings::exports::build_cache::plugin::layers::Outcome;
use crate::instance::Job;
use crate::{Digest, Error};

/// A layer as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// In bytes.
    pub size: u64,
    /// When it was last written or touched, in seconds since the Unix epoch by
    /// the store's clock; 0 where the store does not tell.
    pub modified: u64,
    /// Changes whenever the layer is written or touched; empty where the store
    /// has no versions.
    pub version: String,
}

/// What a [`Cache::store`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// The layer was sent, and is durable.
    Stored,
    /// The store had it at this size already. Nothing was written.
    Reused,
}

impl Cache {
    /// Looks for layers, and answers for each in the order given; none where the
    /// store does not have it. A digest may be given twice. The plugin chooses
    /// between asking for each and listing.
    ///
    /// # Errors
    /// [`Error::Unsupported`] from a plugin of contract 0.1.
    pub async fn find(&self, blobs: &[Digest]) -> Result<Vec<Option<StoredLayer>>, Error> {
        let found = self.call(|reply| Job::Find(texts(blobs), reply)).await?;
        let found = self.answers.one_for_each(blobs.len(), found)?.into_iter();
        found
            .map(|layer| {
                let Some(layer) = layer else { return Ok(None) };
                Ok(Some(StoredLayer {
                    size: layer.size,
                    modified: layer.modified,
                    version: self.answers.version(layer.version)?,
                }))
            })
            .collect()
    }

    /// Stores one layer of `size` bytes, unless the store has it at that size.
    /// The bytes come from [`OpenOptions::content`](crate::OpenOptions). Returns
    /// when the layer is durable. May run beside itself, for the same layer as
    /// well, and may be repeated after a failure. To cancel it, end the content's
    /// stream with an error; then nothing is stored.
    ///
    /// # Errors
    /// [`Error::Content`] where the content could not be read,
    /// [`Error::Unsupported`] from a plugin of contract 0.1.
    pub async fn store(&self, blob: &Digest, size: u64) -> Result<StoreOutcome, Error> {
        let outcome = self
            .call(|reply| Job::Store {
                blob: blob.to_string(),
                size,
                reply,
            })
            .await?;
        Ok(match outcome {
            Outcome::Stored => StoreOutcome::Stored,
            Outcome::Reused => StoreOutcome::Reused,
        })
    }

    /// Marks layers as used now, so that a sweep that removes what is old leaves
    /// them. Answers for each in the order given: false for one that is gone.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the store cannot do this, and from a plugin
    /// of contract 0.1.
    pub async fn touch(&self, blobs: &[Digest]) -> Result<Vec<bool>, Error> {
        let touched = self.call(|reply| Job::Touch(texts(blobs), reply)).await?;
        self.answers.one_for_each(blobs.len(), touched)
    }
}

fn texts(blobs: &[Digest]) -> Vec<String> {
    blobs.iter().map(Digest::to_string).collect()
}
