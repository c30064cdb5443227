//! `cargo xtask test`: everything that must hold before a change goes in.
//!
//! Cheap checks come first, and the first failure ends the run. All is built
//! with the release profile and one selection of packages, so that a
//! dependency is compiled once for the tests, the demo and the release.

use anyhow::Result;

use crate::azurite;
use crate::component;
use crate::dist::{self, LIKE_TESTS};
use crate::process;
use crate::project::Project;
use crate::prose;
use crate::steps::Steps;
use crate::tally::Tally;

/// What to leave out.
#[derive(Clone, Copy, PartialEq)]
pub enum Extent {
    /// Nothing.
    Full,
    /// Azurite.
    Fast,
}

/// Runs every check.
pub fn run(project: &Project, extent: Extent) -> Result<()> {
    let mut steps = Steps::new();
    let mut tally = Tally::default();

    steps.run("format", || {
        process::run(project.cargo().args(["fmt", "--all", "--check"]))?;
        let mut fuzz = project.cargo();
        process::run(fuzz.args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))
    })?;
    steps.run("tests of xtask", || {
        tally.test(project.cargo().args(["test", "--package", "xtask"]))
    })?;
    steps.run("plain English", || prose::check(project))?;
    let components = steps.run("components", || component::build(project))?;
    steps.run("lints", || {
        let mut cargo = project.cargo();
        cargo.args(["clippy", "--release", "--workspace", "--all-targets"]);
        process::run(cargo.args(["--keep-going", "--", "--deny", "warnings"]))
    })?;
    // The part of fuzz/ that a change elsewhere can break: which of the host's
    // files it takes. The targets themselves are compiled by the unit tests.
    steps.run("what fuzzing takes of the host", || {
        let mut cargo = project.cargo();
        cargo.args(["check", "--release", "--package", "fuzz-host"]);
        process::run(cargo.args(["--locked", "--manifest-path", "fuzz/Cargo.toml"]))
    })?;
    steps.run("documentation", || {
        let mut cargo = project.cargo();
        cargo.args(["doc", "--release", "--workspace", "--no-deps"]);
        // Of the programs, those that have no library of the same name.
        cargo.args([
            "--lib",
            "--bin",
            "build-cache",
            "--bin",
            "bench",
            "--bin",
            "bench-peers",
            "--bin",
            "xtask",
            LIKE_TESTS,
        ]);
        process::run(cargo.env("RUSTDOCFLAGS", "--deny warnings"))
    })?;
    let programs = steps.run("programs", || dist::build_programs(project))?;
    steps.run("unit tests", || {
        let mut cargo = project.cargo();
        cargo.args(["test", "--lib", "--bins"]);
        tally.test(cargo.args(project.selection()))
    })?;
    let azurite = match extent {
        Extent::Full => Some(steps.run("Azurite", || azurite::install(project))?),
        Extent::Fast => None,
    };
    steps.run("harness", || {
        let mut cargo = project.cargo();
        cargo
            .args(["test", "--test", "*"])
            .args(project.selection());
        cargo
            .env("BUILD_CACHE_COMPONENTS", &components)
            .env("BUILD_CACHE_CLI", &programs.build_cache)
            .env("BLOB_STORE_BIN", &programs.blob_store);
        match &azurite {
            Some(script) => tally.test(cargo.env("AZURITE_BIN", script)),
            // Every test that needs it says so in its name.
            None => tally.test(cargo.args(["--", "--skip", "azurite"])),
        }
    })?;
    steps.run("examples in the documentation", || {
        let mut cargo = project.cargo();
        tally.test(cargo.args(["test", "--doc"]).args(project.selection()))
    })?;

    steps.print_times();
    if extent == Extent::Fast {
        println!("Azurite was left out; `cargo xtask test` has it.");
    }
    println!("{tally}");
    Ok(())
}
