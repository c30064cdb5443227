//! `build-cache touch`: marks the layers of names as used now, so that a rule that
//! deletes old layers keeps them.

use std::collections::HashSet;

use anyhow::Result;
use build_cache_host::{CacheSpec, Digest};
use serde::Serialize;

use super::args::NamesArgs;
use super::reading::{Reading, in_one_line, read};
use super::{Outcome, conclude, each_once};
use crate::console::{Console, number};
use crate::spec;

/// The consequence of a failure.
const FAILED: &str = "the layers were not touched";

/// What was touched.
#[derive(Debug, Default, Serialize)]
struct Touched {
    r#type: String,
    /// The names whose layers were touched.
    names: Vec<String>,
    /// Layers that were touched, each counted once.
    layers_touched: usize,
    /// Layers that the store no longer has, or that cannot be read there.
    layers_gone: Vec<Digest>,
    /// The names that the store does not have.
    absent: Vec<String>,
    /// The names that cannot be read.
    unreadable: Vec<Unreadable>,
}

/// A name that cannot be read.
#[derive(Debug, Serialize)]
struct Unreadable {
    name: String,
    error: String,
}

/// Touches, reports, and turns a failure into a warning where the user asked for
/// that.
pub async fn run(args: &NamesArgs, console: &Console) -> Result<()> {
    let spec = match spec::read("--to", &args.to, &[]) {
        Err(error) if spec::ignores(&args.to, &error) => return console.ignored(FAILED, &error),
        spec => spec?,
    };
    conclude(touch(args, &spec, console).await, FAILED, &spec, console)
}

async fn touch(args: &NamesArgs, spec: &CacheSpec, console: &Console) -> Result<Touched> {
    let names = each_once(&args.names);
    let cache = super::open(spec, &args.plugin, &args.network, console).await?;
    let readings = read(&cache, &names, console).await?;
    let mut touched = Touched {
        r#type: spec.r#type.clone(),
        ..Touched::default()
    };
    let mut layers = HashSet::new();
    for (name, reading) in names.into_iter().zip(readings) {
        match reading {
            Reading::Cache(blobs) => {
                layers.extend(blobs.into_keys());
                touched.names.push(name);
            }
            Reading::Absent => touched.absent.push(name),
            Reading::Unreadable(error) => {
                let error = in_one_line(&error);
                touched.unreadable.push(Unreadable { name, error });
            }
        }
    }
    if layers.is_empty() {
        return Ok(touched);
    }
    let mut layers: Vec<Digest> = layers.into_iter().collect();
    layers.sort();
    let outcomes = cache.touch(&layers).await?;
    for (layer, was_touched) in layers.into_iter().zip(outcomes) {
        match was_touched {
            true => touched.layers_touched += 1,
            false => touched.layers_gone.push(layer),
        }
    }
    Ok(touched)
}

impl Outcome for Touched {
    fn text(&self, console: &Console) -> String {
        if self.names.is_empty() {
            return "no layer was touched".to_owned();
        }
        format!(
            "touched {} of {}",
            number(self.layers_touched, "layer"),
            console.names(&self.names),
        )
    }

    fn troubles(&self, console: &Console) -> (Vec<String>, bool) {
        /// So many are named, beside their number.
        const MOST: usize = 10;
        let absent = self.absent.iter().map(|name| {
            let name = console.name(name);
            format!("the store has no cache `{name}`")
        });
        let unreadable = self.unreadable.iter().map(|Unreadable { name, error }| {
            let name = console.name(name);
            format!("the layers of `{name}` were not touched: {error}")
        });
        let mut troubles: Vec<_> = absent.chain(unreadable).collect();
        let is_failure = !troubles.is_empty();
        let first = self.layers_gone.iter().take(MOST);
        troubles.extend(first.map(|layer| format!("the store no longer has the layer {layer}")));
        if !self.layers_gone.is_empty() {
            troubles.push(format!(
                "{} could not be touched because the store has lost them or cannot read them; a \
                 build makes them again",
                number(self.layers_gone.len(), "layer"),
            ));
        }
        (troubles, is_failure)
    }
}
