//! Finding layers, for a host that asks about them one list at a time.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::Cache;
use crate::blob::{Blobs, Properties, State};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::Transport;

/// What the store holds of the layers that were looked for.
pub(super) type Held = HashMap<Digest, Properties>;

/// Whether a layer is among those that the store holds, and can be used.
pub(super) fn is_stored(held: &Held, digest: Digest, size: u64) -> bool {
    let found = held.get(&digest);
    found.is_some_and(|found| found.obstacle(size).is_none())
}

impl<T: Transport> Cache<T> {
    /// Looks for layers. An answer for each, in their order: none also for one
    /// whose bytes cannot be had.
    pub(crate) async fn find(&self, layers: Vec<Digest>) -> Result<Vec<Option<Properties>>, Error> {
        let held = self.held(&self.blobs(), each_once(&layers)).await?;
        let found = layers.iter().map(|layer| {
            let found = held.get(layer)?;
            (found.state == State::Readable).then(|| found.clone())
        });
        Ok(found.collect())
    }

    /// What the store holds of these layers, each of which is here once.
    pub(super) async fn held(
        &self,
        blobs: &Blobs<'_, T>,
        layers: Vec<Digest>,
    ) -> Result<Held, Error> {
        let held = RefCell::new(Held::new());
        self.look_up(blobs, layers, &|layer, found| {
            held.borrow_mut().extend(found.map(|found| (layer, found)));
        })
        .await?;
        Ok(held.into_inner())
    }
}

/// Each digest once, in the order in which it comes first.
pub(super) fn each_once(layers: &[Digest]) -> Vec<Digest> {
    let mut seen = HashSet::new();
    let layers = layers.iter().copied();
    layers.filter(|layer| seen.insert(*layer)).collect()
}
