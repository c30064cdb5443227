//! Looking after a store: `build-cache ls` shows what it holds, `rm` removes
//! names, and `touch` marks layers as used. Unlike a push or a pull, these work
//! on the names that the store lists, and never on the attribute `name`.
//!
//! `reading` is what they share, `holdings` adds up what the caches share, and
//! `table` lays out columns.

mod args;
mod holdings;
mod ls;
mod reading;
mod rm;
mod table;
mod touch;

pub use args::{LsArgs, NamesArgs};
pub use ls::run as ls;
pub use rm::run as rm;
pub use touch::run as touch;

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Result;
use build_cache_host::{Cache, CacheSpec};
use serde::Serialize;

use crate::args::{NetworkArgs, PluginArgs};
use crate::console::Console;
use crate::failure::Answered;
use crate::{progress, session};

/// How many names are read or removed at once. Each costs a request, and a
/// manifest takes memory in the plugin while it is read.
const AT_ONCE: usize = 16;

/// What a command did, and what of it did not work.
trait Outcome: Serialize {
    /// In words.
    fn text(&self, console: &Console) -> String;

    /// What the user should know, a warning each, and whether the command failed
    /// because of it.
    fn troubles(&self, console: &Console) -> (Vec<String>, bool);
}

/// Opens the cache that `spec` names; its events are shown.
async fn open(
    spec: &CacheSpec,
    plugin: &PluginArgs,
    network: &NetworkArgs,
    console: &Console,
) -> Result<Cache> {
    let plugin = session::load(spec, plugin, network).await?;
    let on_event = {
        let console = console.clone();
        Arc::new(move |event| progress::tell(&console, &event))
    };
    session::open(&plugin, spec, None, on_event, console).await
}

/// Shows what a command did to names that the user gave. `ignore-error=true` makes a
/// warning of a failure, whose consequence is `failed`.
fn conclude(
    outcome: Result<impl Outcome>,
    failed: &str,
    spec: &CacheSpec,
    console: &Console,
) -> Result<()> {
    match outcome {
        Ok(outcome) => {
            let (warnings, is_failure) = outcome.troubles(console);
            warnings.iter().for_each(|warning| console.warn(warning));
            console.summary(&outcome.text(console), &outcome)?;
            match is_failure && !spec.ignore_error {
                true => Err(Answered.into()),
                false => Ok(()),
            }
        }
        Err(error) if spec.ignore_error => console.ignored(failed, &error),
        Err(error) => Err(error),
    }
}

/// The names, each once and in the order given.
fn each_once(names: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let names = names.iter().filter(|name| seen.insert(*name));
    names.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_given_twice_counts_once_and_is_not_changed() {
        let names = ["b", " a ", "b", "a", "a;b"].map(str::to_owned);
        assert_eq!(each_once(&names), ["b", " a ", "a", "a;b"]);
    }
}
