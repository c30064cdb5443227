//! The table that people read.

use std::fmt::Write as _;

use crate::loading::Timing;
use crate::measure::Outcome;
use crate::plan::Case;
use crate::statistics::Spread;
use crate::store::Distance;
use crate::targets::{Bound, Verdict};

/// A GiB, in bytes.
const GIB: f64 = (1_u64 << 30) as f64;

/// One case at one distance: a row for each contestant, and how ours compares with each.
pub fn outcomes(case: &Case, distance: Distance, outcomes: &[Outcome]) -> String {
    let mut text = format!("\n{} ({}), {}\n", case.title, case.name, far(distance));
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "  {:<20} {:>9} {:>17} {:>7} {:>7} {:>7} {:>6} {:>6} {:>8} {:>8}",
        "", "median", "min–max", "MB/s", "CPU s", "CPU/GiB", "MB", "guest", "requests", "ours is"
    );
    let ours = outcomes.first().map(|outcome| outcome.seconds.median);
    for outcome in outcomes {
        let of_bytes = |figure: f64| match outcome.bytes {
            0 => String::new(),
            _ => format!("{figure:.2}"),
        };
        let rate = outcome.bytes_per_second();
        let _ = writeln!(
            text,
            "  {:<20} {:>9} {:>17} {:>7} {:>7.2} {:>7} {:>6.0} {:>6} {:>8.0} {:>8}",
            outcome.contestant.name(),
            seconds(outcome.seconds.median),
            min_to_max(&outcome.seconds),
            rate.map_or_else(String::new, |rate| format!("{:.0}", rate / 1e6)),
            outcome.cpu_seconds.median,
            of_bytes(outcome.cpu_seconds.median * GIB / outcome.bytes as f64),
            outcome.peak_memory_bytes as f64 / 1e6,
            outcome
                .guest_memory_bytes
                .map_or_else(String::new, megabytes),
            outcome.requests.median,
            ours.map_or_else(String::new, |ours| {
                format!("{:.2}×", outcome.seconds.median / ours)
            }),
        );
    }
    text
}

/// What it costs to have the component.
pub fn timings(timings: &[Timing]) -> String {
    let mut text = format!(
        "\nloading, opening, starting (load)\n  {:<54} {:>9} {:>17} {:>6} {:>6}\n",
        "", "median", "min–max", "MB", "guest"
    );
    for timing in timings {
        let memory = |bytes: Option<u64>| bytes.map_or_else(String::new, megabytes);
        let _ = writeln!(
            text,
            "  {:<54} {:>9} {:>17} {:>6} {:>6}",
            timing.name,
            seconds(timing.seconds.median),
            min_to_max(&timing.seconds),
            memory(timing.peak_memory_bytes),
            memory(timing.guest_memory_bytes),
        );
    }
    text
}

/// What was to be reached, and whether it was.
pub fn verdicts(verdicts: &[Verdict]) -> String {
    let mut text = "\ntargets\n".to_owned();
    for verdict in verdicts {
        let (word, bound) = match verdict.bound {
            Bound::AtLeast(bound) => ("at least", bound),
            Bound::AtMost(bound) => ("at most", bound),
        };
        let _ = writeln!(
            text,
            "  {:<3} {:<86} {:>8.2} {:<2} {word} {bound}",
            if verdict.met { "yes" } else { "NO" },
            verdict.what,
            verdict.figure,
            verdict.unit,
        );
    }
    text
}

/// A distance in words.
pub fn far(distance: Distance) -> String {
    let latency = match distance.latency_ms {
        0 => "no added latency".to_owned(),
        latency => format!("{latency} ms added to each request"),
    };
    match distance.bytes_per_second {
        None => latency,
        Some(cap) => format!("{latency}, {} MB/s a connection", cap / 1_000_000),
    }
}

fn min_to_max(spread: &Spread) -> String {
    format!("{}–{}", seconds(spread.min), seconds(spread.max))
}

fn seconds(seconds: f64) -> String {
    match seconds {
        0.0..0.001 => format!("{:.0}µs", seconds * 1e6),
        0.001..1.0 => format!("{:.1}ms", seconds * 1e3),
        _ => format!("{seconds:.2}s"),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
