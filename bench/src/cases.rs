//! All cases that are measured, and how much of each.

mod settings;

use bench_contest::Work;

use crate::ours::LIMITS;
use crate::plan::Contestant::{BuildkitModel, ObjectStore, Opendal, Ours, OursBytesAlone};
use crate::plan::{Case, Contestant, Extent, capped, late};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// All cases.
pub fn cases(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(bulk(extent));
    cases.extend(many(extent));
    cases.extend(warm(extent));
    cases.push(five_names(extent));
    cases.extend(foreign(extent));
    cases.extend(growth(extent));
    cases.extend(settings::cases(extent));
    cases
}

/// A push of nothing to an empty store: what the cases differ from.
fn base(extent: Extent) -> Case {
    Case {
        name: "",
        title: String::new(),
        sizes: Vec::new(),
        there: 0,
        foreign: 0,
        names: 1,
        work: Work::Push,
        limits: LIMITS,
        distances: match extent {
            Extent::Full => vec![late(0), late(5), late(25), capped(0)],
            Extent::Quick => vec![late(0)],
        },
        contestants: vec![Ours, ObjectStore, Opendal, BuildkitModel],
        runs: match extent {
            Extent::Full => 5,
            Extent::Quick => 3,
        },
    }
}

/// The same layers, back into files. There is no model of it: the exporter does not pull.
fn pull(push: &Case, name: &'static str) -> Case {
    let mut contestants = vec![Ours, OursBytesAlone];
    contestants.extend(Contestant::PEERS);
    contestants.extend(Contestant::HASHING_PEERS);
    Case {
        name,
        title: push.title.replace("push", "pull"),
        there: push.sizes.len(),
        work: Work::Pull { verify: true },
        contestants,
        ..push.clone()
    }
}

fn bulk(extent: Extent) -> [Case; 2] {
    let (bytes, distances) = match extent {
        Extent::Full => (1024 * MIB, base(extent).distances),
        Extent::Quick => (256 * MIB, vec![late(0), capped(0)]),
    };
    let push = Case {
        name: "bulk-push",
        title: format!("one layer of {} MiB, push", bytes / MIB),
        sizes: vec![bytes],
        distances,
        ..base(extent)
    };
    let pull = pull(&push, "bulk-pull");
    [push, pull]
}

fn many(extent: Extent) -> [Case; 2] {
    let (layers, distances) = match extent {
        Extent::Full => (500, base(extent).distances),
        Extent::Quick => (200, vec![late(5)]),
    };
    let push = Case {
        name: "many-push",
        title: format!("{layers} layers of 16 KiB to 2 MiB, push"),
        sizes: many_sizes(layers),
        distances,
        ..base(extent)
    };
    let pull = pull(&push, "many-pull");
    [push, pull]
}

/// Layers that are asked for, and the last few, which are larger, for they are sent.
fn warm_sizes(layers: usize) -> (Vec<u64>, usize) {
    const NEW: usize = 20;
    let sizes = (0..layers).map(|number| match number + NEW < layers {
        true => 4 * KIB,
        false => 256 * KIB,
    });
    (sizes.collect(), NEW)
}

fn warm(extent: Extent) -> [Case; 2] {
    let (layers, distances) = match extent {
        Extent::Full => (2000, base(extent).distances),
        Extent::Quick => (200, vec![late(25)]),
    };
    let (sizes, new) = warm_sizes(layers);
    let warm = Case {
        name: "warm-push",
        title: format!("{layers} layers, all of them there, push"),
        there: layers,
        sizes,
        distances,
        ..base(extent)
    };
    let some_new = Case {
        name: "new-push",
        title: format!("{layers} layers, {new} of them new, push"),
        there: layers - new,
        contestants: match extent {
            Extent::Full => warm.contestants.clone(),
            // It asks as often as before, one question after another.
            Extent::Quick => vec![Ours, ObjectStore, Opendal],
        },
        ..warm.clone()
    };
    [warm, some_new]
}

fn five_names(extent: Extent) -> Case {
    let (layers, distances) = match extent {
        Extent::Full => (400, base(extent).distances),
        Extent::Quick => (50, vec![late(25)]),
    };
    Case {
        name: "import-five-names",
        title: format!("five names with the same {layers} layers, import"),
        sizes: vec![4 * KIB; layers],
        there: layers,
        names: 5,
        work: Work::Import,
        distances,
        ..base(extent)
    }
}

