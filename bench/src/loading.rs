//! What it costs to have the component at all: to load it, to open a cache, and to start the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use bench_contest::{Meter, Place};
use build_cache_host::{Host, HostOptions, OpenOptions};
use serde::{Deserialize, Serialize};

use crate::contestant::Programs;
use crate::ours;
use crate::plan::Extent;
use crate::statistics::Spread;
use crate::store::{Distance, Store};

/// Loading without compiled code.
pub const COLD: &str = "load, compiling";
/// Loading with it.
pub const LOAD: &str = "load from the compiled cache";
/// An instance of its own with an open cache.
pub const OPEN: &str = "instance and open cache";
/// The command, doing nothing.
pub const VERSION: &str = "build-cache --version, the whole process";
/// The command, finding nothing to send.
pub const WARM: &str = "build-cache push, warm, 10 layers, the whole process";

/// The container of the command's cache.
const CONTAINER: &str = "small";

/// One thing that was timed.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// What.
    pub name: &'static str,
    /// How often.
    pub runs: usize,
    /// How long it took.
    pub seconds: Spread,
    /// The most memory that the process had, in bytes, where it was measured.
    pub peak_memory_bytes: Option<u64>,
    /// The most memory that the component had, in bytes, where it was measured.
    pub guest_memory_bytes: Option<u64>,
}

/// What a process that only loads and opens tells.
#[derive(Debug, Serialize, Deserialize)]
struct Loaded {
    load_seconds: Vec<f64>,
    open_seconds: Vec<f64>,
    peak_memory_bytes: u64,
    guest_memory_bytes: u64,
}

/// Loads the component and opens caches, as often as that, and tells how long each took.
pub async fn load_and_open(plugin: &Path, compiled: &Path, times: usize) -> Result<()> {
    let meter = Meter::start();
    let mut loaded = Loaded {
        load_seconds: Vec::new(),
        open_seconds: Vec::new(),
        peak_memory_bytes: 0,
        guest_memory_bytes: 0,
    };
    // It is opened and asked nothing, so nothing has to listen there.
    let place = Place {
        account_url: "http://127.0.0.1:1/devstoreaccount1".to_owned(),
        account: "devstoreaccount1".to_owned(),
        key: "a2V5".to_owned(),
        container: CONTAINER.to_owned(),
    };
    let attributes = ours::attributes(&place, &["name".to_owned()]);
    for _ in 0..times {
        let host = Host::new(HostOptions {
            compiled_cache: Some(compiled.to_owned()),
            ..HostOptions::default()
        })?;
        let since = Instant::now();
        let plugin = host.load(plugin).await?;
        loaded.load_seconds.push(since.elapsed().as_secs_f64());
        let since = Instant::now();
        let cache = plugin.open(&attributes, OpenOptions::default()).await?;
        loaded.open_seconds.push(since.elapsed().as_secs_f64());
        loaded.guest_memory_bytes = cache.peak_memory_bytes() as u64;
    }
    loaded.peak_memory_bytes = meter.stop().peak_memory_bytes;
    println!("{}", serde_json::to_string(&loaded)?);
    Ok(())
}

/// Times all of it.
pub fn measure(programs: &Programs, extent: Extent, store: &mut Store) -> Result<Vec<Timing>> {
    let often = match extent {
        Extent::Full => 51,
        Extent::Quick => 11,
    };
    let cold = programs.folder.join("compiled-cold");
    if cold.exists() {
        std::fs::remove_dir_all(&cold)?;
    }
    let compiling = load(&programs.plugin, &cold, 1)?;
    let compiled = load(&programs.plugin, &cold, often)?;
    let timing = |name, seconds: &[f64], loaded: &Loaded| {
        Ok::<_, anyhow::Error>(Timing {
            name,
            runs: seconds.len(),
            seconds: Spread::of(seconds.iter().copied()).context("nothing was timed")?,
            peak_memory_bytes: Some(loaded.peak_memory_bytes),
            guest_memory_bytes: Some(loaded.guest_memory_bytes),
        })
    };
    let mut timings = vec![
        timing(COLD, &compiling.load_seconds, &compiling)?,
        timing(LOAD, &compiled.load_seconds, &compiled)?,
        timing(OPEN, &compiled.open_seconds, &compiled)?,
    ];
    let version = || {
        Command::new(&programs.command)
            .arg("--version")
            .stdout(Stdio::null())
            .spawn()
    };
    timings.push(whole_process(VERSION, often, || Ok(version()?))?);
    timings.push(warm_push(programs, often, store)?);
    Ok(timings)
}

fn load(plugin: &Path, compiled: &Path, times: usize) -> Result<Loaded> {
    let output = Command::new(std::env::current_exe()?)
        .arg("load")
        .arg("--plugin")
        .arg(plugin)
        .arg("--compiled")
        .arg(compiled)
        .arg("--times")
        .arg(times.to_string())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "loading failed ({})",
        output.status
    );
    serde_json::from_slice(&output.stdout).context("the process that loads told nothing")
}

/// The command pushes a cache that a real BuildKit made, which the store has already.
fn warm_push(programs: &Programs, often: usize, store: &mut Store) -> Result<Timing> {
    store.empty(CONTAINER)?;
    store.move_to(Distance::default())?;
    let place = store.place(CONTAINER);
    let cache =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-test/fixtures/buildkit/local-max");
    let to = format!(
        "type=azblob,account_url={},container={CONTAINER},name=small",
        place.account_url
    );
    let command = programs.command.clone();
    let push = || {
        let mut push = Command::new(&command);
        push.arg("push")
            .arg("--quiet")
            .arg("--plugin")
            .arg(&programs.plugin);
        push.arg("--to").arg(&to).arg(&cache);
        push.env("AZURE_STORAGE_KEY", &place.key);
        // Compiled code is kept there, and nothing of the user's own is touched.
        push.env("XDG_CACHE_HOME", absolute(&programs.folder.join("cache"))?);
        Ok(push.spawn()?)
    };
    // The first one compiles, and sends.
    whole_process(WARM, 1, push)?;
    whole_process(WARM, often, push)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// Times a process from its start to its end.
fn whole_process(
    name: &'static str,
    often: usize,
    start: impl Fn() -> Result<std::process::Child>,
) -> Result<Timing> {
    let mut seconds = Vec::new();
    for _ in 0..often {
        let since = Instant::now();
        let status = start()?.wait()?;
        seconds.push(since.elapsed().as_secs_f64());
        if !status.success() {
            bail!("`{name}` failed ({status})");
        }
    }
    Ok(Timing {
        name,
        runs: often,
        seconds: Spread::of(seconds).context("nothing was timed")?,
        peak_memory_bytes: None,
        guest_memory_bytes: None,
    })
}
