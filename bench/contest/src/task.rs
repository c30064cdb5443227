//! A task and its report, as they pass between the processes.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What one contestant is to do, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Where.
    pub place: Place,
    /// The folder of the [`crate::Set`].
    pub set: PathBuf,
    /// The names of the cache in the store.
    pub names: Vec<String>,
    /// What.
    pub work: Work,
    /// How much at once.
    pub limits: Limits,
}

/// A container of a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The account's address, path-style, such as `http://127.0.0.1:10000/devstoreaccount1`.
    pub account_url: String,
    /// The account.
    pub account: String,
    /// The account's key, in base64. It is the emulator's, which protects nothing.
    pub key: String,
    /// The container.
    pub container: String,
}

/// The work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Ask for each layer, send those that the store lacks, then the manifest.
    Push,
    /// Get the manifest, ask for each layer, then fetch each into a file.
    Pull {
        /// Whether the digests are compared, where the contestant leaves a choice.
        verify: bool,
    },
    /// Get the manifest of each name, and ask for each layer of it.
    Import,
    /// List every blob of the container.
    List,
}

/// How many requests are under way at once, the same for every contestant that leaves a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests without a layer's bytes.
    pub questions: usize,
    /// Requests with bytes of layers that are not small.
    pub transfers: usize,
    /// Requests with a small layer.
    pub small_transfers: usize,
    /// The blocks that a large layer is sent in, and the ranges that it is fetched in, in bytes;
    /// none for what a contestant takes by default. The native clients do not look at it.
    pub part_bytes: Option<u64>,
}

/// What a contestant measured of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// From before the first request to after the last.
    pub seconds: f64,
    /// Processor time in between, of all threads, the kernel's part included.
    pub cpu_seconds: f64,
    /// The most memory that the process had at any time, in bytes; 0 where the system does not
    /// tell.
    pub peak_memory_bytes: u64,
    /// The most memory that the component had, in bytes; none where there is no component.
    pub guest_memory_bytes: Option<u64>,
}

impl Limits {
    /// A layer up to this size is a small one, in bytes.
    pub const SMALL: u64 = 512 << 10;
}

impl Task {
    /// The task on standard input.
    ///
    /// # Errors
    /// It is none.
    pub fn read() -> Result<Self> {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        serde_json::from_str(&text).context("standard input holds no task of the benchmark")
    }

    /// The key of a layer's blob.
    pub fn layer_key(digest: &str) -> String {
        format!("blobs/{digest}")
    }

    /// The key of the manifest under a name.
    pub fn manifest_key(name: &str) -> String {
        format!("manifests/{name}")
    }
}

impl Report {
    /// Writes the report to standard output.
    ///
    /// # Errors
    /// Nobody reads it.
    pub fn write(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, self)?;
        out.flush()?;
        Ok(())
    }
}
