//! What layers are pulled into: files without a name, which are gone with the process, however it
//! ends.
//!
//! They lie in memory where the system has such a folder, so that a disk that is busy writing the
//! last run does not slow the next one down.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::Layer;

/// Where Linux keeps files in memory.
const IN_MEMORY: &str = "/dev/shm";

/// Files for layers of this size or more, in bytes, stay open.
const LARGE: u64 = 1 << 20;

/// What is kept open.
static KEPT: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A new, empty file for a layer of this size, open for reading and writing.
///
/// A large one is not given back before the process ends: that takes a while, and a user's files
/// stay.
///
/// # Errors
/// The system gives none.
pub fn destination(size: u64) -> io::Result<File> {
    let file = match Path::new(IN_MEMORY) {
        folder if folder.is_dir() => tempfile::tempfile_in(folder),
        _ => tempfile::tempfile(),
    }?;
    if size >= LARGE {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(file.try_clone()?);
    }
    Ok(file)
}

/// A layer on its way into a file, from its start to its end.
#[derive(Debug)]
pub struct Pulled {
    file: File,
    at: u64,
    hash: Option<Sha256>,
}

impl Pulled {
    /// A layer of this size of which nothing has come yet. `verify` tells whether to hash along.
    ///
    /// # Errors
    /// The system gives no file.
    pub fn new(size: u64, verify: bool) -> Result<Self> {
        Ok(Self {
            file: destination(size)?,
            at: 0,
            hash: verify.then(Sha256::new),
        })
    }

    /// The bytes that follow.
    ///
    /// # Errors
    /// The file does not take them.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        use std::io::Write as _;
        self.file.write_all(bytes)?;
        self.at += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    /// The end of the layer.
    ///
    /// # Errors
    /// It is not the one that was asked for.
    pub fn finish(self, layer: &Layer) -> Result<()> {
        ensure!(
            self.at == layer.size,
            "{} has {} bytes instead of {}",
            layer.digest,
            self.at,
            layer.size
        );
        if let Some(hash) = self.hash {
            let found = crate::set::digest_text(hash);
            ensure!(found == layer.digest, "{} came as {found}", layer.digest);
        }
        Ok(())
    }
}
