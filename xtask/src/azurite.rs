//! Azurite, the emulator of Azure Storage that the harness tests against:
//! installed by npm from `host-test/azurite/package-lock.json`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::project::Project;

/// The files that say what to install.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Makes sure that `target/azurite` holds what the lock file says, and returns
/// the script that node runs as Azurite's blob service.
pub fn install(project: &Project) -> Result<PathBuf> {
    let _lock = project.lock()?;
    let wanted = project.file("host-test/azurite");
    let folder = project.target("azurite");
    let is_current = MANIFESTS
        .iter()
        .all(|name| fs::read(wanted.join(name)).ok() == fs::read(folder.join(name)).ok());
    if !is_current {
        // Made beside and renamed, so that an interrupted installation is none.
        let work = folder.with_added_extension("partial");
        for old in [&work, &folder] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        fs::create_dir_all(&work)?;
        for name in MANIFESTS {
            fs::copy(wanted.join(name), work.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.current_dir(&work)
            // No script of a package runs; Azurite's blob service needs none.
            .args(["ci", "--ignore-scripts", "--omit=dev", "--omit=optional"])
            .args(["--no-audit", "--no-fund", "--loglevel=error"]);
        process::run(&mut npm).context(
            "cannot install Azurite, which takes Node.js 20 or later with npm; \
             `cargo xtask test --fast` does without",
        )?;
        fs::rename(&work, &folder)?;
    }
    Ok(folder.join("node_modules/.bin/azurite-blob"))
}
