//! What a round is to be: drawn from its seed, as plain data, before anything
//! runs.

use blob_store::{Action, Fault, OperationKind};
use build_cache_host::Digest;

use super::dice::Dice;
use crate::sample::Sample;

/// The block size of every push, in bytes: the smallest that azblob takes.
pub(super) const BLOCK: u64 = 1 << 16;

/// How long a request may stand still in a round, in seconds.
pub(super) const PATIENCE: u64 = 1;

/// Longer than that: who waits for the end of such a pause has no patience of
/// their own.
const LONG_PAUSE_MS: u64 = 30_000;

/// One round.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The cache that the round pushes.
    pub new: Sample,
    /// What stands under the name before, if anything. It shares layers.
    pub old: Option<Sample>,
    /// Whether the directory that is pulled into holds the old cache.
    pub pulls_over_old: bool,
    pub strict: bool,
    pub max_retries: u64,
    pub push_faults: Vec<Fault>,
    pub pull_faults: Vec<Fault>,
}

impl Plan {
    /// The round of a seed.
    pub fn draw(seed: u64) -> Self {
        let dice = &mut Dice::new(seed);
        let sizes: Vec<_> = (0..dice.within(1..=6)).map(|_| size(dice)).collect();
        let new = Sample::seeded(seed, sizes.iter().copied());
        let old = dice.once_in(2).then(|| {
            let shared = dice.below(sizes.len() as u64) as usize;
            let mut sizes = sizes[..shared].to_vec();
            // Of a size that none of the new ones has, and so another layer.
            sizes.push(5 * BLOCK + 1 + dice.below(1000));
            Sample::seeded(seed, sizes)
        });
        let keys = keys(&new);
        Self {
            pulls_over_old: old.is_some() && dice.once_in(2),
            old,
            strict: dice.once_in(4),
            max_retries: dice.within(1..=4),
            push_faults: faults(dice, &PUSHING, &keys),
            pull_faults: faults(dice, &PULLING, &keys),
            new,
        }
    }

    /// Whether the store itself loses what it has taken: then a manifest may
    /// stand without a layer, and nobody is to blame.
    pub fn store_forgets(&self) -> bool {
        let mut faults = self.push_faults.iter().chain(&self.pull_faults);
        faults.any(|fault| *fault.action() == Action::DropBlob)
    }
}

/// A layer's size: around the places where something changes.
fn size(dice: &mut Dice) -> u64 {
    match dice.below(4) {
        0 => dice.within(1..=2000),
        1 => *dice.pick(&[1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 4 * BLOCK + 17]),
        2 => dice.within(BLOCK..=3 * BLOCK),
        _ => dice.within(2000..=BLOCK),
    }
}

/// What a fault may be about: anything, names, layers, or one layer.
fn keys(sample: &Sample) -> Vec<Option<String>> {
    let layers = sample.digests();
    let layers = layers.iter().map(Digest::to_string).map(Some);
    let groups = [
        None,
        Some("manifests/".to_owned()),
        Some("blobs/".to_owned()),
    ];
    groups.into_iter().chain(layers).collect()
}

use OperationKind::{GetBlob, GetBlobProperties, PutBlob, PutBlock, PutBlockList};

const PUSHING: [Option<OperationKind>; 5] = [
    None,
    Some(GetBlobProperties),
    Some(PutBlob),
    Some(PutBlock),
    Some(PutBlockList),
];
const PULLING: [Option<OperationKind>; 4] =
    [None, Some(GetBlobProperties), Some(GetBlob), Some(GetBlob)];

fn faults(
    dice: &mut Dice,
    operations: &[Option<OperationKind>],
    keys: &[Option<String>],
) -> Vec<Fault> {
    let count = dice.below(5);
    (0..count)
        .map(|_| {
            let action = action(dice);
            // Nothing but TLS protects a layer on its way in: a manifest has a
            // checksum.
            let is_on_the_way_in = matches!(action, Action::CorruptRequest { .. });
            let mut fault = Fault::new(action).skip(dice.below(4));
            if let Some(operation) = dice.pick(operations) {
                fault = fault.on(*operation);
            }
            if let Some(key) = dice.pick(keys) {
                fault = fault.key(key.clone());
            }
            if is_on_the_way_in {
                fault = fault.on(PutBlob).key("manifests/").skip(0);
            }
            // Most faults pass; a store that fails for good is rare.
            if dice.once_in(12) {
                fault
            } else {
                fault.times(dice.within(1..=3))
            }
        })
        .collect()
}

