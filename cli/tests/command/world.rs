//! A store of its own for each test, a folder, and the program to run in it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blob_store::{BlobStore, Options, RunningStore};
use build_cache_host::oci_layout::{Check, LayoutWriter};
use build_cache_host::{Digest, Layer, Manifest};
use serde_json::Value;
use tempfile::TempDir;

/// The container that these tests use.
pub const CONTAINER: &str = "tests";

pub struct World {
    pub store: RunningStore,
    pub folder: TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> Self {
        Self {
            store: BlobStore::start(Options::default()).expect("a store"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The attributes of a cache in the store, key included.
    pub fn cache(&self, more: &str) -> String {
        let key = self.store.key();
        format!("{},secret_access_key={key}", self.cache_without_key(more))
    }

    /// The attributes of a cache in the store, but for the key.
    pub fn cache_without_key(&self, more: &str) -> String {
        let url = self.store.url();
        format!("type=azblob,account_url={url},container={CONTAINER},max_retries=0,{more}")
    }

    /// A copy of a cache that BuildKit wrote, to spoil.
    pub fn copy_of(&self, fixture: &str) -> PathBuf {
        let (from, to) = (buildkit(fixture), self.path("copy"));
        for folder in ["", "blobs/sha256"] {
            std::fs::create_dir_all(to.join(folder)).expect("a folder");
            for entry in std::fs::read_dir(from.join(folder))
                .expect("a fixture")
                .flatten()
            {
                if entry.path().is_file() {
                    let name = entry.file_name();
                    std::fs::copy(entry.path(), to.join(folder).join(name)).expect("a copy");
                }
            }
        }
        to
    }

    /// A cache of one layer, of any bytes.
    pub fn cache_of_one_layer(&self, size: usize) -> PathBuf {
        self.cache_of_layers("large", &[size])
    }

    /// A cache of layers of these sizes, of any bytes, a step each.
    pub fn cache_of_layers(&self, name: &str, sizes: &[usize]) -> PathBuf {
        let record = |number: usize| {
            let step = Digest::of(format!("step {number}").as_bytes());
            format!(
                r#"{{"layers":[{{"layer":{number},"createdAt":"2026-01-01T00:00:00Z"}}],"digest":"{step}"}}"#
            )
        };
        let records: Vec<_> = (0..sizes.len()).map(record).collect();
        self.cache_of(name, sizes, format!("[{}]", records.join(",")))
    }

    /// A cache of layers of these sizes, and these records.
    pub fn cache_of(&self, name: &str, sizes: &[usize], records: String) -> PathBuf {
        let dir = self.path(name);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let writer = LayoutWriter::create(&dir).await.expect("a directory");
            let mut layers = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                let bytes: Vec<u8> = (0..*size).map(|at| ((at + number) % 251) as u8).collect();
                let blob = Digest::of(&[&bytes[..], number.to_string().as_bytes()].concat());
                let bytes = [&bytes[..], number.to_string().as_bytes()].concat();
                let layer = Layer {
                    blob: blob.clone(),
                    size: bytes.len() as u64,
                    media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
                    diff_id: blob,
                    created_at: None,
                    parent: None,
                };
                let incoming = writer.begin(&layer).await.expect("a file");
                let mut file = incoming.file().expect("a file");
                file.write_all(&bytes).expect("written");
                incoming.commit(Check::Size).await.expect("a layer");
                layers.push(layer);
            }
            let manifest = Manifest { layers, records };
            let tags = ["latest".to_owned()];
            writer.finish(&manifest, &tags).await.expect("a cache");
        });
        dir
    }

    /// A cache of one small layer, and of so many records.
    pub fn cache_of_many_records(&self, records: usize) -> PathBuf {
        let record = |index: usize| {
            let step = Digest::of(format!("step {index}").as_bytes());
            format!(
                r#"{{"layers":[{{"layer":0,"createdAt":"2026-01-01T00:00:00Z"}}],"digest":"{step}"}}"#
            )
        };
        let records: Vec<_> = (0..records).map(record).collect();
        self.cache_of("large", &[1000], format!("[{}]", records.join(",")))
    }

