//! What layers are pulled into: files without a name, which are gone when they are closed, however
//! the process ends.
//!
//! They lie in memory where the system has such a folder, so that a disk that is busy writing the
//! last run does not slow the next one down.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::Layer;

/// Where Linux keeps files in memory.
const IN_MEMORY: &str = "/dev/shm";

/// A new, empty file, open for reading and writing.
///
/// # Errors
/// The system gives none.
pub fn destination() -> io::Result<File> {
    match Path::new(IN_MEMORY) {
        folder if folder.is_dir() => tempfile::tempfile_in(folder),
        _ => tempfile::tempfile(),
    }
}

/// A layer on its way into a file, from its start to its end.
#[derive(Debug)]
pub struct Pulled {
    file: File,
    at: u64,
    hash: Option<Sha256>,
}

impl Pulled {
    /// A layer of which nothing has come yet. `verify` tells whether to hash along.
    ///
    /// # Errors
    /// The system gives no file.
    pub fn new(verify: bool) -> Result<Self> {
        Ok(Self {
            file: destination()?,
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
