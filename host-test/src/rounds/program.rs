//! The real command, run as a user runs it, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use blob_store::RunningStore;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::failure::ensure;
use crate::{Failure, Outcome, fixtures};

/// Names the program where it is not beside the tests.
const PROGRAM_VARIABLE: &str = "BUILD_CACHE_CLI";

/// Whatever fails, it must fail before that. Far more than the patience of a
/// round's requests with all their tries comes to.
const LONGEST_RUN: Duration = Duration::from_secs(120);

/// The program and the store that it talks to.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    /// Where it keeps compiled plugins: compiling takes a second, once.
    compiled: PathBuf,
    /// How long a request may stand still, in seconds.
    patience: u64,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none where it was killed.
    pub code: Option<i32>,
    /// The JSON object that it printed.
    pub json: Value,
    /// What it said beside.
    pub stderr: String,
}

impl Program {
    /// The program that was built beside this one, or that the environment
    /// names. `compiled` is a folder for compiled plugins, where azblob is
    /// compiled once, lest every run at once does it.
    ///
    /// # Errors
    /// There is none, which says how to get it, or it does not run.
    pub async fn find(compiled: &Path, patience: u64) -> Outcome<Self> {
        let path = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
        let path = path.or_else(beside_this_one).filter(|path| path.exists());
        let missing = || {
            Failure::Broken(format!(
                "there is no `build-cache` program: `cargo build --release -p build-cache` makes \
                 it, or {PROGRAM_VARIABLE} names it"
            ))
        };
        let program = Self {
            path: path.ok_or_else(missing)?,
            compiled: compiled.to_owned(),
            patience,
        };
        let mut inspect = program.command();
        inspect
            .args(["plugin", "inspect"])
            .arg(fixtures::component("azblob"));
        let inspected = inspect
            .output()
            .await
            .map_err(|error| program.failed(&error))?;
        ensure!(
            inspected.status.success(),
            "azblob cannot be loaded: {inspected:?}"
        );
        Ok(program)
    }

    /// The program, where it finds the plugins and nothing of this user's.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        let components = fixtures::component("azblob");
        let components = components.parent().map(Path::to_owned).unwrap_or_default();
        command.env_clear().env("XDG_CACHE_HOME", &self.compiled);
        command.env("BUILD_CACHE_PLUGIN_DIR", components);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        Failure::Broken(format!("{}: {error}", self.path.display()))
    }

    /// The attributes of a cache in a store.
    pub fn attributes(store: &RunningStore, container: &str, more: &str) -> String {
        let (url, key) = (store.url(), store.key());
        format!(
            "type=azblob,account_url={url},container={container},secret_access_key={key},{more}"
        )
    }

    /// Starts `push --to ATTRIBUTES DIR` or `pull --from ATTRIBUTES DIR`, which
    /// is killed when it is dropped.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        &self,
        what: &str,
        options: &[&str],
        attributes: &str,
        dir: &Path,
    ) -> Outcome<Child> {
        let direction = if what == "push" { "--to" } else { "--from" };
        let mut command = self.command();
        command
            .args([what, "--json", direction, attributes])
            .args(options);
        command
            .arg("--idle-timeout")
            .arg(self.patience.to_string())
            .arg(dir);
        command.spawn().map_err(|error| self.failed(&error))
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It does not end, or in a way that no run may end.
    pub async fn run(
        &self,
        what: &str,
        options: &[&str],
        attributes: &str,
        dir: &Path,
    ) -> Outcome<Ran> {
        let child = self.start(what, options, attributes, dir)?;
        let output = tokio::time::timeout(LONGEST_RUN, child.wait_with_output()).await;
        let hangs = |_| Failure::Broken(format!("the {what} still ran after {LONGEST_RUN:?}"));
        let output = output.map_err(hangs)?;
        let output = output.map_err(|error| Failure::Broken(format!("the {what}: {error}")))?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let ran = Ran {
            code: output.status.code(),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr,
        };
        let is_clear = match ran.code {
            Some(0) => ran.json.is_object(),
            Some(1) => ran.stderr.lines().any(|line| line.starts_with("error: ")),
            _ => false,
        };
        ensure!(
            is_clear && !ran.stderr.contains("panicked"),
            "the {what} ended neither well nor with a clear error: {ran:?}"
        );
        Ok(ran)
    }
}

impl Ran {
    /// Whether it did what it was to do.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// A number of its JSON.
    pub fn number(&self, name: &str) -> u64 {
        self.json[name].as_u64().unwrap_or(0)
    }
}

/// `build-cache` in the folder of this program, or in that above, where cargo
/// puts tests.
fn beside_this_one() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let name = format!("build-cache{}", std::env::consts::EXE_SUFFIX);
    let folders = this.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
}
