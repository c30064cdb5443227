//! The benchmark: what the component costs beside native clients, and what it saves beside BuildKit.
//!
//! `cargo xtask bench` builds the programs and runs this one. It starts the store in a process of
//! its own, and every contestant in another, new for each run: this very program again (`store`,
//! `ours`, `buildkit-model`), or that of the native clients.

mod cases;
mod contestant;
mod loading;
mod measure;
mod model;
mod ours;
mod plan;
mod statistics;
mod store;
mod table;
mod targets;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bench_contest::Task;
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::contestant::Programs;
use crate::loading::Timing;
use crate::measure::Outcome;
use crate::plan::Extent;
use crate::store::Store;
use crate::targets::Verdict;

/// The name of what is no case but has a part of its own.
const LOADING: &str = "load";

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
    /// Load the component and open caches
    Load {
        /// The component
        #[arg(long)]
        plugin: PathBuf,
        /// Where compiled components are kept
        #[arg(long)]
        compiled: PathBuf,
        /// How often
        #[arg(long)]
        times: usize,
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
    /// Fail if a target is not met
    #[arg(long)]
    check: bool,
}

/// Everything that was measured, as it is written down.
#[derive(Serialize)]
struct Results {
    quick: bool,
    processors: usize,
    /// How many threads of anybody's wanted a processor in the minute before, on average; none
    /// where the system does not tell.
    load_before: Option<f64>,
    outcomes: Vec<Outcome>,
    timings: Vec<Timing>,
    verdicts: Vec<Verdict>,
}

fn main() -> Result<()> {
    match Arguments::parse().role {
        Role::Run(run) => measure_all(&run),
        Role::Store => store::serve(),
        Role::Ours { plugin, compiled } => asynchronously(async {
            let task = Task::read()?;
            ours::perform(&task, &plugin, &compiled).await?.write()
        }),
        Role::Load {
            plugin,
            compiled,
            times,
        } => asynchronously(loading::load_and_open(&plugin, &compiled, times)),
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
    let is_wanted = |name: &str| match &run.only {
        Some(only) => name.starts_with(only.as_str()),
        None => true,
    };
    let mut cases = cases::cases(extent);
    let names: Vec<_> = cases.iter().map(|case| case.name).collect();
    cases.retain(|case| is_wanted(case.name));
    if let Some(only) = &run.only {
        let names = names.join(", ");
        ensure!(
            !cases.is_empty() || is_wanted(LOADING),
            "no case begins with `{only}`; there are {LOADING}, {names}"
        );
    }

    let processors = std::thread::available_parallelism()?.get();
    let load_before = load_average();
    if let Some(load) = load_before.filter(|load| *load > processors as f64 / 2.0) {
        println!(
            "Others keep this machine busy: {load} threads want its {processors} processors. Times \
             say little then, not even against each other."
        );
    }
    let mut store = Store::start()?;
    let mut timings = Vec::new();
    if is_wanted(LOADING) {
        timings = loading::measure(&run.programs, extent, &mut store)?;
        print!("{}", table::timings(&timings));
    }
    let mut outcomes = Vec::new();
    for case in &cases {
        let show = |distance, measured: &[_]| {
            print!("{}", table::outcomes(case, distance, measured));
        };
        outcomes.extend(measure::measure(case, &run.programs, &mut store, show)?);
    }
    store.stop()?;

    let verdicts = targets::verdicts(&outcomes, &timings);
    print!("{}", table::verdicts(&verdicts));
    let missed = verdicts.iter().filter(|verdict| !verdict.met).count();
    let results = Results {
        quick: run.quick,
        processors,
        load_before,
        outcomes,
        timings,
        verdicts,
    };
    let path = run.programs.folder.join("result.json");
    let json = serde_json::to_string_pretty(&results)?;
    std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nAll figures are in {}.", path.display());
    ensure!(
        !run.check || missed == 0,
        "targets that are not met: {missed}"
    );
    Ok(())
}

/// Of the last minute, as Linux tells it.
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
