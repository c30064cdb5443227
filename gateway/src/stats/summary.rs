//! What a run did, as the page and the lines at its end show it.

use std::collections::{BTreeMap, VecDeque};

use build_cache_host::Digest;
use serde::Serialize;

/// A plugin that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServingPlugin {
    /// Where it serves: `to`, or which `from`.
    pub role: String,
    /// Its type.
    pub r#type: String,
    /// Its version.
    pub version: String,
    /// The digest of the component.
    pub digest: Digest,
}

/// A cache, as the page shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheLine {
    /// How often it was given out.
    pub imported: u64,
    /// How often it was stored.
    pub published: u64,
    /// How often it was asked for and not there.
    pub absent: u64,
    /// How many layers it had the last time.
    pub layers: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many layers were left out the last time.
    pub left_out: usize,
}

/// A request that took long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowRequest {
    /// Its method and path.
    pub what: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What this run did so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How long it has run, in seconds.
    pub seconds: f64,
    /// Which plugins serve.
    pub plugins: Vec<ServingPlugin>,
    /// The caches by their names.
    pub caches: BTreeMap<String, CacheLine>,
    /// Layers of the caches that were given out, each counted once.
    pub layers_there: u64,
    /// Their bytes.
    pub bytes_there: u64,
    /// How many of them a client fetched.
    pub layers_wanted: u64,
    /// The bytes that were read from the store.
    pub bytes_fetched: u64,
    /// Layers that were sent to the store.
    pub layers_stored: u64,
    /// Layers that clients sent and the store had.
    pub layers_reused: u64,
    /// The bytes that were sent to the store.
    pub bytes_stored: u64,
    /// Layers that the store lost or spoiled.
    pub layers_lost: u64,
    /// Requests to the store that were sent again.
    pub retries: u64,
    /// The bytes in the spool at this moment.
    pub spool_bytes: u64,
    /// The uploads that are open at this moment.
    pub uploads: u64,
    /// The slowest requests.
    pub slow: Vec<SlowRequest>,
    /// What was lost.
    pub lost: Vec<String>,
    /// The latest warnings.
    pub warnings: VecDeque<String>,
}

impl Summary {
    /// What this run did, in four lines.
    pub fn lines(&self) -> [String; 4] {
        let there = match self.layers_there {
            0 => "no cache was there to use".to_owned(),
            there => format!(
                "{} of {there} layers used, {} of {} fetched",
                self.layers_wanted,
                size(self.bytes_fetched),
                size(self.bytes_there)
            ),
        };
        let sent = format!(
            "{} layers sent ({}), {} there before",
            self.layers_stored,
            size(self.bytes_stored),
            self.layers_reused
        );
        let published: Vec<_> = self
            .caches
            .iter()
            .filter(|(_, line)| line.published > 0)
            .map(|(name, line)| format!("{name} ({} layers, {})", line.layers, size(line.bytes)))
            .collect();
        let published = match published.len() {
            0 => "no cache was stored".to_owned(),
            1..=3 => format!("stored {}", published.join(", ")),
            more => format!("stored {more} caches"),
        };
        let trouble = match (self.layers_lost, self.retries) {
            (0, 0) => "nothing was lost".to_owned(),
            (lost, retries) => format!("{lost} layers lost or damaged, {retries} requests retried"),
        };
        [there, sent, published, trouble]
    }
}

/// A number of bytes as people write it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut number = bytes as f64 / 1000.0;
    let mut unit = 0;
    while number >= 999.95 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    format!("{number:.1} {}", UNITS[unit])
}
