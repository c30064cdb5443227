//! apt as a mere source of packages: it looks them up and downloads them, with
//! lists and a cache of its own, so that it needs no root and changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// apt-get and apt-cache with lists and a cache of their own.
pub struct Apt {
    options: Vec<OsString>,
}

impl Apt {
    /// Keeps its files in `folder`.
    pub fn new(folder: &Path) -> Result<Self> {
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

    /// Loads the lists of the machine's sources.
    pub fn update(&self) -> Result<()> {
        let mut command = self.command("apt-get");
        process::output(command.args(["-qq", "update"])).map(drop)
    }

    /// The record of the version that apt would install. None where there is
    /// no such package, or only others that stand in for it.
    pub fn candidate(&self, name: &str) -> Result<Option<Package>> {
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

    /// Downloads the packages' archives into `folder`.
    pub fn download(&self, packages: &BTreeMap<String, Package>, folder: &Path) -> Result<()> {
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
pub struct Package {
    /// Debian's version of it.
    pub version: String,
    /// Names only; of alternatives, the first.
    pub dependencies: Vec<String>,
    /// Whether the system has it, in whatever version.
    pub installed: bool,
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
pub fn needed(
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
}
