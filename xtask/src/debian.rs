//! Debian's Rust for the web (`rustc-web`), unpacked into a folder of ours: a
//! way to the wasm target where rustup cannot download.
//!
//! Nothing on the system changes and no root is needed: apt keeps its lists
//! and its cache in our folder too, and the packages are unpacked, not
//! installed. The standard library for wasm is then built from Debian's source
//! package, which holds its dependencies, so no further network is needed.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

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
        let packages = needed(&PACKAGES, |name| apt.candidate(name))?;
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

/// apt-get and apt-cache with lists and a cache of their own.
struct Apt {
    options: Vec<OsString>,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        let (lists, cache) = (folder.join("lists"), folder.join("cache"));
        // apt does not make these itself.
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(cache.join("archives/partial"))?;
        let option = |name: &str, value: &Path| {
            let mut option = OsString::from(format!("-o{name}="));
            option.push(value);
            option
        };
        Ok(Self {
            options: vec![
                option("Dir::State::Lists", &lists),
                option("Dir::Cache", &cache),
                // As root, apt would download as a user who may not write here.
                option("APT::Sandbox::User", Path::new("root")),
                option("Acquire::http::Timeout", Path::new("30")),
                option("Acquire::https::Timeout", Path::new("30")),
            ],
        })
    }

    fn update(&self) -> Result<()> {
        let mut command = self.command("apt-get");
        process::output(command.args(["-qq", "update"])).map(drop)
    }

    /// The record of the version that apt would install. None where there is
    /// no such package, or only others that stand in for it.
    fn candidate(&self, name: &str) -> Result<Option<Package>> {
        let mut policy = self.command("apt-cache");
        let policy = process::output(policy.args(["policy", name]))?;
        let Some(version) = field(&policy, "Candidate").filter(|version| *version != "(none)")
        else {
            return Ok(None);
        };
        let version = version.to_owned();
        let mut show = self.command("apt-cache");
        let record = process::output(show.arg("show").arg(format!("{name}={version}")))?;
        Ok(Some(Package {
            version,
            dependencies: dependencies(&record),
            installed: is_installed(name),
        }))
    }

    fn download(&self, packages: &BTreeMap<String, Package>, folder: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        command.args(["-qq", "download"]).current_dir(folder);
        command.args(
            packages
                .iter()
                .map(|(name, package)| format!("{name}={}", package.version)),
        );
        process::output(&mut command).map(drop)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).env("LC_ALL", "C");
        command
    }
}

/// What apt knows of a package.
#[derive(Clone, Debug, PartialEq)]
struct Package {
    version: String,
    /// Names only; of alternatives, the first.
    dependencies: Vec<String>,
    /// Whether the system has it, in whatever version.
    installed: bool,
}

fn is_installed(name: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status} ", name]);
    // It fails for a package it has never heard of.
    process::output(&mut query)
        .is_ok_and(|statuses| statuses.split_whitespace().any(|s| s == "installed"))
}

/// `wanted` and the libraries that they need and the system lacks. Of other
/// dependencies there is only the C toolchain, which the rest of the build
/// needs anyway.
fn needed(
    wanted: &[&str],
    candidate: impl Fn(&str) -> Result<Option<Package>>,
) -> Result<BTreeMap<String, Package>> {
    let mut found = BTreeMap::new();
    let mut queue = VecDeque::new();
    for name in wanted {
        let package = candidate(name)?
            .with_context(|| format!("apt has no package {name} in its sources"))?;
        queue.push_back((name.to_string(), package));
    }
    while let Some((name, package)) = queue.pop_front() {
        for dependency in &package.dependencies {
            if !dependency.starts_with("lib") || found.contains_key(dependency) {
                continue;
            }
            if let Some(library) = candidate(dependency)?.filter(|library| !library.installed) {
                queue.push_back((dependency.clone(), library));
            }
        }
        found.insert(name, package);
    }
    Ok(found)
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

/// The value of a field in what apt-cache prints.
fn field<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    record
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(": "))
}

fn dependencies(record: &str) -> Vec<String> {
    let list = field(record, "Depends").unwrap_or_default();
    list.split(", ")
        .filter_map(|item| item.split([' ', ':']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
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

    fn package(dependencies: &[&str], installed: bool) -> Package {
        Package {
            version: "1.96.0+dfsg1-1".into(),
            dependencies: dependencies.iter().map(|name| name.to_string()).collect(),
            installed,
        }
    }

    #[test]
    fn dependencies_are_names_without_versions() {
        let record = "Package: rustc-web\nDepends: libc6 (>= 2.34), \
                      libstd-rust-web-dev (= 1.96.0+dfsg1-1), gcc:any | clang, libc-dev\n";
        let names = dependencies(record);
        assert_eq!(names, ["libc6", "libstd-rust-web-dev", "gcc", "libc-dev"]);
    }

    #[test]
    fn libraries_are_taken_as_deep_as_the_system_lacks_them() {
        let apt = BTreeMap::from([
            (
                "rustc-web",
                package(&["libc6", "libstd-rust-web-dev", "gcc"], false),
            ),
            (
                "libstd-rust-web-dev",
                package(&["libstd-rust-web-1.96"], false),
            ),
            ("libstd-rust-web-1.96", package(&["libllvm22"], false)),
            (
                "libllvm22",
                package(&["libc6", "libz3-4", "libvirtual"], false),
            ),
            ("libz3-4", package(&[], false)),
            ("libc6", package(&[], true)),
            ("gcc", package(&[], false)),
        ]);
        let found = needed(&["rustc-web"], |name| Ok(apt.get(name).cloned())).unwrap();
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "libllvm22",
                "libstd-rust-web-1.96",
                "libstd-rust-web-dev",
                "libz3-4",
                "rustc-web"
            ]
        );
    }

    #[test]
    fn a_system_without_the_packages_is_told_so() {
        let error = needed(&["rustc-web"], |_| Ok(None)).unwrap_err();
        assert!(error.to_string().contains("rustc-web"));
    }

    #[test]
    fn a_rust_older_than_the_project_needs_is_refused() {
        let old = Package {
            version: "1.85.0+dfsg3-1~deb12u3".into(),
            ..package(&[], false)
        };
        check_version(&BTreeMap::from([("rustc-web".into(), old)])).unwrap_err();
        check_version(&BTreeMap::from([("rustc-web".into(), package(&[], false))])).unwrap();
    }
}
