//! `cargo xtask demo`: a real BuildKit cache goes to a blob store and comes
//! back, told to someone who sees it for the first time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::dist;
use crate::process;
use crate::project::Project;
use crate::same_cache;

/// The cache that makes the journey; BuildKit wrote it.
const CACHE: &str = "host-test/fixtures/buildkit/local-max";

/// The key of the account `devstoreaccount1`, which every emulator of Azure
/// Storage has and which is no secret.
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Builds all and runs the demo.
pub fn run(project: &Project) -> Result<()> {
    let dist = dist::build(project)?;
    let folder = project.target("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let pulled = folder.join("pulled");

    tell("A BuildKit cache goes to Azure Blob Storage and comes back");
    println!(
        "{CACHE} is what BuildKit wrote with\n\
         `--cache-to type=local,dest=DIR,mode=max`: the layers of a build, and the records\n\
         of the steps that made them. Azure is played by this repository's own blob store."
    );
    let store = Store::start(&dist.programs.blob_store)?;
    println!("It listens on {}.", store.url);
    let build_cache = BuildCache {
        project,
        program: dist.folder.join("build-cache"),
    };
    let backend = format!("type=azblob,name=demo,account_url={}", store.url);

    tell("1. Push: every layer the store lacks is sent, the manifest last");
    build_cache.run(&["push", "--to", &backend, CACHE])?;

    tell("2. Push again: the store has it all, so no layer is sent");
    let summary = build_cache.run_for_json(&["push", "--json", "--to", &backend, CACHE])?;
    let sent = summary["layers_stored"].as_u64();
    ensure!(sent == Some(0), "the second push sent layers: {summary}");
    println!("Nothing but the manifest was written.");

    tell("3. Pull, into a directory that is not there yet");
    let pulled_name = project.show(&pulled).to_string();
    build_cache.run(&["pull", "--from", &backend, &pulled_name])?;

    tell("4. Compare what came back with what BuildKit wrote");
    let same = same_cache::compare(&project.file(CACHE), &pulled)?;
    println!("layers    {} blobs, all bytes equal", same.layers);
    println!("config    equal, {}", same.config);
    println!("manifest  equal, {}", same.manifest);
    println!("together  {} bytes", same.bytes);

    tell("5. What the store counted");
    drop(store);

    tell("The same with your own account and your own build");
    print!("{}", own_account(&project.show(&dist.folder).to_string()));
    Ok(())
}

fn own_account(dist: &str) -> String {
    format!(
        "\
export AZURE_STORAGE_KEY=...   # a key of the storage account ACCOUNT
REMOTE=type=azblob,name=app,account_url=https://ACCOUNT.blob.core.windows.net

{dist}/build-cache pull --from $REMOTE cache
docker buildx build --cache-from type=local,src=cache --cache-to type=local,dest=cache-new,mode=max .
{dist}/build-cache push --to $REMOTE cache-new

The first pull finds nothing, and says so; from then on the build starts from
what the last one stored, on whatever machine it runs. README.md has this as a
GitHub Actions workflow.
"
    )
}

fn tell(heading: &str) {
    println!("\n{heading}\n{}", "-".repeat(heading.len()));
}

/// The command, as a user runs it in the top folder.
struct BuildCache<'a> {
    project: &'a Project,
    program: PathBuf,
}

impl BuildCache<'_> {
    /// Runs it, its output shown.
    fn run(&self, arguments: &[&str]) -> Result<()> {
        process::run(&mut self.command(arguments))
    }

    /// Runs it, and shows and returns the JSON that it printed.
    fn run_for_json(&self, arguments: &[&str]) -> Result<Value> {
        let printed = process::output(&mut self.command(arguments))?;
        print!("{printed}");
        serde_json::from_str(&printed).context("build-cache --json printed no JSON")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        println!("$ build-cache {}", arguments.join(" "));
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(self.project.file(""))
            // By the environment: arguments show in the list of processes.
            .env("AZURE_STORAGE_KEY", EMULATOR_KEY);
        command
    }
}

/// A blob store that runs until the value goes, or this program does.
struct Store {
    process: Child,
    /// The account's URL.
    url: String,
}

impl Store {
    fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("--until-stdin-closes");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .with_context(|| format!("blob-store printed no URL but {line:?}"))?
            .to_owned();
        Ok(Self { process, url })
    }
}

impl Drop for Store {
    /// Lets it print what it has counted.
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // However it ended, there is no one left to tell.
        let _ = self.process.wait();
    }
}
