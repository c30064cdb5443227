//! `cargo xtask bench`: builds the benchmark and all that takes part in it, and
//! runs it.
//!
//! The native clients are built apart from the rest: what they ask of shared
//! dependencies would have wasmtime compiled once more.

use std::process::Command;

use anyhow::Result;

use crate::dist;
use crate::process;
use crate::project::Project;

/// Builds, measures, prints a table, and leaves all figures under
/// `target/bench`. `options` are the benchmark's own.
pub fn run(project: &Project, options: &[&str]) -> Result<()> {
    let components = crate::component::build(project)?;
    let programs = dist::build_programs(project)?;
    let mut cargo = project.cargo();
    process::run(cargo.args(["build", "--release", "--package", "bench-peers"]))?;

    let folder = project.target("bench");
    std::fs::create_dir_all(&folder)?;
    let mut bench = Command::new(&programs.bench);
    bench
        .arg("run")
        .arg("--plugin")
        .arg(components.join("azblob.wasm"))
        .arg("--peers")
        .arg(programs.bench.with_file_name("bench-peers"))
        .arg("--command")
        .arg(&programs.build_cache)
        .arg("--folder")
        .arg(folder)
        .args(options);
    process::run(&mut bench)
}
