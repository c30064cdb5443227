//! `conformance`: runs the suite against a backend that somebody writes.

use std::path::PathBuf;
use std::process::ExitCode;

use build_cache_host::{CacheSpec, Host, HostOptions};
use clap::Parser;
use futures::stream::{self, StreamExt};
use host_test::conformance::{CASES, Case, Subject};
use host_test::{Failure, Outcome};

/// Checks that a backend does what the contract promises.
///
/// It writes caches to the store and leaves them there: give it a place of its
/// own.
#[derive(Parser)]
struct Arguments {
    /// The backend: a component.
    #[arg(long, value_name = "FILE.wasm")]
    plugin: PathBuf,
    /// Its attributes, as after `--cache-to`, without `name`, such as
    /// `type=http,url=http://127.0.0.1:8080/test`.
    #[arg(long)]
    attributes: CacheSpec,
    /// Only the cases whose names contain this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// How many cases run at once.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the cases, and tells whether none of them failed.
async fn run(arguments: Arguments) -> Outcome<bool> {
    let host = Host::new(HostOptions::default())?;
    let plugin = host.load(&arguments.plugin).await?;
    let CacheSpec {
        r#type, attributes, ..
    } = arguments.attributes;
    if r#type != plugin.description().r#type {
        return Err(Failure::Broken(format!(
            "{} is not a backend for type={type} but for type={}",
            plugin.name(),
            plugin.description().r#type
        )));
    }
    if attributes.iter().any(|(name, _)| name == "name") {
        return Err(Failure::Broken(
            "leave `name` out of --attributes: the cases make up their own".to_owned(),
        ));
    }
    let subject = Subject::new(plugin, attributes);

    let chosen = CASES
        .iter()
        .filter(|case| case.name.contains(&arguments.only));
    let mut outcomes = stream::iter(chosen.map(|case| run_case(case, &subject)))
        .buffer_unordered(arguments.jobs.max(1));
    let (mut passed, mut failed, mut not_run) = (0, 0, 0);
    while let Some((case, outcome)) = outcomes.next().await {
        let name = case.name.replace('_', " ");
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("passed   {name}");
            }
            Err(Failure::NotRun(why)) => {
                not_run += 1;
                println!("not run  {name}: {why}");
            }
            Err(failure) => {
                failed += 1;
                println!("FAILED   {name}\n         {failure}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {not_run} not run");
    Ok(failed == 0)
}

async fn run_case<'a>(case: &'a Case, subject: &Subject) -> (&'a Case, Outcome) {
    (case, case.run(subject).await)
}
