//! Debian's Rust for the web (`rustc-web`), unpacked into a folder of ours: a
//! way to the wasm target where rustup cannot download.
//!
//! Nothing on the system changes and no root is needed: the packages are
//! unpacked, not installed. Debian has no compiled standard library for this
//! target, so cargo builds it from the source package, once for each profile.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::{self, Apt, Package};
use crate::process;

/// The compiler and the sources of the standard library. What they depend on
/// is looked up, as its names hold version numbers.
const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Debian's Rust, unpacked.
pub struct DebianRust {
    /// The folder that stands for `/`.
    root: PathBuf,
    /// The folder of rustc's and LLVM's shared libraries.
    libraries: PathBuf,
}

impl DebianRust {
    /// What an earlier [`Self::unpack_into`] left in `folder`.
    pub fn unpacked_in(folder: &Path) -> Result<Option<Self>> {
        if !folder.exists() {
            return Ok(None);
        }
        let libraries = fs::read_dir(folder.join("usr/lib"))?
            .flatten()
            .map(|entry| entry.path())
            .find(|folder| holds_rustc_driver(folder))
            .with_context(|| {
                let folder = folder.display();
                format!("{folder} holds no rustc; delete it and run this again")
            })?;
        Ok(Some(Self {
            root: folder.to_owned(),
            libraries,
        }))
    }

    /// Downloads the packages and unpacks them into `folder`, which appears
    /// only when it is complete; what an interruption left is begun anew.
    pub fn unpack_into(folder: &Path) -> Result<Self> {
        let work = folder.with_added_extension("partial");
        remove(&work)?;
        let apt = Apt::new(&work.join("apt"))?;
        println!("wasm target: taking Debian's rustc-web, unpacked under target/ (about 140 MB)");
        apt.update()?;
        let packages = apt::needed(&PACKAGES, |name| apt.candidate(name))?;
        check_version(&packages)?;

        let archives = work.join("archives");
        fs::create_dir_all(&archives)?;
        apt.download(&packages, &archives)?;

        let root = work.join("root");
        for archive in fs::read_dir(&archives)? {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(archive?.path()).arg(&root);
            process::output(&mut unpack)?;
        }
        keep_what_is_needed(&root)?;
        fs::rename(&root, folder)?;
        fs::remove_dir_all(&work)?;
        Self::unpacked_in(folder)?.context("the unpacked folder is gone")
    }

    /// What rustc says of itself, such as `rustc 1.96.0`.
    pub fn version(&self) -> Result<String> {
        let mut rustc = Command::new(self.rustc());
        rustc.arg("--version");
        rustc.env("LD_LIBRARY_PATH", self.library_path()?);
        let version = process::output(&mut rustc)?;
        let words: Vec<&str> = version.split_whitespace().take(2).collect();
        Ok(words.join(" "))
    }

    /// Makes `cargo` compile with this Rust, the standard library included.
    pub fn configure(&self, cargo: &mut Command) -> Result<()> {
        cargo
            .args(["-Z", "build-std=std,panic_abort"])
            // Building the standard library is not stable yet.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", self.rustc())
            .env("LD_LIBRARY_PATH", self.library_path()?)
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", rust_lld()?);
        Ok(())
    }

    fn rustc(&self) -> PathBuf {
        self.root.join("usr/bin/rustc")
    }

    /// Our libraries before those that are searched already.
    fn library_path(&self) -> Result<OsString> {
        let before = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let folders = [self.libraries.clone()];
        let folders = folders.into_iter().chain(std::env::split_paths(&before));
        Ok(std::env::join_paths(folders)?)
    }
}

/// Debian's Rust must be one that can compile this project.
fn check_version(packages: &BTreeMap<String, Package>) -> Result<()> {
    let needed = env!("CARGO_PKG_RUST_VERSION");
    let found = &packages[PACKAGES[0]].version;
    if release(found) < release(needed) {
        bail!(
            "apt's newest {} is {found}, and this project needs Rust {needed}; \
             are Debian's security updates in apt's sources?",
            PACKAGES[0]
        );
    }
    Ok(())
}

/// The first two numbers of a version.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '+', '~', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Of the 850 MB unpacked, deletes what compiling a component does not touch:
/// the compiler's and LLVM's sources, rustdoc, the manuals.
fn keep_what_is_needed(root: &Path) -> Result<()> {
    for folder in ["usr/share", "usr/libexec"] {
        remove(&root.join(folder))?;
    }
    for program in fs::read_dir(root.join("usr/bin"))? {
        let program = program?;
        if program.file_name() != "rustc" {
            remove(&program.path())?;
        }
    }
    for sources in fs::read_dir(root.join("usr/src"))? {
        for entry in fs::read_dir(sources?.path())? {
            let entry = entry?;
            if entry.file_name() != "library" {
                remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path)?,
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    Ok(())
}

fn holds_rustc_driver(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("librustc_driver-")
        })
    })
}

/// The linker for wasm, which Debian packages apart and every toolchain of
/// rustup brings along.
fn rust_lld() -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]);
    let toolchains = PathBuf::from(process::output(&mut rustc)?.trim()).join("lib/rustlib");
    fs::read_dir(&toolchains)?
        .flatten()
        .map(|entry| entry.path().join("bin/rust-lld"))
        .find(|linker| linker.exists())
        .with_context(|| {
            let folder = toolchains.display();
            format!("no rust-lld under {folder}; a Rust toolchain from rustup has it")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rustc_web(version: &str) -> BTreeMap<String, Package> {
        let package = Package {
            version: version.into(),
            dependencies: Vec::new(),
            installed: false,
        };
        BTreeMap::from([("rustc-web".into(), package)])
    }

    #[test]
    fn a_rust_older_than_the_project_needs_is_refused() {
        check_version(&rustc_web("1.85.0+dfsg3-1~deb12u3")).unwrap_err();
        check_version(&rustc_web("1.96.0+dfsg1-1~deb12u2")).unwrap();
    }
}
