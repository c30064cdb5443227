//! Rounds of pushes and pulls under random faults. `cargo run --release -p
//! host-test --bin faults` runs as many as one asks for.

use host_test::rounds;

use crate::setup::run;

/// As many as a minute has room for; other seeds are for longer runs.
const ROUNDS: u64 = 300;
const FIRST_SEED: u64 = 1;
/// What a fault may cost, in bytes sent again: the largest layer of a round, and
/// that only where the store says something wrong of it. One that fails costs a
/// block, which `retries` shows.
const LARGEST_LAYER: u64 = 5 << 16;
/// Most of a round is waiting.
const AT_ONCE: usize = 32;

#[test]
fn a_push_or_a_pull_under_faults_ends_right_or_with_a_clear_error() {
    run(async {
        let ran = rounds::run(FIRST_SEED, ROUNDS, AT_ONCE).await;
        let (tally, failed) = ran.expect("rounds");
        println!("{tally}");
        let failed: Vec<_> = failed.iter().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        // The rounds were not idle: each outcome came up, and often.
        assert!(tally.rounds == ROUNDS && tally.faults > ROUNDS, "{tally}");
        for seen in [
            tally.pushed,
            tally.push_errors,
            tally.pulled,
            tally.pull_errors,
        ] {
            assert!(seen > ROUNDS / 10, "{tally}");
        }
        assert!(tally.pulled_in_part > 0, "{tally}");
        assert!(tally.worst_waste_bytes <= LARGEST_LAYER, "{tally}");
    });
}
