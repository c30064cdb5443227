//! How hard and how long to try: the few numbers that a user may set.

use std::time::Duration;

use super::attributes::Attributes;
use crate::error::Error;

/// MiB, in bytes.
const MIB: u64 = 1024 * 1024;

/// The most that one Put Block takes, in bytes.
const MAX_BLOCK: u64 = 4000 * MIB;

/// How hard and how long to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// How many blocks are sent at once, and layers that are not small.
    pub(crate) parallelism: usize,
    /// Layers up to this size go in one request, others in blocks of it; in
    /// bytes.
    pub(crate) block_size: u64,
    /// How often a failed request is sent again.
    pub(crate) max_retries: u32,
    /// How long a request may make no progress, its retries included.
    pub(crate) stall_timeout: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            // At 60 MB/s each, what a cloud's connection carries, they fill a
            // line of 10 Gbit/s; measured in ARCHITECTURE.md.
            parallelism: 16,
            // 6 % slower than twice as much 25 ms away, and half as much to
            // send again.
            block_size: 16 * MIB,
            max_retries: 5,
            stall_timeout: Duration::from_secs(60),
        }
    }
}

impl Tuning {
    /// Takes what was given, and the defaults for the rest.
    pub(super) fn take(given: &mut Attributes) -> Result<Self, Error> {
        let mut tuning = Self::default();
        if let Some(text) = given.take("parallelism", None) {
            tuning.parallelism = match text.value.parse() {
                Ok(number @ 1..=256) => number,
                _ => return Err(text.wrong("it must be a number from 1 to 256")),
            };
        }
        if let Some(text) = given.take("block_size", None) {
            tuning.block_size = match bytes(&text.value) {
                Some(size @ 65536..=MAX_BLOCK) => size,
                _ => {
                    return Err(text.wrong("it must be a size from 64KiB to 4000MiB, such as 8MiB"));
                }
            };
        }
        if let Some(text) = given.take("max_retries", None) {
            tuning.max_retries = match text.value.parse() {
                Ok(number @ 0..=100) => number,
                _ => return Err(text.wrong("it must be a number from 0 to 100")),
            };
        }
        if let Some(text) = given.take("stall_timeout", None) {
            tuning.stall_timeout = match seconds(&text.value) {
                Some(seconds @ 1..=86400) => Duration::from_secs(seconds),
                _ => return Err(text.wrong("it must be a time from 1s to 24h, such as 90s or 5m")),
            };
        }
        Ok(tuning)
    }

    /// How many requests without a layer, or with a small one, are sent at
    /// once: they cost little but the wait.
    pub(crate) fn small_requests(&self) -> usize {
        (self.parallelism * 4).min(64).max(self.parallelism)
    }
}

/// Bytes, with an optional unit: `8388608`, `8MiB`, `8MB`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    number.checked_mul(match unit.as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1024,
        "kb" => 1000,
        "m" | "mi" | "mib" => MIB,
        "mb" => 1_000_000,
        "g" | "gi" | "gib" => 1024 * MIB,
        "gb" => 1_000_000_000,
        _ => return None,
    })
}

/// Seconds, with an optional unit: `90`, `90s`, `5m`, `1h`.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    number.checked_mul(match unit.as_str() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    })
}

/// A whole number and what follows it, in lower case.
fn split_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_requests_are_more_at_once_and_never_fewer() {
        for (parallelism, small) in [(1, 4), (16, 64), (32, 64), (100, 100)] {
            let tuning = Tuning {
                parallelism,
                ..Tuning::default()
            };
            assert_eq!(tuning.small_requests(), small);
        }
    }
}
