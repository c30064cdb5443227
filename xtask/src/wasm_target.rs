//! How this machine compiles for `wasm32-unknown-unknown`: with the target of
//! the Rust toolchain, or, where rustup cannot bring it, with Debian's Rust.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::debian::DebianRust;
use crate::process;
use crate::project::Project;

/// The target's name.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// rustup is given up after this. Its download has 20 MB; a rustup that cannot
/// reach its server would try for minutes.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);

/// What compiles for the target.
pub enum WasmTarget {
    /// The Rust toolchain has it.
    Installed,
    /// Debian's Rust builds the standard library for it from source.
    Debian(DebianRust),
}

impl WasmTarget {
    /// Takes the first that works: the target already installed, rustup,
    /// Debian's packages (unpacked once, under `target/wasm-toolchain`). Says
    /// in one line which it is.
    pub fn find(project: &Project) -> Result<Self> {
        if is_installed()? {
            println!("wasm target: installed in the Rust toolchain");
            return Ok(Self::Installed);
        }
        let folder = project.target("wasm-toolchain");
        if let Some(debian) = DebianRust::unpacked_in(&folder)? {
            println!(
                "wasm target: {} from Debian, in {}",
                debian.version()?,
                project.show(&folder)
            );
            return Ok(Self::Debian(debian));
        }
        let Err(rustup_error) = add_with_rustup() else {
            println!("wasm target: added by rustup");
            return Ok(Self::Installed);
        };
        match DebianRust::unpack_into(&folder) {
            Ok(debian) => {
                println!(
                    "wasm target: {} from Debian, unpacked into {}, as rustup could not add it",
                    debian.version()?,
                    project.show(&folder)
                );
                Ok(Self::Debian(debian))
            }
            Err(debian_error) => Err(anyhow!(
                "no way to compile for {TARGET}:\n\
                 - the Rust toolchain does not have the target;\n\
                 - rustup cannot add it: {rustup_error:#};\n\
                 - Debian's packages cannot be had: {debian_error:#}.\n\
                 Run `rustup target add {TARGET}` where rustup reaches its server, \
                 or run this on Debian 12 or later with its security updates in apt's sources."
            )),
        }
    }

    /// Makes `cargo` build for the target.
    pub fn configure(&self, cargo: &mut Command) -> Result<()> {
        cargo.args(["--target", TARGET]);
        if let Self::Debian(debian) = self {
            debian.configure(cargo)?;
        }
        Ok(())
    }
}

/// Asks rustc rather than rustup, as there are toolchains without rustup.
fn is_installed() -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = process::output(&mut rustc)?;
    Ok(holds_core(Path::new(libraries.trim())))
}

/// Whether `folder` holds a compiled standard library. The folder alone proves
/// nothing: it stays behind when an installation breaks off.
fn holds_core(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libcore-") && name.ends_with(".rlib")
        })
    })
}

fn add_with_rustup() -> Result<()> {
    println!("wasm target: not installed, asking rustup");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    process::run_within(&mut rustup, RUSTUP_LIMIT)?;
    is_installed()?
        .then_some(())
        .context("rustup added it to a toolchain other than this one")
}
