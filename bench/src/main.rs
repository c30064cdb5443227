//! The benchmark: what the component costs beside native clients, and what it saves beside BuildKit.
//!
//! `cargo xtask bench` builds the programs and runs this one. It starts the store in a process of
//! its own, and every contestant in another, new for each run: this very program again (`store`,
//! `ours`, `buildkit-model`), or that of the native clients.

mod contestant;
mod measure;
mod model;
mod ours;
mod plan;
mod statistics;
mod store;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bench_contest::Task;
use clap::{Parser, Subcommand};

use crate::contestant::Programs;
use crate::plan::Extent;
use crate::store::Store;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Measure
    Run(Run),
    /// Be the store
    Store,
    /// Do the task on standard input with the component
    Ours {
        /// The component
        #[arg(long)]
        plugin: PathBuf,
        /// Where compiled components are kept
        #[arg(long)]
        compiled: PathBuf,
    },
    /// Do the task on standard input as BuildKit would
    BuildkitModel,
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    programs: Programs,
    /// The same questions on less, in under a minute
    #[arg(long)]
    quick: bool,
    /// Only the cases whose names begin with this
    #[arg(long, value_name = "CASE")]
    only: Option<String>,
}

fn main() -> Result<()> {
    match Arguments::parse().role {
        Role::Run(run) => measure_all(&run),
        Role::Store => store::serve(),
        Role::Ours { plugin, compiled } => asynchronously(async {
            let task = Task::read()?;
            ours::perform(&task, &plugin, &compiled).await?.write()
        }),
        Role::BuildkitModel => asynchronously(async {
            let task = Task::read()?;
            model::perform(&task).await?.write()
        }),
    }
}

/// As `#[tokio::main]` does, which every contestant uses.
fn asynchronously(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

fn measure_all(run: &Run) -> Result<()> {
    let extent = if run.quick {
        Extent::Quick
    } else {
        Extent::Full
    };
    let mut cases = plan::cases(extent);
    if let Some(only) = &run.only {
        let names: Vec<_> = cases.iter().map(|case| case.name).collect();
        cases.retain(|case| case.name.starts_with(only.as_str()));
        let names = names.join(", ");
        ensure!(
            !cases.is_empty(),
            "no case begins with `{only}`; there are {names}"
        );
    }
    let mut store = Store::start()?;
    let mut outcomes = Vec::new();
    for case in &cases {
        for distance in &case.distances {
            let measured = measure::measure(case, *distance, &run.programs, &mut store)?;
            print!("{}", table::outcomes(case, *distance, &measured));
            outcomes.extend(measured);
        }
        store.empty(case.name)?;
    }
    store.stop()?;
    let path = run.programs.folder.join("result.json");
    let json = serde_json::to_string_pretty(&outcomes)?;
    std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nAll figures are in {}.", path.display());
    Ok(())
}
