//! Finding layers, for a host that asks about them one list at a time; and what
//! counts as found.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::Cache;
use crate::blob::{Blobs, Properties};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::Transport;

/// What the store holds of the layers that were looked for.
pub(super) type Held = HashMap<Digest, Properties>;

/// Whether what the store holds is the layer, by its size.
pub(super) fn is_usable(found: &Properties, size: u64) -> bool {
    found.size == size
}

/// Whether a layer is among those that the store holds, at its size.
pub(super) fn is_stored(held: &Held, digest: Digest, size: u64) -> bool {
    held.get(&digest)
        .is_some_and(|found| is_usable(found, size))
}

impl<T: Transport> Cache<T> {
    /// Looks for layers. An answer for each, in their order.
    pub(crate) async fn find(&self, layers: Vec<Digest>) -> Result<Vec<Option<Properties>>, Error> {
        let held = self.held(&self.blobs(), each_once(&layers)).await?;
        let found = layers.iter().map(|layer| held.get(layer).cloned());
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
