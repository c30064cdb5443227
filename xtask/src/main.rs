//! `cargo xtask`: everything that is done to this repository, each task a
//! function that reads from top to bottom.
//!
//! A task writes under `target/` and nowhere else, and installs nothing on the
//! machine but, where rustup can, the wasm target of the Rust toolchain.

mod apt;
mod azurite;
mod bench;
mod component;
mod debian;
mod demo;
mod deny;
mod dist;
mod fuzz;
mod process;
mod project;
mod prose;
mod same_cache;
mod steps;
mod tally;
mod test;
mod tool;
mod wasm_target;

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use project::Project;
use test::Extent;

const HELP: &str = "\
Usage: cargo xtask TASK

Tasks:
  demo           move a real BuildKit cache to a blob store and back, and tell
                 how it goes
  test           check everything: format, lints, documentation, unit tests, and
                 the harness on our own blob store and on Azurite
  test --fast    the same without Azurite
  bench          measure speed and memory beside native clients and a model of
                 BuildKit; a table, and JSON under target/bench/
  bench --quick  the same questions on less, in under a minute
  bench --only CASE
                 the cases whose names begin with CASE
  bench --check  the same as bench, failing if a target is not met
  build          build what is handed out, into target/dist/
  components     build the WebAssembly components, into target/components/
  sizes          print what azblob weighs, and what without certificates
  prose          check that texts for users are in plain English
  deny           check the licences and the known vulnerabilities of what is
                 built in, with cargo-deny
  fuzz [TARGET] [--minutes N]
                 fuzz what reads others' data, with cargo-fuzz: one target or
                 all of fuzz/fuzz_targets/, for 10 minutes each or N
  help           show this text

Everything is built under target/; what `cargo clean` leaves there (the wasm
toolchain, the components, Azurite) is kept for the next run.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let project = Project::here();
    match arguments[..] {
        ["test"] => test::run(&project, Extent::Full),
        ["test", "--fast"] => test::run(&project, Extent::Fast),
        ["bench", ref options @ ..] => bench::run(&project, options),
        ["demo"] => demo::run(&project),
        ["build"] => dist::build(&project).map(drop),
        ["components"] => component::build(&project).map(drop),
        ["sizes"] => component::print_sizes(&project),
        ["prose"] => prose::check(&project),
        ["deny"] => deny::run(&project),
        ["fuzz", ref options @ ..] => {
            let (target, minutes) = fuzz_options(options)?;
            fuzz::run(&project, target, minutes)
        }
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("`{}` is no task\n\n{HELP}", arguments.join(" ")),
    }
}

/// The target, if one is named, and the minutes.
fn fuzz_options<'a>(options: &[&'a str]) -> Result<(Option<&'a str>, u32)> {
    let (target, rest) = match options {
        [target, rest @ ..] if !target.starts_with('-') => (Some(*target), rest),
        rest => (None, rest),
    };
    match rest {
        [] => Ok((target, 10)),
        ["--minutes", minutes] => {
            let minutes: NonZeroU32 = minutes
                .parse()
                .context("--minutes takes a whole number, from 1")?;
            Ok((target, minutes.get()))
        }
        _ => bail!("`{}` is no option of fuzz\n\n{HELP}", rest.join(" ")),
    }
}
