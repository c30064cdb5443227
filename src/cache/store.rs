//! Storing one layer, for a host that learns of layers one at a time.

use std::cell::Cell;
use std::rc::Rc;

use futures::stream::{self, StreamExt as _};

use super::Cache;
use crate::digest::Digest;
use crate::error::Error;
use crate::side_by_side::{Job, side_by_side};
use crate::transport::Transport;

impl<T: Transport> Cache<T> {
    /// Stores a layer unless the store has it. Whether it was sent.
    pub(crate) async fn store(&self, digest: Digest, size: u64) -> Result<bool, Error> {
        if (size == 0) != (digest == Digest::OF_NOTHING) {
            return Err(Error::Other(format!(
                "{digest} cannot be stored with {size} bytes: only the digest of nothing has none"
            )));
        }
        let blobs = &self.blobs();
        let found = self.held(blobs, vec![digest]).await?.remove(&digest);
        let Some(step) = self.step(digest, size, found, &Cell::new(0)) else {
            return Ok(false);
        };
        let upload = &Rc::new(self.upload(blobs, digest, size, step));
        let parts = 0..upload.parts();
        let parts = stream::iter(parts).map(|number| -> Job { Box::pin(upload.send(number)) });
        side_by_side(self.config.tuning.parallelism, parts.boxed_local()).await?;
        self.check_for_obstacles(std::slice::from_ref(upload))?;
        Ok(upload.has_stored())
    }
}
