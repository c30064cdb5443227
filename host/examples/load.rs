//! What it costs to have a backend: `load PLUGIN NAME=VALUE…` compiles it,
//! takes it from the compiled cache, and opens caches, and prints the times.

use std::time::{Duration, Instant};

use build_cache_host::{Host, HostOptions, OpenOptions};

/// As often is each thing done; the median is printed.
const RUNS: usize = 51;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: load PLUGIN NAME=VALUE…")?;
    let attributes: Vec<_> = arguments
        .filter_map(|a| a.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())))
        .collect();

    let compiled = tempfile::tempdir()?;
    let options = HostOptions {
        compiled_cache: Some(compiled.path().join("compiled")),
        ..HostOptions::default()
    };

    let start = Instant::now();
    let plugin = Host::new(options.clone())?.load(&path).await?;
    println!("component          {:>9} bytes", plugin.size());
    println!("load, compiling    {:>9.2?}", start.elapsed());

    let mut loads = Vec::new();
    for _ in 0..RUNS {
        let host = Host::new(options.clone())?;
        let start = Instant::now();
        host.load(&path).await?;
        loads.push(start.elapsed());
    }
    println!("load, compiled     {:>9.2?}", median(loads));

    let mut opens = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        plugin.open(&attributes, OpenOptions::default()).await?;
        opens.push(start.elapsed());
    }
    println!("instance and open  {:>9.2?}", median(opens));
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
