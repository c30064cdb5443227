//! `faults`: as many rounds of pushes and pulls under random faults as one asks
//! for. A round that goes wrong shows its seed, and `--seed` plays it again.

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use host_test::{Outcome, rounds};

/// Pushes and pulls while things go wrong, with the real `build-cache` program
/// against a blob store on this machine.
#[derive(Parser)]
struct Arguments {
    /// How many rounds to run.
    #[arg(long, default_value_t = 300)]
    rounds: u64,
    /// The seed of the first round; the next has the next number. Without it,
    /// another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// How many rounds run at once: most of a round is waiting.
    #[arg(long, default_value_t = 24)]
    jobs: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Outcome<bool> {
    let started = Instant::now();
    let first = arguments.seed.unwrap_or_else(seconds_since_1970);
    let (tally, failed) = rounds::run(first, arguments.rounds, arguments.jobs).await?;
    println!("{tally}");
    println!(
        "seeds {first} and up, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    for round in &failed {
        println!("FAILED {round}");
        println!("       play it again with --rounds 1 --seed {}", round.seed);
    }
    Ok(failed.is_empty())
}

fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
