//! The settings that a user has, tried on a store as far away and on lines as thick as a cloud's:
//! where their defaults come from.

use bench_contest::{Limits, Work};

use super::{MIB, base, many_sizes};
use crate::ours::LIMITS;
use crate::plan::Contestant::Ours;
use crate::plan::{Case, Extent, capped};

/// So many transfers at once, and what the cases of that are called.
const PARALLELISM: [(usize, [&str; 3]); 5] = [
    (4, ["set-push-4", "set-pull-4", "set-many-push-4"]),
    (8, ["set-push-8", "set-pull-8", "set-many-push-8"]),
    (16, ["set-push-16", "set-pull-16", "set-many-push-16"]),
    (32, ["set-push-32", "set-pull-32", "set-many-push-32"]),
    (64, ["set-push-64", "set-pull-64", "set-many-push-64"]),
];

/// Blocks and ranges of so many MiB, and what the cases of that are called.
const PARTS: [(u64, [&str; 2]); 5] = [
    (2, ["set-push-2mib", "set-pull-2mib"]),
    (4, ["set-push-4mib", "set-pull-4mib"]),
    (8, ["set-push-8mib", "set-pull-8mib"]),
    (16, ["set-push-16mib", "set-pull-16mib"]),
    (32, ["set-push-32mib", "set-pull-32mib"]),
];

/// The cases. A quick look has none of them: they compare us with ourselves.
pub(super) fn cases(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    if extent == Extent::Quick {
        return cases;
    }
    let push = Case {
        sizes: vec![512 * MIB],
        distances: vec![capped(25)],
        contestants: vec![Ours],
        runs: 3,
        ..base(extent)
    };
    let pull = Case {
        there: 1,
        work: Work::Pull { verify: true },
        ..push.clone()
    };
    let many = Case {
        sizes: many_sizes(500),
        ..push.clone()
    };
    for (transfers, [push_name, pull_name, many_name]) in PARALLELISM {
        let limits = Limits {
            transfers,
            small_transfers: (4 * transfers).min(64),
            ..LIMITS
        };
        let with = |case: &Case, name, what| Case {
            name,
            title: format!("{what}, {transfers} at once"),
            limits,
            ..case.clone()
        };
        cases.push(with(&push, push_name, "one layer of 512 MiB, push"));
        cases.push(with(&pull, pull_name, "one layer of 512 MiB, pull"));
        cases.push(with(&many, many_name, "500 layers, push"));
    }
    for (mib, [push_name, pull_name]) in PARTS {
        let limits = Limits {
            part_bytes: Some(mib * MIB),
            ..LIMITS
        };
        let with = |case: &Case, name, what| Case {
            name,
            title: format!("one layer of 512 MiB, {what} of {mib} MiB"),
            limits,
            ..case.clone()
        };
        cases.push(with(&push, push_name, "push in blocks"));
        cases.push(with(&pull, pull_name, "pull in ranges"));
    }
    cases
}
