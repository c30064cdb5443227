//! `build-cache rm`: removes names. Their layers stay, because other names may
//! use them, and a builder may be reading them.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use build_cache_host::{Cache, CacheSpec, Error, ManifestInfo};
use futures::stream::{self, StreamExt};
use serde::Serialize;

use super::args::NamesArgs;
use super::reading::{in_one_line, list};
use super::{AT_ONCE, Outcome, conclude, each_once};
use crate::console::{Console, number};
use crate::spec;

/// The consequence of a failure.
const FAILED: &str = "the names were not removed";

/// What was removed.
#[derive(Debug, Default, Serialize)]
struct Removed {
    r#type: String,
    /// The names that were removed.
    removed: Vec<String>,
    /// The names that the store does not have.
    absent: Vec<String>,
    /// The names that another client wrote after they were listed, and that stay.
    changed: Vec<String>,
    /// The names that could not be removed.
    failed: Vec<Failed>,
}

/// A name that could not be removed.
#[derive(Debug, Serialize)]
struct Failed {
    name: String,
    error: String,
}

/// Removes, reports, and turns a failure into a warning where the user asked for
/// that.
pub async fn run(args: &NamesArgs, console: &Console) -> Result<()> {
    let spec = match spec::read("--to", &args.to, &[]) {
        Err(error) if spec::ignores(&args.to, &error) => return console.ignored(FAILED, &error),
        spec => spec?,
    };
    conclude(remove(args, &spec, console).await, FAILED, &spec, console)
}

async fn remove(args: &NamesArgs, spec: &CacheSpec, console: &Console) -> Result<Removed> {
    let names = each_once(&args.names);
    let cache = super::open(spec, &args.plugin, &args.network, console).await?;
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    let infos = list(&cache, |name| wanted.contains(name))
        .await?
        .into_iter();
    let infos: HashMap<String, _> = infos.map(|info| (info.name.clone(), info)).collect();

    let mut removed = Removed {
        r#type: spec.r#type.clone(),
        ..Removed::default()
    };
    let (present, absent) = names.into_iter().partition(|name| infos.contains_key(name));
    removed.absent = absent;
    let present: Vec<String> = present;
    let outcomes: Vec<_> = stream::iter(present.iter().filter_map(|name| infos.get(name)))
        .map(|info| remove_one(&cache, info))
        .buffered(AT_ONCE)
        .collect()
        .await;
    for (name, outcome) in present.into_iter().zip(outcomes) {
        match outcome {
            Ok(true) => removed.removed.push(name),
            Ok(false) => removed.changed.push(name),
            Err(error) => {
                let error = in_one_line(&error);
                removed.failed.push(Failed { name, error });
            }
        }
    }
    Ok(removed)
}

/// Removes the version that was listed. False where the name still exists in
/// another version. If the answer to a removal is lost, the repeated request finds
/// nothing, as it does if another client was faster: either way the name is gone.
async fn remove_one(cache: &Cache, info: &ManifestInfo) -> Result<bool, Error> {
    if cache.remove_manifest(info).await? {
        return Ok(true);
    }
    Ok(matches!(cache.load(&info.name).await, Ok(None)))
}

impl Outcome for Removed {
    fn text(&self, console: &Console) -> String {
        if self.removed.is_empty() {
            return "no name was removed".to_owned();
        }
        format!(
            "removed {}: {}. Their layers are still in the store, because other names may use them",
            console.names(&self.removed),
            number(self.removed.len(), "name"),
        )
    }

    fn troubles(&self, console: &Console) -> (Vec<String>, bool) {
        let absent = self.absent.iter().map(|name| {
            let name = console.name(name);
            format!("the store has no cache `{name}`")
        });
        let changed = self.changed.iter().map(|name| {
            let name = console.name(name);
            format!(
                "the cache `{name}` was not removed, because another client wrote it in the \
                 meantime; look again with `build-cache ls`"
            )
        });
        let failed = self.failed.iter().map(|Failed { name, error }| {
            let name = console.name(name);
            format!("the cache `{name}` was not removed: {error}")
        });
        let troubles: Vec<_> = absent.chain(changed).chain(failed).collect();
        let is_failure = !troubles.is_empty();
        (troubles, is_failure)
    }
}
