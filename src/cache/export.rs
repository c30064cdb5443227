//! Export: what the store lacks, then the manifest under every name.
//!
//! Nothing is written before all layers have been looked up, and no name
//! before all layers are durable.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::Cache;
use super::manifest::{Layer, Manifest};
use super::upload::Upload;
use crate::blob::{Blobs, Condition};
use crate::digest::Digest;
use crate::error::Error;
use crate::side_by_side::side_by_side;
use crate::transport::{Body, Event, Transport};

/// What an export did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub(crate) layers_stored: u32,
    pub(crate) layers_reused: u32,
    /// The layers' bytes that were stored, each counted once.
    pub(crate) bytes_stored: u64,
    /// Requests sent, those sent again included.
    pub(crate) requests: u32,
    /// Requests sent again.
    pub(crate) retries: u32,
}

impl<T: Transport> Cache<T> {
    /// Stores the layers that the store lacks, then the manifest.
    pub(crate) async fn export(&self, manifest: &Manifest) -> Result<Summary, Error> {
        let unusable = |why| Error::Other(format!("this cache cannot be stored: {why}"));
        let json = manifest.to_json().map_err(unusable)?;
        let layers = layers_once(manifest).map_err(unusable)?;
        let blobs = &self.blobs();

        let found: Vec<_> = layers.iter().map(|_| OnceCell::new()).collect();
        let looking = layers.iter().zip(&found).map(|(layer, found)| async {
            let condition = self.look_up(blobs, layer).await?;
            let _ = found.set(condition);
            Ok(())
        });
        side_by_side(self.config.tuning.small_requests(), looking).await?;

        let missing = layers.iter().zip(found).filter_map(|(layer, found)| {
            let condition = found.into_inner().flatten()?;
            Some(self.upload(blobs, layer, condition))
        });
        let uploads: Vec<Upload<T>> = missing.collect();
        // One budget for all layers: the parts of a large one and many small
        // ones fill the line alike.
        let parts = uploads
            .iter()
            .flat_map(|upload| (0..upload.parts()).map(move |number| upload.send(number)));
        side_by_side(self.config.tuning.parallelism, parts).await?;

        self.write_names(blobs, json).await?;

        let stored = || uploads.iter().filter(|upload| upload.has_stored());
        let layers_stored = count(stored().count());
        Ok(Summary {
            layers_stored,
            layers_reused: count(layers.len()) - layers_stored,
            bytes_stored: stored().map(Upload::size).sum(),
            requests: blobs.requests(),
            retries: blobs.retries(),
        })
    }

    /// Looks a layer up: none if it is there, else the condition to write it
    /// on.
    async fn look_up(
        &self,
        blobs: &Blobs<'_, T>,
        layer: &Layer,
    ) -> Result<Option<Condition>, Error> {
        let (digest, size) = (layer.blob, layer.size);
        match blobs.properties(&self.config.layout.blob(digest)).await? {
            None => Ok(Some(Condition::Absent)),
            Some(found) if found.size == size => {
                self.transport.emit(Event::LayerReused(digest));
                Ok(None)
            }
            Some(found) => {
                self.transport.emit(Event::Warning(format!(
                    "the store holds {digest} with {} bytes instead of {size}: replacing it",
                    found.size
                )));
                Ok(Some(Condition::Is(found.etag)))
            }
        }
    }

    /// A layer to be sent.
    fn upload<'a>(
        &'a self,
        blobs: &'a Blobs<'a, T>,
        layer: &Layer,
        condition: Condition,
    ) -> Upload<'a, T> {
        let key = self.config.layout.blob(layer.blob);
        let block_size = self.config.tuning.block_size;
        Upload::new(&self.transport, blobs, key, layer, condition, block_size)
    }

    /// Writes the manifest under every name.
    async fn write_names(&self, blobs: &Blobs<'_, T>, json: Vec<u8>) -> Result<(), Error> {
        let json: Rc<[u8]> = Rc::from(json);
        let writing = self.config.names.iter().map(|name| {
            let body = Body::Bytes(Rc::clone(&json));
            async move {
                let key = self.config.layout.manifest(name);
                blobs.put(&key, body, &Condition::None).await?;
                self.transport.emit(Event::ManifestStored(name.clone()));
                Ok(())
            }
        });
        side_by_side(self.config.tuning.parallelism, writing).await
    }
}

/// The layers, each digest once, in their order.
fn layers_once(manifest: &Manifest) -> Result<Vec<&Layer>, String> {
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        match sizes.insert(layer.blob, layer.size) {
            None => layers.push(layer),
            Some(size) if size == layer.size => {}
            Some(_) => return Err(format!("it gives {} two sizes", layer.blob)),
        }
    }
    Ok(layers)
}

/// A count for the summary; the wasm32 component cannot hold more.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
