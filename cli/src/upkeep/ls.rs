//! `build-cache ls`: every name in a store, what it holds, and whether all of it
//! is still there.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use build_cache_host::{CacheSpec, Digest};
use indicatif::{DecimalBytes, HumanDuration};
use serde::Serialize;

use super::args::LsArgs;
use super::holdings::{Holding, Total, add_up};
use super::reading::{Reading, in_one_line, list, read};
use super::table::{Align, table};
use crate::console::{Console, number};
use crate::spec;

/// The consequence of a failure.
const FAILED: &str = "the store was not listed";

/// What a store holds.
#[derive(Debug, Serialize)]
struct Listed {
    r#type: String,
    /// The most recently written first.
    names: Vec<Entry>,
    /// What the names that can be read hold, each layer counted once.
    total: Total,
}

/// One name.
#[derive(Debug, Clone, Serialize)]
struct Entry {
    name: String,
    state: State,
    /// The reason it cannot be read.
    error: Option<String>,
    /// None where the name cannot be read.
    #[serde(flatten)]
    holding: Option<Holding>,
    /// When it was last written, in seconds since the Unix epoch.
    modified: u64,
    /// When it was last written or read, if the store reports that.
    used: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// The store has every layer.
    Whole,
    /// It has lost some.
    Incomplete,
    /// The manifest is damaged, or reading it failed.
    Unreadable,
}

/// Lists, reports, and turns a failure into a warning where the user asked for
/// that.
pub async fn run(args: &LsArgs, console: &Console) -> Result<()> {
    let spec = match spec::read("--from", &args.from, &[]) {
        Err(error) if spec::ignores(&args.from, &error) => return console.ignored(FAILED, &error),
        spec => spec?,
    };
    match look(args, &spec, console).await {
        Ok(listed) => console.answer(&listed.text(console, now()), &listed),
        Err(error) if spec.ignore_error => console.ignored(FAILED, &error),
        Err(error) => Err(error),
    }
}

async fn look(args: &LsArgs, spec: &CacheSpec, console: &Console) -> Result<Listed> {
    let cache = super::open(spec, &args.plugin, &args.network, console).await?;
    let mut infos = list(&cache, |_| true).await?;
    infos.sort_by(|one, other| {
        let newest_first = other.modified.cmp(&one.modified);
        newest_first.then_with(|| one.name.cmp(&other.name))
    });
    let names: Vec<String> = infos.iter().map(|info| info.name.clone()).collect();
    let readings = read(&cache, &names, console).await?;

    let layers = |reading: &'_ Reading| match reading {
        Reading::Cache(blobs) => blobs.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let distinct: HashSet<Digest> = readings.iter().flat_map(layers).collect();
    let distinct: Vec<Digest> = distinct.into_iter().collect();
    let found = match distinct.is_empty() {
        true => Vec::new(),
        false => cache.find(&distinct).await?,
    };
    let stored: HashMap<Digest, u64> = distinct
        .into_iter()
        .zip(found)
        .filter_map(|(blob, layer)| Some((blob, layer?.size)))
        .collect();

    let caches = readings.iter().filter_map(|reading| match reading {
        Reading::Cache(blobs) => Some(blobs),
        _ => None,
    });
    let (holdings, total) = add_up(&caches.collect::<Vec<_>>(), &stored);
    let mut holdings = holdings.into_iter();
    let mut names = Vec::new();
    for (info, reading) in infos.into_iter().zip(readings) {
        let (holding, error) = match reading {
            Reading::Cache(_) => (holdings.next(), None),
            Reading::Unreadable(error) => (None, Some(in_one_line(&error))),
            // It was removed after the listing.
            Reading::Absent => continue,
        };
        let state = match &holding {
            None => State::Unreadable,
            Some(holding) if holding.layers_lost > 0 => State::Incomplete,
            Some(_) => State::Whole,
        };
        names.push(Entry {
            name: info.name,
            state,
            error,
            holding,
            modified: info.modified,
            used: info.used,
        });
    }
    Ok(Listed {
        r#type: spec.r#type.clone(),
        names,
        total,
    })
}

