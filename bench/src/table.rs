//! The table that people read.

use std::fmt::Write as _;

use crate::measure::Outcome;
use crate::plan::Case;
use crate::store::Distance;

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
            format!(
                "{}–{}",
                seconds(outcome.seconds.min),
                seconds(outcome.seconds.max)
            ),
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
