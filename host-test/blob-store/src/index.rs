//! What is stored: containers, blobs and blocks that wait. Plain data behind one lock; the rules
//! for changing it are in `store`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::blocks::{BlockId, Uncommitted};
use crate::conditions::{Stamp, whole_seconds};
use crate::content::{Content, Piece};
use crate::properties::Properties;

/// From the year 1, from which the service counts, to 1970, in units of 100 ns.
const TICKS_TO_UNIX_EPOCH: u64 = 621_355_968_000_000_000;

/// Everything that is stored.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub containers: BTreeMap<String, Container>,
    last_tick: u64,
}

impl Index {
    /// A stamp that no write had before: like the service's, an ETag is the time in 100 ns.
    pub fn stamp(&mut self) -> Stamp {
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let tick = TICKS_TO_UNIX_EPOCH + (since.as_nanos() / 100) as u64;
        self.last_tick = tick.max(self.last_tick + 1);
        Stamp {
            etag: format!("\"0x{:X}\"", self.last_tick),
            modified: whole_seconds(now),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Container {
    pub stamp: Stamp,
    pub metadata: Vec<(String, String)>,
    pub blobs: BTreeMap<String, Entry>,
}

/// What is known under one key: a blob, blocks that wait, or both.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub blob: Option<Arc<Blob>>,
    pub uncommitted: Uncommitted,
}

/// A committed blob. It never changes; a write puts another in its place.
#[derive(Debug)]
pub(crate) struct Blob {
    pub stamp: Stamp,
    pub created: SystemTime,
    pub properties: Properties,
    pub content: Content,
    /// The blocks that it was committed from; none after a Put Blob.
    pub blocks: Vec<(BlockId, Arc<Piece>)>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_stamps_have_one_etag() {
        let mut index = Index::default();
        let etags: HashSet<_> = (0..1000).map(|_| index.stamp().etag).collect();
        assert_eq!(etags.len(), 1000);
    }
}
