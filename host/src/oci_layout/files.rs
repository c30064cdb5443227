//! Files of a cache directory, read with care: another program may have
//! put anything there.
//!
//! Everything here blocks; [`blocking`] keeps it off the async threads.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::Digest as _;

use super::LayoutError;
use crate::Digest;

/// As much JSON as is read from one file. BuildKit's importer stops at 1 MiB,
/// its exporter does not; this only keeps a hostile file out of memory.
pub(super) const MAX_JSON_BYTES: u64 = 64 << 20;

/// Runs `work` on tokio's pool for blocking work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LayoutError> + Send + 'static,
) -> Result<T, LayoutError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(LayoutError::Stopped),
        },
    }
}

/// Opens `path` to read, if it is a regular file: a symbolic link would lead
/// out of the directory, and a pipe would hang the program.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    File::open(path)
}

/// Refuses a directory whose own directories are links: through them, files
/// would be read and written elsewhere.
pub(super) fn check_folders(root: &Path) -> Result<(), LayoutError> {
    for name in ["blobs", "blobs/sha256", "ingest"] {
        let path = root.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            let reason = "it is a link, which may lead elsewhere: put a directory there";
            return Err(damaged(&path, reason));
        }
    }
    Ok(())
}

/// The whole of a JSON file.
pub(super) fn read_json(path: &Path) -> Result<Vec<u8>, LayoutError> {
    let failed = failed("read", path);
    let mut bytes = Vec::new();
    let file = open_regular(path).map_err(&failed)?;
    let size = file.metadata().map_err(&failed)?.len();
    if size <= MAX_JSON_BYTES {
        // It may grow meanwhile.
        let mut file = file.take(MAX_JSON_BYTES + 1);
        file.read_to_end(&mut bytes).map_err(&failed)?;
    }
    if size.max(bytes.len() as u64) > MAX_JSON_BYTES {
        return Err(damaged(
            path,
            format!("it has more than {MAX_JSON_BYTES} bytes"),
        ));
    }
    Ok(bytes)
}

/// The SHA-256 of everything in `file` from where it stands.
pub(super) fn hash(mut file: &File) -> io::Result<Digest> {
    // Large enough that the hash and not the calls take the time.
    let mut buffer = vec![0; 256 << 10];
    let mut hasher = sha2::Sha256::new();
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_hash(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The SHA-256 of a regular file.
pub(super) fn hash_file(path: &Path) -> Result<Digest, LayoutError> {
    let digest = open_regular(path).and_then(|file| hash(&file));
    digest.map_err(failed("read", path))
}

/// An error that says what is wrong with a file.
pub(super) fn damaged(path: &Path, reason: impl ToString) -> LayoutError {
    LayoutError::Damaged {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// What turns an [`io::Error`] into one that says what was tried, and on what.
pub(super) fn failed(
    action: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> LayoutError + use<> {
    let path = path.to_owned();
    move |source| LayoutError::Io {
        action,
        path: path.clone(),
        source,
    }
}
