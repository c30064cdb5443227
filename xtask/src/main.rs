//! `cargo xtask`: everything that is done to this repository, each task a
//! function that reads from top to bottom.
//!
//! A task writes under `target/` and nowhere else, and installs nothing on the
//! machine but, where rustup can, the wasm target of the Rust toolchain.

mod apt;
mod azurite;
mod component;
mod debian;
mod demo;
mod dist;
mod process;
mod project;
mod same_cache;
mod steps;
mod tally;
mod test;
mod wasm_target;

use std::process::ExitCode;

use anyhow::{Result, bail};
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
  build          build what is handed out, into target/dist/
  components     build the WebAssembly components, into target/components/
  sizes          print what azblob weighs, and what without certificates
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
        ["demo"] => demo::run(&project),
        ["build"] => dist::build(&project).map(drop),
        ["components"] => component::build(&project).map(drop),
        ["sizes"] => component::print_sizes(&project),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("`{}` is no task\n\n{HELP}", arguments.join(" ")),
    }
}
