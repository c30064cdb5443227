//! Reading names side by side, so that one that cannot be read costs no other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use build_cache_host::{Cache, Digest, Error, ManifestInfo};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::AT_ONCE;
use crate::console::{Console, number};
use crate::tally::blobs;

/// A long silence is broken after this time.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// What reading a name led to.
pub enum Reading {
    /// Its blobs with their sizes, each once.
    Cache(HashMap<Digest, u64>),
    /// The store does not have the name, or no longer.
    Absent,
    /// The reason it cannot be read.
    Unreadable(Error),
}

/// Lists the names that are wanted.
pub async fn list(
    cache: &Cache,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<ManifestInfo>, Error> {
    let mut listing = cache.manifests().await?;
    let mut found = Vec::new();
    while let Some(info) = listing.try_next().await? {
        if is_wanted(&info.name) {
            found.push(info);
        }
    }
    Ok(found)
}

/// Reads each name, in the order given. Fails where no name can be read at all,
/// because the plugin cannot do this or has ended.
pub async fn read(
    cache: &Cache,
    names: &[String],
    console: &Console,
) -> Result<Vec<Reading>, Error> {
    let mut readings = Vec::with_capacity(names.len());
    let mut last_line = Instant::now();
    let mut loading = stream::iter(names)
        .map(|name| cache.load(name))
        .buffered(AT_ONCE);
    while let Some(loaded) = loading.next().await {
        readings.push(match loaded {
            Ok(Some(named)) => Reading::Cache(blobs(&named.manifest).0),
            Ok(None) => Reading::Absent,
            Err(error @ Error::Unsupported(_)) => return Err(error),
            Err(error) if !cache.is_alive() => return Err(error),
            Err(error) => Reading::Unreadable(error),
        });
        if last_line.elapsed() >= LONGEST_SILENCE {
            last_line = Instant::now();
            let (read, all) = (readings.len(), number(names.len(), "name"));
            console.note(&format!("read {read} of {all}"));
        }
    }
    Ok(readings)
}

/// The reason a name cannot be read, in one line.
pub fn in_one_line(error: &Error) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
