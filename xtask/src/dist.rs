//! Building what is handed out: the command and the plugin, in one folder that
//! can be copied elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::component;
use crate::process;
use crate::project::Project;

/// Has cargo unite the features of dependencies as it does for tests, where
/// the dev-dependencies count. Without it wasmtime would be compiled once for
/// the programs and once for the tests. The few examples are built by the way;
/// and what is handed out is of the same parts as what was tested.
pub const LIKE_TESTS: &str = "--examples";

/// The programs of the release build.
pub struct Programs {
    /// The command.
    pub build_cache: PathBuf,
    /// The blob store that the tests and the demo talk to.
    pub blob_store: PathBuf,
    /// The benchmark.
    pub bench: PathBuf,
}

/// Builds the programs.
pub fn build_programs(project: &Project) -> Result<Programs> {
    let mut cargo = project.cargo();
    cargo.args(["build", "--bins", LIKE_TESTS]);
    cargo.args(project.selection());
    process::run(&mut cargo)?;
    let program = |name: &str| {
        let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        project.build_folder().join("release").join(name)
    };
    Ok(Programs {
        build_cache: program("build-cache"),
        blob_store: program("blob-store"),
        bench: program("bench"),
    })
}

/// What [`build`] made.
pub struct Dist {
    /// `target/dist`.
    pub folder: PathBuf,
    /// The programs where cargo left them.
    pub programs: Programs,
}

/// Fills `target/dist`.
pub fn build(project: &Project) -> Result<Dist> {
    let components = component::build(project)?;
    let programs = build_programs(project)?;
    let folder = project.target("dist");
    fs::create_dir_all(folder.join("plugins"))?;
    let command = format!("build-cache{}", std::env::consts::EXE_SUFFIX);
    replace(&programs.build_cache, &folder.join(command))?;
    replace(
        &components.join("azblob.wasm"),
        &folder.join("plugins/azblob.wasm"),
    )?;
    println!("{} is ready to be copied:", project.show(&folder));
    println!("  build-cache          the command");
    println!("  plugins/azblob.wasm  the backend, which it finds there");
    Ok(Dist { folder, programs })
}

/// Copies a file over another that may be in use.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let beside = to.with_added_extension("new");
    fs::copy(from, &beside)
        .and_then(|_| fs::rename(&beside, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
