//! What is measured: the cases, as plain data.

use bench_contest::Work;
use serde::Serialize;

use crate::store::Distance;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

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

use Contestant::{BuildkitModel, ObjectStore, ObjectStoreHashing, Opendal, OpendalHashing, Ours};

impl Contestant {
    /// The native clients, doing no more than ours.
    pub const PEERS: [Self; 2] = [ObjectStore, Opendal];
    /// The native clients, comparing digests as ours does.
    pub const HASHING_PEERS: [Self; 2] = [ObjectStoreHashing, OpendalHashing];

    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Ours => "ours",
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
    /// How far away.
    pub distances: Vec<Distance>,
    /// Who.
    pub contestants: Vec<Contestant>,
    /// How often each.
    pub runs: usize,
}

impl Case {
    /// How often one contestant does it at one distance: the model, whose time is nearly all
    /// waiting, once.
    pub fn runs_of(&self, contestant: Contestant, distance: Distance) -> usize {
        match contestant {
            BuildkitModel if distance.latency_ms > 0 => 1,
            _ => self.runs,
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

/// All cases.
pub fn cases(extent: Extent) -> Vec<Case> {
    let full = extent == Extent::Full;
    let pick = |all: u64, few: u64| if full { all } else { few };
    let everywhere = || {
        if full {
            vec![late(0), late(5), late(25), capped(0)]
        } else {
            vec![late(0), capped(0)]
        }
    };
    let pushing = || vec![Ours, ObjectStore, Opendal, BuildkitModel];
    let pulling = || {
        let mut all = vec![Ours];
        all.extend(Contestant::PEERS);
        all.extend(Contestant::HASHING_PEERS);
        all
    };
    let large = pick(1024 * MIB, 256 * MIB);
    let many = many_sizes(pick(500, 100));
    let base = Case {
        name: "",
        title: String::new(),
        sizes: Vec::new(),
        there: 0,
        foreign: 0,
        names: 1,
        work: Work::Push,
        distances: everywhere(),
        contestants: pushing(),
        runs: pick(5, 3) as usize,
    };
    let pull = Case {
        work: Work::Pull { verify: true },
        contestants: pulling(),
        ..base.clone()
    };
    vec![
        Case {
            name: "bulk-push",
            title: format!("one layer of {} MiB, push", large / MIB),
            sizes: vec![large],
            ..base.clone()
        },
        Case {
            name: "bulk-pull",
            title: format!("one layer of {} MiB, pull", large / MIB),
            sizes: vec![large],
            there: 1,
            ..pull.clone()
        },
        Case {
            name: "many-push",
            title: format!("{} layers of 16 KiB to 2 MiB, push", many.len()),
            sizes: many.clone(),
            ..base.clone()
        },
        Case {
            name: "many-pull",
            title: format!("{} layers of 16 KiB to 2 MiB, pull", many.len()),
            there: many.len(),
            sizes: many,
            ..pull
        },
    ]
}

/// Sizes from 16 KiB to 2 MiB, each factor as likely as any other, as the sizes of real layers are.
fn many_sizes(count: u64) -> Vec<u64> {
    let (least, most) = (16.0 * KIB as f64, 2.0 * MIB as f64);
    let size = |number: u64| {
        // The golden ratio scatters any count of numbers evenly.
        let share = (number as f64 * 0.618_033_988_749_895).fract();
        (least * (most / least).powf(share)) as u64
    };
    (0..count).map(size).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_ours_in_it() {
        for extent in [Extent::Full, Extent::Quick] {
            let cases = cases(extent);
            let names: HashSet<_> = cases.iter().map(|case| case.name).collect();
            assert_eq!(names.len(), cases.len());
            for case in cases {
                assert!(case.contestants.contains(&Ours), "{}", case.name);
                assert!(case.there <= case.sizes.len(), "{}", case.name);
            }
        }
    }

    #[test]
    fn many_layers_are_of_all_sizes() {
        let sizes = many_sizes(500);
        assert!(sizes.iter().all(|size| (16 * KIB..=2 * MIB).contains(size)));
        let small = sizes.iter().filter(|size| **size < 181 * KIB).count();
        assert!(
            (240..=260).contains(&small),
            "{small} below the middle factor"
        );
    }
}
