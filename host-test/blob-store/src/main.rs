//! The program `blob-store`: the store from the command line, for the demo and for people without
//! an account.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blob_store::{
    AccountKey, Action, BlobStore, EMULATOR_ACCOUNT, Error, Fault, Options, RunningStore,
};
use clap::Parser;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Holds the account's key where no file does.
const KEY_VARIABLE: &str = "BLOB_STORE_KEY";

/// A small Azure Blob store on this machine: in memory, or in a folder with --dir.
///
/// It listens on the loopback interface only. The account's key comes from --key-file or the
/// variable BLOB_STORE_KEY; without either it is the one that Microsoft publishes for emulators.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Port on 127.0.0.1; 0 for a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Folder to keep everything in, so that it survives a restart
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Memory that contents may take, in MiB (without --dir)
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 8192,
        conflicts_with = "dir"
    )]
    memory: u64,
    /// Name of the account
    #[arg(long, default_value = EMULATOR_ACCOUNT)]
    account: String,
    /// File with the account's key in base64
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Container to make at the start; may be repeated
    #[arg(long, value_name = "NAME")]
    container: Vec<String>,
    /// Delay every answer by this many milliseconds
    #[arg(long, value_name = "MS")]
    latency: Option<u64>,
    /// File with a JSON list of faults to play
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Also take plain PUT, GET, HEAD and DELETE under /_plain/, without authentication
    #[arg(long)]
    plain: bool,
    /// Stop when standard input closes
    #[arg(long)]
    until_stdin_closes: bool,
}

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no list of faults: {source}", path.display())]
    Faults {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("cannot wait for the signal to stop: {0}")]
    Signal(io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("blob-store: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let store = start(&arguments)?;
    println_and_flush(&format!("blob-store listens on {}", store.url()))?;
    wait(arguments.until_stdin_closes)?;
    let stats = store.stats();
    eprintln!(
        "blob-store: {} requests on {} connections, at most {} at once; {} bytes in, {} bytes out",
        stats.requests(),
        stats.connections,
        stats.max_in_flight,
        stats.bytes_in,
        stats.bytes_out
    );
    for (operation, count) in &stats.by_operation {
        eprintln!("  {operation:?}: {count}");
    }
    Ok(())
}

fn start(arguments: &Arguments) -> Result<RunningStore, Failure> {
    // Never an argument: those show in process lists.
    let key = match &arguments.key_file {
        Some(path) => Some(read(path)?),
        None => std::env::var(KEY_VARIABLE).ok(),
    };
    let mut options = Options {
        port: arguments.port,
        account: arguments.account.clone(),
        dir: arguments.dir.clone(),
        memory_limit: arguments.memory.saturating_mul(1 << 20),
        plain: arguments.plain,
        ..Options::default()
    };
    if let Some(key) = key {
        options.key = AccountKey::from_base64(&key).ok_or(Error::AccountKey)?;
    }
    let faults: Vec<Fault> = match &arguments.faults {
        None => Vec::new(),
        Some(path) => serde_json::from_str(&read(path)?).map_err(|source| Failure::Faults {
            path: path.clone(),
            source,
        })?,
    };
    let store = BlobStore::start(options)?;
    for container in &arguments.container {
        store.create_container(container)?;
    }
    store.faults().set(faults);
    if let Some(ms) = arguments.latency {
        store.faults().push(Fault::new(Action::Delay { ms }));
    }
    Ok(store)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::Read {
        path: path.to_owned(),
        source,
    })
}

/// Whoever waits for this line reads it through a pipe.
fn println_and_flush(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// Returns on Ctrl-C, on SIGTERM, and, if asked to, when standard input closes.
fn wait(for_stdin: bool) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Signal)?;
    let stopped = runtime.block_on(async {
        let (closed, stdin_closed) = oneshot::channel::<()>();
        if for_stdin {
            // A thread of its own, for reading standard input cannot be called off.
            std::thread::spawn(move || {
                let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
                drop(closed);
            });
            tokio::select! {
                result = signalled() => result,
                _ = stdin_closed => Ok(()),
            }
        } else {
            signalled().await
        }
    });
    stopped.map_err(Failure::Signal)
}

#[cfg(unix)]
async fn signalled() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn signalled() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
