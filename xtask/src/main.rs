//! `cargo xtask`: everything that is done to this repository, each task a
//! function that reads from top to bottom.
//!
//! A task writes under `target/` and nowhere else, and installs nothing on the
//! machine but, where rustup can, the wasm target of the Rust toolchain.

mod component;
mod debian;
mod process;
mod project;
mod wasm_target;

use std::process::ExitCode;

use anyhow::{Result, bail};
use project::Project;

const HELP: &str = "\
Usage: cargo xtask TASK

Tasks:
  components     build the WebAssembly components, into target/components/
  help           show this text
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
        ["components"] => component::build(&project).map(drop),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("`{}` is no task\n\n{HELP}", arguments.join(" ")),
    }
}