/// Asking layer by layer and listing, in a container that is full of other caches' layers.
fn foreign(extent: Extent) -> [Case; 3] {
    let (layers, blobs) = match extent {
        Extent::Full => (2000, 1_000_000),
        Extent::Quick => (200, 20_000),
    };
    let distances = match extent {
        Extent::Full => vec![late(0), late(25)],
        Extent::Quick => vec![late(25)],
    };
    let (sizes, _) = warm_sizes(layers);
    let alone = Case {
        name: "list-alone",
        title: format!("{layers} layers, listing the container"),
        there: layers,
        sizes,
        work: Work::List,
        distances,
        contestants: vec![Ours, ObjectStore, Opendal],
        runs: 3,
        ..base(extent)
    };
    let beside = Case {
        name: "warm-push-beside-foreign",
        title: format!("{layers} layers, all of them there beside {blobs} foreign blobs, push"),
        foreign: blobs,
        work: Work::Push,
        ..alone.clone()
    };
    // It takes many seconds, which the first look tells.
    let list = Case {
        name: "list-beside-foreign",
        title: format!("{layers} layers beside {blobs} foreign blobs, listing the container"),
        work: Work::List,
        distances: vec![late(25)],
        contestants: vec![Ours, ObjectStore],
        runs: 1,
        ..beside.clone()
    };
    [alone, beside, list]
}

/// The same on less and on more, to see how cost grows.
fn growth(extent: Extent) -> Vec<Case> {
    let alone = Case {
        contestants: vec![Ours],
        distances: vec![late(0)],
        runs: 3,
        ..base(extent)
    };
    let mut cases = Vec::new();
    let steps: [(usize, [&'static str; 4]); 3] = [
        (
            100,
            [
                "grow-push-100",
                "grow-warm-100",
                "grow-import-100",
                "grow-pull-100",
            ],
        ),
        (
            1000,
            [
                "grow-push-1000",
                "grow-warm-1000",
                "grow-import-1000",
                "grow-pull-1000",
            ],
        ),
        (
            10_000,
            [
                "grow-push-10000",
                "grow-warm-10000",
                "grow-import-10000",
                "grow-pull-10000",
            ],
        ),
    ];
    let most = if extent == Extent::Full { 10_000 } else { 1000 };
    for (layers, [push, warm, import, pull]) in steps {
        if layers > most {
            break;
        }
        let cold = Case {
            name: push,
            title: format!("{layers} layers of 16 KiB and as many records, push"),
            sizes: vec![16 * KIB; layers],
            ..alone.clone()
        };
        let stored = |name, work, what| Case {
            name,
            title: cold.title.replace("push", what),
            there: layers,
            work,
            ..cold.clone()
        };
        cases.extend([
            stored(warm, Work::Push, "push again"),
            stored(import, Work::Import, "import"),
            stored(pull, Work::Pull { verify: true }, "pull"),
            cold,
        ]);
    }
    if extent == Extent::Full {
        let push = Case {
            name: "grow-push-128mib",
            title: "one layer of 128 MiB, push".to_owned(),
            sizes: vec![128 * MIB],
            ..alone
        };
        let pull = Case {
            contestants: vec![Ours],
            ..pull(&push, "grow-pull-128mib")
        };
        cases.extend([push, pull]);
    }
    cases
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
    fn every_case_has_a_name_of_its_own_and_ours_first() {
        for extent in [Extent::Full, Extent::Quick] {
            let cases = cases(extent);
            let names: HashSet<_> = cases.iter().map(|case| case.name).collect();
            assert_eq!(names.len(), cases.len());
            for case in cases {
                assert_eq!(case.contestants[0], Ours, "{}", case.name);
                assert!(case.there <= case.sizes.len(), "{}", case.name);
            }
        }
    }

    #[test]
    fn every_case_can_name_a_container() {
        for case in cases(Extent::Full) {
            let name = case.container();
            let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(is_fine) && name.len() <= 63, "{name}");
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

    #[test]
    fn the_new_layers_of_a_warm_cache_are_the_last() {
        let (sizes, new) = warm_sizes(100);
        assert_eq!(sizes.len(), 100);
        assert!(sizes[..100 - new].iter().all(|size| *size == 4 * KIB));
        assert!(sizes[100 - new..].iter().all(|size| *size == 256 * KIB));
    }
}