impl Listed {
    /// As a table, at this time in seconds since the Unix epoch.
    fn text(&self, console: &Console, now: u64) -> String {
        if self.names.is_empty() {
            return "The store has no caches.".to_owned();
        }
        let knows_use = self.names.iter().any(|entry| entry.used.is_some());
        let mut columns = vec![
            ("NAME", Align::Left),
            ("LAYERS", Align::Right),
            ("SIZE", Align::Right),
            ("OWN", Align::Right),
            ("SHARED", Align::Right),
            ("AGE", Align::Left),
        ];
        if knows_use {
            columns.push(("USED", Align::Left));
        }
        columns.push(("STATE", Align::Left));
        let row = |entry: &Entry| {
            let mut row = vec![console.name(&entry.name)];
            row.extend(match &entry.holding {
                None => ["-"; 4].map(str::to_owned),
                Some(holding) => [
                    holding.layers.to_string(),
                    DecimalBytes(holding.bytes).to_string(),
                    DecimalBytes(holding.own_bytes).to_string(),
                    DecimalBytes(holding.shared_bytes).to_string(),
                ],
            });
            row.push(ago(Some(entry.modified), now));
            if knows_use {
                row.push(ago(entry.used, now));
            }
            row.push(entry.state());
            row
        };
        let rows: Vec<_> = self.names.iter().map(row).collect();
        let Total { layers, bytes } = self.total;
        let mut text = table(&columns, &rows);
        text.push_str(&format!(
            "\n\n{}: {}, {}",
            number(self.names.len(), "name"),
            number(layers, "layer"),
            DecimalBytes(bytes)
        ));
        let is_unreadable = |entry: &&Entry| entry.state == State::Unreadable;
        let unreadable = self.names.iter().filter(is_unreadable).count();
        if unreadable > 0 {
            text.push_str(&format!(
                ". These sums leave out {} that cannot be read",
                number(unreadable, "name")
            ));
        }
        text
    }
}

impl Entry {
    /// Its state in words.
    fn state(&self) -> String {
        let lost = self.holding.as_ref().map_or(0, |held| held.layers_lost);
        match (self.state, &self.error) {
            (State::Whole, _) => "whole".to_owned(),
            (State::Incomplete, _) => format!("{} lost", number(lost, "layer")),
            (State::Unreadable, None) => "unreadable".to_owned(),
            (State::Unreadable, Some(reason)) => format!("unreadable: {reason}"),
        }
    }
}

/// How long ago that was; a store that does not report it gives 0 or none.
fn ago(time: Option<u64>, now: u64) -> String {
    match time {
        None | Some(0) => "-".to_owned(),
        Some(time) => HumanDuration(Duration::from_secs(now.saturating_sub(time))).to_string(),
    }
}

/// In seconds since the Unix epoch.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use build_cache_host::Scrubber;

    use super::*;
    use crate::args::OutputArgs;

    fn console() -> Console {
        let output = OutputArgs {
            quiet: false,
            verbose: false,
            json: false,
        };
        Console::new(&output, Scrubber::default())
    }

    fn listed(used: Option<u64>) -> Listed {
        let entry = |name: &str, state, error: Option<&str>, holding, modified| Entry {
            name: name.to_owned(),
            state,
            error: error.map(str::to_owned),
            holding,
            modified,
            used,
        };
        let holding = |layers_lost| Holding {
            layers: 10,
            layers_lost,
            bytes: 1_500_000,
            own_bytes: 500_000,
            shared_bytes: 1_000_000,
        };
        let names = vec![
            entry("main", State::Whole, None, Some(holding(0)), 990),
            entry("a\nb", State::Incomplete, None, Some(holding(1)), 0),
            entry("bad", State::Unreadable, Some("damaged"), None, 2000),
        ];
        let (layers, bytes) = (15, 2_000_000);
        Listed {
            r#type: "x".to_owned(),
            names,
            total: Total { layers, bytes },
        }
    }

    #[test]
    fn a_store_is_a_table_with_a_line_for_each_name() {
        let text = listed(None).text(&console(), 1000);
        let expected = "\
NAME      LAYERS      SIZE         OWN    SHARED   AGE          STATE
main          10   1.50 MB   500.00 kB   1.00 MB   10 seconds   whole
a\\u{a}b       10   1.50 MB   500.00 kB   1.00 MB   -            1 layer lost
bad            -         -           -         -   0 seconds    unreadable: damaged

3 names: 15 layers, 2.00 MB. These sums leave out 1 name that cannot be read";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_time_of_the_last_use_has_a_column_where_the_store_reports_it() {
        let text = listed(Some(940)).text(&console(), 1000);
        assert!(
            text.contains("USED") && text.contains("60 seconds"),
            "{text}"
        );
        assert!(!listed(None).text(&console(), 1000).contains("USED"));
    }
}
