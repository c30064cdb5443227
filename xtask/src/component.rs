//! Building the components: each a core module from cargo, made a component
//! here, so that no tool has to be installed for it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use wasm_encoder::{ComponentSection, CustomSection};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wit_component::ComponentEncoder;

use crate::process;
use crate::project::Project;
use crate::wasm_target::{TARGET, WasmTarget};

/// A component that this repository holds.
struct Recipe {
    /// The cargo package.
    package: &'static str,
    /// The backend's `type`, which names the file.
    name: &'static str,
}

const RECIPES: [Recipe; 4] = [
    Recipe {
        package: "azblob",
        name: "azblob",
    },
    Recipe {
        package: "http-backend",
        name: "http",
    },
    // For the tests of the sandbox alone.
    Recipe {
        package: "hostile",
        name: "hostile",
    },
    // For the tests of the version rule alone: of the contract 0.1.
    Recipe {
        package: "old-backend",
        name: "old",
    },
];

/// Compiler flags that have the cryptographic crates be small rather than fast.
const SMALL: [&str; 2] = [
    "--cfg=aes_backend_soft=\"compact\"",
    "--cfg=sha2_backend_soft=\"compact\"",
];

/// Builds every component and returns the folder that holds them as
/// `TYPE.wasm`.
pub fn build(project: &Project) -> Result<PathBuf> {
    let _lock = project.lock()?;
    let target = WasmTarget::find(project)?;
    let packages = packages(project)?;
    let folder = project.target("components");
    fs::create_dir_all(&folder)?;
    for recipe in &RECIPES {
        let component = component(project, &target, recipe, &packages, &[])?;
        let path = folder.join(recipe.name).with_extension("wasm");
        write_if_changed(&path, &component)?;
        println!("{}: {} KB", project.show(&path), component.len() / 1000);
    }
    Ok(folder)
}

/// Prints what azblob weighs, and what without its one feature.
pub fn print_sizes(project: &Project) -> Result<()> {
    let _lock = project.lock()?;
    let target = WasmTarget::find(project)?;
    let packages = packages(project)?;
    for (what, options) in [
        ("as it is", &[][..]),
        ("without certificates", &["--no-default-features"]),
    ] {
        let size = component(project, &target, &RECIPES[0], &packages, options)?.len();
        println!("azblob {what}: {size} bytes");
    }
    Ok(())
}

/// Builds one component, with more options for cargo.
fn component(
    project: &Project,
    target: &WasmTarget,
    recipe: &Recipe,
    packages: &[Value],
    options: &[&str],
) -> Result<Vec<u8>> {
    let module = build_module(project, target, recipe, options)?;
    encode(&module, &About::of(recipe, packages)?)
        .with_context(|| format!("the module of {} is no component", recipe.package))
}

/// Builds the core module. Modules have a target folder of their own, as the
/// compiler may be another.
fn build_module(
    project: &Project,
    target: &WasmTarget,
    recipe: &Recipe,
    options: &[&str],
) -> Result<Vec<u8>> {
    let target_folder = project.target("wasm");
    let mut flags = path_flags(project)?;
    flags.extend(SMALL.map(str::to_owned));
    let flags = serde_json::to_string(&flags)?;
    let mut cargo = project.cargo();
    cargo.args(["rustc", "--package", recipe.package, "--lib"]);
    // Of a package that is a Rust library as well, cargo builds both at once,
    // and then without optimising across crates: a sixth more.
    cargo.args(["--crate-type", "cdylib", "--profile", "component"]);
    cargo.args(options);
    cargo.arg("--target-dir").arg(&target_folder);
    cargo.arg("--config");
    cargo.arg(format!("target.{TARGET}.rustflags={flags}"));
    target.configure(&mut cargo)?;
    process::run(&mut cargo)?;
    let file = recipe.package.replace('-', "_") + ".wasm";
    let file = target_folder.join(TARGET).join("component").join(file);
    fs::read(&file).with_context(|| format!("cargo left no module {}", file.display()))
}

/// Compiler flags that keep the folders of this machine out of the component:
/// they would tell of its builder and make the same source another file.
fn path_flags(project: &Project) -> Result<Vec<String>> {
    let mut folders = vec![(project.file(""), "/build-cache".to_owned())];
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
        .context("neither CARGO_HOME nor a home folder is known")?;
    if let Ok(registries) = fs::read_dir(home.join("registry/src")) {
        for registry in registries {
            folders.push((registry?.path(), "/crates".to_owned()));
        }
    }
    folders.sort();
    let flag = |(folder, name): &(PathBuf, String)| {
        format!("--remap-path-prefix={}={name}", folder.display())
    };
    Ok(folders.iter().map(flag).collect())
}

/// What a component says of itself to people who find the file.
struct About {
    name: String,
    version: String,
    license: String,
    description: String,
}

impl About {
    fn of(recipe: &Recipe, packages: &[Value]) -> Result<Self> {
        let package = packages
            .iter()
            .find(|package| package["name"] == recipe.package)
            .with_context(|| format!("the workspace has no package {}", recipe.package))?;
        let text = |key: &str| match &package[key] {
            Value::String(text) => Ok(text.clone()),
            _ => bail!("the package {} has no {key}", recipe.package),
        };
        Ok(Self {
            name: recipe.name.into(),
            version: text("version")?,
            license: text("license")?,
            description: text("description")?,
        })
    }
}

/// What cargo knows of the workspace's packages.
fn packages(project: &Project) -> Result<Vec<Value>> {
    let mut cargo = project.cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    let mut metadata: Value = serde_json::from_str(&process::output(&mut cargo)?)?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => bail!("cargo metadata lists no packages"),
    }
}

/// Makes a component of a core module, checked, with `about` in it.
fn encode(module: &[u8], about: &About) -> Result<Vec<u8>> {
    let component = ComponentEncoder::default()
        .module(module)?
        .validate(true)
        .encode()?;
    let mut metadata = AddMetadata::default();
    // The encoder names every import and helper for those who debug it: 10 KB.
    metadata.name = AddMetadataField::Clear;
    let component = metadata.to_wasm(&component)?;
    metadata.name = AddMetadataField::Set(about.name.clone());
    let mut component = metadata.to_wasm(&component)?;
    // The sections that tools for OCI artifacts read.
    for (name, text) in [
        ("version", &about.version),
        ("licenses", &about.license),
        ("description", &about.description),
    ] {
        let section = CustomSection {
            name: name.into(),
            data: text.as_bytes().into(),
        };
        section.append_to_component(&mut component);
    }
    Ok(component)
}

/// Leaves a file that is right as it is, with its time, so that nothing that
/// depends on it is made again.
fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|before| before == content) {
        return Ok(());
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