/// Every action that there is, with numbers around those that matter.
fn action(dice: &mut Dice) -> Action {
    let somewhere = dice.below(BLOCK);
    let pause = *dice.pick(&[10, 300, LONG_PAUSE_MS]);
    match dice.below(21) {
        0 => Action::Delay {
            ms: dice.within(1..=300),
        },
        1 => Action::Throttle {
            bytes_per_second: dice.within(200_000..=2_000_000),
        },
        2 | 3 => busy(dice),
        4 => {
            let (status, code) = *dice.pick(&REFUSALS);
            Action::refuse_with(status, code)
        }
        5 => Action::ProxyPage {
            status: *dice.pick(&[200, 201, 206, 302, 403, 502]),
        },
        6 => Action::Redirect {
            to: "http://127.0.0.1:1/elsewhere".to_owned(),
        },
        7 => Action::Refuse,
        8 => Action::CutRequest { after: somewhere },
        9 => Action::CutAfterRequest,
        10 => Action::StallRequest {
            after: somewhere,
            ms: pause,
        },
        11 => Action::LoseAnswer,
        12 => Action::CutResponse { after: somewhere },
        13 => Action::StallResponse {
            after: somewhere,
            ms: pause,
        },
        // Near the start, where a manifest still is, or anywhere in a block.
        14 => {
            let reach = *dice.pick(&[400, BLOCK]);
            Action::Corrupt {
                at: dice.below(reach),
            }
        }
        15 => Action::Short {
            by: dice.within(1..=BLOCK),
        },
        16 => Action::Oversize {
            by: dice.within(1..=2 * BLOCK),
        },
        17 => Action::WrongLength {
            by: dice.within(0..=2000).cast_signed() - 1000,
        },
        18 => Action::DropBlob,
        19 => Action::CorruptRequest {
            at: dice.below(400),
        },
        _ => Action::ClockSkew {
            seconds: *dice.pick(&[-100_000, -1000, 1000, 100_000]),
        },
    }
}

/// Says that it will pass, with or without a hint when.
fn busy(dice: &mut Dice) -> Action {
    let (status, code) = *dice.pick(&[
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (500, "OperationTimedOut"),
        (503, "ServerBusy"),
    ]);
    let hints = [
        vec![],
        vec![("Retry-After".to_owned(), "1".to_owned())],
        vec![("retry-after-ms".to_owned(), "20".to_owned())],
        vec![("Retry-After".to_owned(), "3600".to_owned())],
        vec![("Retry-After".to_owned(), "soon".to_owned())],
    ];
    Action::Answer {
        status,
        code: code.to_owned(),
        headers: dice.pick(&hints).clone(),
    }
}

/// What a store says that means it; an expired token among them.
const REFUSALS: [(u16, &str); 7] = [
    (401, "InvalidAuthenticationInfo"),
    (403, "AuthenticationFailed"),
    (403, "AuthorizationPermissionMismatch"),
    (404, "BlobNotFound"),
    (409, "BlobAlreadyExists"),
    (412, "ConditionNotMet"),
    (400, "InvalidBlockList"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_round_each_time() {
        let [one, again, other] = [7, 7, 8].map(|seed| {
            let plan = Plan::draw(seed);
            let faults = [plan.push_faults, plan.pull_faults];
            (plan.new.manifest, plan.max_retries, faults)
        });
        assert!(one == again && one != other);
    }

    #[test]
    fn an_old_cache_shares_the_layers_that_it_should_and_no_others() {
        let plans: Vec<_> = (0..50).map(Plan::draw).collect();
        let shared = |plan: &Plan| {
            let (new, old) = (plan.new.digests(), plan.old.as_ref()?.digests());
            let shared = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
            assert_eq!(shared, old.len() - 1);
            Some(shared)
        };
        assert!(plans.iter().filter_map(shared).any(|shared| shared > 0));
    }

    #[test]
    fn every_kind_of_fault_comes_up() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let plan = Plan::draw(seed);
            for fault in plan.push_faults.iter().chain(&plan.pull_faults) {
                let name = format!("{:?}", fault.action());
                kinds.insert(name.split([' ', '{']).next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(kinds.len(), 19, "{kinds:?}");
    }
}