    /// The program under the limits that these commands of a shell set.
    #[cfg(unix)]
    pub fn limited<S: AsRef<OsStr>>(&self, limits: &str, args: &[S]) -> Command {
        let program = self.command(args);
        let mut shell = Command::new("/bin/sh");
        shell
            .env_clear()
            .stdin(Stdio::null())
            .arg("-c")
            .arg(format!("{limits} && exec \"$0\" \"$@\""))
            .arg(program.get_program())
            .args(program.get_args());
        for (name, value) in program.get_envs() {
            shell.env(name, value.expect("a value"));
        }
        shell
    }

    /// The program, where it finds the components and nothing of this user's.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_build-cache"));
        command.env_clear().args(args).stdin(Stdio::null());
        // Compiling takes a second, and one test may do it for all.
        command.env(
            "XDG_CACHE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        );
        command.env("XDG_DATA_HOME", self.path("data"));
        command.env("BUILD_CACHE_PLUGIN_DIR", components());
        command
    }

    /// Runs the program, and sees to it that it never shows the key.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        self.run_command(self.command(args))
    }

    /// Runs the program as [`Self::command`] made it, and as changed since.
    pub fn run_command(&self, mut command: Command) -> Ran {
        let output = command.output().expect("the program runs");
        let ran = Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        };
        let key = self.store.key();
        assert!(
            !ran.stdout.contains(&key) && !ran.stderr.contains(&key),
            "the key is shown"
        );
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }

    /// Pushes a directory, and expects that to work.
    pub fn push(&self, dir: &Path, more: &str) -> Value {
        let to = self.cache(more);
        self.run(&["push", "--json", "--to", &to, text(dir)])
            .succeeded()
            .json()
    }

    /// Pulls into a directory, and expects that to work.
    pub fn pull(&self, dir: &Path, more: &str) -> Value {
        let from = self.cache(more);
        self.run(&["pull", "--json", "--from", &from, text(dir)])
            .succeeded()
            .json()
    }
}

impl Ran {
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Expects this exit code, and an error that says all of this.
    pub fn failed(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains("error: "), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not said: {self:?}");
        }
        self
    }

    /// Standard output, which must be one line of JSON.
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).expect("JSON")
    }
}

/// A cache that BuildKit wrote.
pub fn buildkit(name: &str) -> PathBuf {
    workspace().join("host-test/fixtures/buildkit").join(name)
}

/// The folder of the built components.
pub fn components() -> PathBuf {
    let folder = std::env::var_os("BUILD_CACHE_COMPONENTS")
        .map_or_else(|| workspace().join("target/components"), PathBuf::from);
    assert!(
        folder.join("azblob.wasm").exists(),
        "there is no azblob.wasm in {}; `cargo xtask components` builds it",
        folder.display()
    );
    folder
}

/// The tags in a cache directory, each with its manifest's digest.
pub fn tags(dir: &Path) -> Vec<(String, String)> {
    let index = std::fs::read(dir.join("index.json")).expect("an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let entries = index["manifests"].as_array().expect("entries").iter();
    let string = |value: &Value| value.as_str().expect("a string").to_owned();
    entries
        .map(|entry| {
            let tag = &entry["annotations"]["org.opencontainers.image.ref.name"];
            (string(tag), string(&entry["digest"]))
        })
        .collect()
}

/// The files of the layers in a cache directory, the largest first.
pub fn layers(dir: &Path) -> Vec<PathBuf> {
    let [(_, manifest), ..] = &tags(dir)[..] else {
        panic!("no cache in {}", dir.display())
    };
    let manifest = std::fs::read(blob(dir, manifest)).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let mut layers = manifest["layers"].as_array().expect("layers").clone();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer["size"].as_u64()));
    layers
        .iter()
        .map(|layer| blob(dir, layer["digest"].as_str().expect("a digest")))
        .collect()
}

/// The file of a blob in a cache directory.
pub fn blob(dir: &Path, digest: &str) -> PathBuf {
    dir.join("blobs/sha256")
        .join(digest.trim_start_matches("sha256:"))
}

/// The key that a layer's file has in the store.
pub fn key_of(layer: &Path) -> String {
    format!(
        "blobs/sha256:{}",
        layer.file_name().expect("a name").display()
    )
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
}
