//! What can be measured: who does which work at which distance, as plain data.

use bench_contest::{Limits, Work};
use serde::Serialize;

use crate::store::Distance;

/// What one connection to a cloud store carries, about.
pub const CAP: u64 = 60_000_000;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything, in minutes.
    Full,
    /// The same questions on less, in under a minute.
    Quick,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contestant {
    /// The host with the component. It always compares digests.
    Ours,
    /// The same, for a build tool that pulls layers' bytes and compares digests itself.
    OursBytesAlone,
    /// `object_store`, without a look at digests.
    ObjectStore,
    /// `object_store`, hashing what it pulls.
    ObjectStoreHashing,
    /// `opendal`, without a look at digests.
    Opendal,
    /// `opendal`, hashing what it pulls.
    OpendalHashing,
    /// The model of BuildKit.
    BuildkitModel,
}

use Contestant::{
    BuildkitModel, ObjectStore, ObjectStoreHashing, Opendal, OpendalHashing, Ours, OursBytesAlone,
};

impl Contestant {
    /// The native clients, doing no more than ours.
    pub const PEERS: [Self; 2] = [ObjectStore, Opendal];
    /// The native clients, comparing digests as ours does.
    pub const HASHING_PEERS: [Self; 2] = [ObjectStoreHashing, OpendalHashing];

    /// Whether it compares the digests of what it pulls.
    pub fn checks_digests(self) -> bool {
        !Self::PEERS.contains(&self) && self != OursBytesAlone
    }

    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Ours => "ours",
            OursBytesAlone => "ours, bytes alone",
            ObjectStore => "object_store",
            ObjectStoreHashing => "object_store+sha256",
            Opendal => "opendal",
            OpendalHashing => "opendal+sha256",
            BuildkitModel => "BuildKit (model)",
        }
    }
}

/// One thing to measure.
#[derive(Clone, Debug)]
pub struct Case {
    /// What `--only` takes.
    pub name: &'static str,
    /// One line for people.
    pub title: String,
    /// The layers' sizes, in bytes.
    pub sizes: Vec<u64>,
    /// How many of them the store has before: the first.
    pub there: usize,
    /// Blobs of nobody's layers beside them.
    pub foreign: u64,
    /// The cache's names.
    pub names: usize,
    /// The work.
    pub work: Work,
    /// How much at once.
    pub limits: Limits,
    /// How far away.
    pub distances: Vec<Distance>,
    /// Who.
    pub contestants: Vec<Contestant>,
    /// How often each.
    pub runs: usize,
}

impl Case {
    /// How often one contestant does it at one distance: less often where latency makes up most of
    /// it, which is the same each time, and the model, which waits longest, only once.
    pub fn runs_of(&self, contestant: Contestant, distance: Distance) -> usize {
        match (distance.latency_ms, contestant) {
            (0, _) => self.runs,
            (_, BuildkitModel) => 1,
            _ => self.runs.min(3),
        }
    }

    /// The bytes that are moved.
    pub fn bytes(&self) -> u64 {
        match self.work {
            Work::Push => self.sizes[self.there..].iter().sum(),
            Work::Pull { .. } => self.sizes.iter().sum(),
            Work::Import | Work::List => 0,
        }
    }

    /// The container that it takes place in. Cases beside foreign blobs share one, for these take
    /// long to make.
    pub fn container(&self) -> &'static str {
        match self.foreign {
            0 => self.name,
            _ => "with-foreign-blobs",
        }
    }

    /// The name of its set of layers: cases with the same sizes share one.
    pub fn set(&self) -> String {
        let size: u64 = self.sizes.iter().sum();
        format!("{}-layers-{size}-bytes", self.sizes.len())
    }

    /// Whether it changes what the store has, so that each run needs a fresh one.
    pub fn changes_the_store(&self) -> bool {
        self.work == Work::Push && self.there < self.sizes.len()
    }
}

/// This much later, with all the width there is.
pub fn late(latency_ms: u64) -> Distance {
    Distance {
        latency_ms,
        bytes_per_second: None,
    }
}

/// This much later, on connections as thick as a cloud store's.
pub fn capped(latency_ms: u64) -> Distance {
    Distance {
        latency_ms,
        bytes_per_second: Some(CAP),
    }
}
