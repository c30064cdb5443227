//! Cargo's subcommands that others wrote and a task needs. One that is
//! installed is taken; else it is built under `target/tools`.

use std::env;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::project::Project;

/// A subcommand of cargo.
pub struct Tool {
    /// As one types it behind `cargo`.
    pub name: &'static str,
    /// The version that is built where there is none.
    pub version: &'static str,
}

/// Fuzzes.
pub const FUZZ: Tool = Tool {
    name: "fuzz",
    version: "0.13.2",
};

/// Checks what a project is built from.
pub const DENY: Tool = Tool {
    name: "deny",
    version: "0.20.2",
};

impl Tool {
    /// `cargo NAME`, to add arguments to. Builds it first where it is missing.
    pub fn command(&self, project: &Project) -> Result<Command> {
        let mut probe = self.installed(project)?;
        if process::output(probe.arg("--version")).is_err() {
            self.build(project)?;
        }
        self.installed(project)
    }

    /// `cargo NAME`, whether it is there or not.
    fn installed(&self, project: &Project) -> Result<Command> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain([project.target("tools/bin")]);
        let mut command = project.cargo();
        command
            .arg(self.name)
            .env("PATH", env::join_paths(folders)?);
        Ok(command)
    }

    fn build(&self, project: &Project) -> Result<()> {
        let _lock = project.lock()?;
        let package = format!("cargo-{}@{}", self.name, self.version);
        println!("building {package}, once, into target/tools");
        let build = project.target("tools/build");
        let mut cargo = project.cargo();
        cargo
            // It runs for seconds: built quickly is better than built well.
            .args(["install", "--quiet", "--debug", "--locked", "--root"])
            .arg(project.target("tools"))
            .arg(&package)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_TARGET_DIR", &build);
        process::run(&mut cargo).with_context(|| {
            format!("cannot install cargo-{}, which takes a network", self.name)
        })?;
        // Hundreds of megabytes that nobody needs again.
        fs::remove_dir_all(&build)?;
        Ok(())
    }
}
