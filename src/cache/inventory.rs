//! Inventory: what the store holds, and taking it away.

use super::Cache;
use crate::blob::{LONGEST_PAGE, Listed, State};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::Transport;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Blobs,
    Manifests,
}

/// One thing that the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// A layer's digest, or a manifest's name.
    pub(crate) name: String,
    /// In bytes.
    pub(crate) size: u64,
    /// In seconds since the Unix epoch.
    pub(crate) modified: u64,
    /// In seconds since the Unix epoch, where the account keeps count.
    pub(crate) used: Option<u64>,
    /// The ETag.
    pub(crate) version: String,
}

/// A listing that has been begun.
pub(crate) struct Listing {
    kind: Kind,
    found: Vec<Found>,
    next: Option<String>,
    is_first: bool,
}

impl Listing {
    /// Takes what the last part held.
    pub(crate) fn take(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }
}

impl<T: Transport> Cache<T> {
    /// Begins a listing with its first part.
    pub(crate) async fn list(&self, kind: Kind) -> Result<Listing, Error> {
        let mut listing = Listing {
            kind,
            found: Vec::new(),
            next: None,
            is_first: true,
        };
        self.list_more(&mut listing).await?;
        Ok(listing)
    }

    /// Gets the next part. False where the last one was the end.
    pub(crate) async fn list_more(&self, listing: &mut Listing) -> Result<bool, Error> {
        if listing.next.is_none() && !listing.is_first {
            return Ok(false);
        }
        listing.is_first = false;
        let layout = &self.config.layout;
        let prefix = match listing.kind {
            Kind::Blobs => format!("{}sha256:", layout.blobs_begin_with()),
            Kind::Manifests => layout.manifests_begin_with(),
        };
        let marker = listing.next.take();
        let page = self.blobs().list(&prefix, LONGEST_PAGE, marker).await?;
        listing.next = page.next;
        let named = page.blobs.into_iter().filter_map(|blob| {
            // Directories are no caches and no layers, and of an entry that is
            // damaged nothing can be said.
            if matches!(blob.state, State::Directory | State::Refused(_)) {
                return None;
            }
            let name = self.name(listing.kind, &blob.key)?;
            Some(found(name, blob))
        });
        listing.found = named.collect();
        Ok(true)
    }

    /// Removes a layer that is still this version. False where it is not.
    pub(crate) async fn remove_blob(&self, digest: Digest, version: &str) -> Result<bool, Error> {
        let key = self.config.layout.blob(digest);
        Ok(self.blobs().delete(&key, version).await?)
    }

    /// Removes a manifest that is still this version. False where it is not.
    pub(crate) async fn remove_manifest(&self, name: &str, version: &str) -> Result<bool, Error> {
        let key = self.config.layout.manifest(name);
        Ok(self.blobs().delete(&key, version).await?)
    }

    /// The digest or name that a key stands for. None for what is something
    /// else: prefixes may nest, and others may use the container too.
    fn name(&self, kind: Kind, key: &str) -> Option<String> {
        let layout = &self.config.layout;
        let layer = key.strip_prefix(&layout.blobs_begin_with());
        let layer = layer.filter(|name| name.parse::<Digest>().is_ok());
        match kind {
            Kind::Blobs => layer.map(str::to_owned),
            Kind::Manifests if layer.is_some() => None,
            Kind::Manifests => key
                .strip_prefix(&layout.manifests_begin_with())
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        }
    }
}

fn found(name: String, blob: Listed) -> Found {
    Found {
        name,
        size: blob.size,
        modified: blob.modified,
        used: blob.used,
        version: blob.etag,
    }
}
