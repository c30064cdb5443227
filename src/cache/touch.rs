//! Touching layers: their time of last change becomes now, so that a sweep that
//! removes what is old leaves them.

use std::cell::RefCell;
use std::collections::HashSet;

use futures::stream::{self, StreamExt as _};

use super::Cache;
use super::find::each_once;
use crate::blob::Blobs;
use crate::digest::Digest;
use crate::error::Error;
use crate::side_by_side::{Job, side_by_side};
use crate::transport::Transport;

impl<T: Transport> Cache<T> {
    /// Touches layers. An answer for each, in their order: false for one that is
    /// gone.
    pub(crate) async fn touch(&self, layers: Vec<Digest>) -> Result<Vec<bool>, Error> {
        let gone = self.touch_each(&self.blobs(), each_once(&layers)).await?;
        Ok(layers.iter().map(|layer| !gone.contains(layer)).collect())
    }

    /// Touches layers, each of which is here once, and gives those that are gone.
    pub(super) async fn touch_each(
        &self,
        blobs: &Blobs<'_, T>,
        layers: Vec<Digest>,
    ) -> Result<HashSet<Digest>, Error> {
        let gone = RefCell::new(HashSet::new());
        let touching = layers.into_iter().map(|layer| {
            let gone = &gone;
            async move {
                if !blobs.touch(&self.config.layout.blob(layer)).await? {
                    gone.borrow_mut().insert(layer);
                }
                Ok(())
            }
        });
        let touching = stream::iter(touching).map(|job| -> Job { Box::pin(job) });
        side_by_side(self.config.tuning.small_requests(), touching.boxed_local()).await?;
        Ok(gone.into_inner())
    }
}
