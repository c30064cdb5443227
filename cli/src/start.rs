//! What the program sets up before anything else: as many open files as it may
//! have, and a runtime of as many threads as it can start.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use build_cache_host::{FetchOptions, Threads, raise_open_files};
use tokio::runtime::{Builder, Runtime};

/// How long an idle thread is kept: as long as the program runs. Where threads
/// are short, another might not be had.
const THREAD_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

static THREADS: OnceLock<Threads> = OnceLock::new();

/// Starts the runtime. Fails, rather than wait for a thread that the system
/// does not give.
pub fn runtime() -> Result<Runtime> {
    raise_open_files();
    let threads = Threads::of_this_process().context("cannot start")?;
    let threads = THREADS.get_or_init(|| threads);
    Builder::new_multi_thread()
        .enable_all()
        .worker_threads(threads.workers)
        .max_blocking_threads(threads.blocking)
        .thread_keep_alive(THREAD_KEPT)
        .build()
        .context("cannot start")
}

/// How layers are fetched, with the threads that there are.
pub fn fetch_options() -> FetchOptions {
    let usual = FetchOptions::default();
    let threads = THREADS.get().map_or(usual.threads, |there| there.blocking);
    FetchOptions {
        threads: threads.min(usual.threads),
        ..usual
    }
}
