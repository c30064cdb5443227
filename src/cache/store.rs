//! Storing one layer, for a host that learns of layers one at a time.

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
        let found = blobs.properties(&self.config.layout.blob(digest)).await?;
        let Some(condition) = self.condition(digest, size, found) else {
            return Ok(false);
        };
        let upload = self.upload(blobs, digest, size, condition);
        let parts =
            stream::iter(0..upload.parts()).map(|number| -> Job { Box::pin(upload.send(number)) });
        side_by_side(self.config.tuning.parallelism, parts.boxed_local()).await?;
        Ok(upload.has_stored())
    }
}
