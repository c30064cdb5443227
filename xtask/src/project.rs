//! Where things stand in this repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The repository that this program was built in.
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// The repository around this crate.
    pub fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap_or(Path::new("."));
        Self {
            root: root.to_owned(),
        }
    }

    /// A path in the repository.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A path under `target/`, where all that is made belongs.
    pub fn target(&self, path: &str) -> PathBuf {
        self.root.join("target").join(path)
    }

    /// Cargo, in the top folder: the one that runs this program, so that every
    /// build is by one toolchain.
    ///
    /// `cargo run` told this program about its own package by variables. They
    /// are taken away: ring's build script looks at some of them, and ring and
    /// all that needs it would be compiled again whenever someone alternates
    /// between `cargo xtask` and a plain `cargo`.
    pub fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", self.build_folder());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Where cargo builds, whatever the caller's environment says.
    pub fn build_folder(&self) -> PathBuf {
        self.target("cargo")
    }

    /// The options of every native build: one profile, and all packages but
    /// this one, which `cargo xtask` itself builds, and the benchmark's peers,
    /// whose many dependencies `cargo xtask bench` builds apart from the rest.
    pub fn selection(&self) -> [&'static str; 6] {
        [
            "--release",
            "--workspace",
            "--exclude",
            "xtask",
            "--exclude",
            "bench-peers",
        ]
    }

    /// Waits until no other `cargo xtask` sets up or builds under `target/`.
    /// The lock ends with the value.
    pub fn lock(&self) -> Result<File> {
        let path = self.target("xtask.lock");
        fs::create_dir_all(self.target(""))?;
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            println!("waiting for another `cargo xtask` to finish building");
            file.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }

    /// `path` as a person in the top folder would write it.
    pub fn show<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}
