//! One writer of `index.json` at a time, BuildKit's client among them.
//!
//! The lock is BuildKit's: an advisory lock on `index.json.lock`
//! (`client/ociindex`), removed when done. Removing a lock file is safe only
//! when whoever waits for it looks whether it still has its name, so that is
//! what is done here.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::LayoutError;
use super::files::failed;

/// How long to wait for another writer, which holds the lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look.
const INTERVAL: Duration = Duration::from_millis(20);

/// The right to change `index.json`, until dropped.
#[derive(Debug)]
pub(super) struct IndexLock {
    path: PathBuf,
    /// Holds the lock as long as it is open.
    _file: File,
}

impl IndexLock {
    /// Waits for the lock of the directory `root`.
    pub fn acquire(root: &Path) -> Result<Self, LayoutError> {
        let path = root.join("index.json.lock");
        let failed = failed("lock", &path);
        let started = Instant::now();
        loop {
            // Whoever made the directory may have put a link there, which
            // would make a file elsewhere, or a pipe, which would hang.
            if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
                return Err(failed(io::Error::other("it is no regular file")));
            }
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(&failed)?;
            match file.try_lock() {
                Ok(()) if still_named(&path, &file) => return Ok(Self { path, _file: file }),
                Ok(()) => continue,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if started.elapsed() > PATIENCE => {
                    return Err(LayoutError::Locked {
                        path,
                        seconds: PATIENCE.as_secs(),
                    });
                }
                Err(TryLockError::WouldBlock) => sleep(INTERVAL),
            }
        }
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        // Elsewhere an open file cannot be removed, and a lock file that stays
        // does no harm.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether `path` is still the name of `file`: its last holder may have
/// removed it.
#[cfg(unix)]
fn still_named(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(named), Ok(held)) = (fs::metadata(path), file.metadata()) else {
        return false;
    };
    (named.dev(), named.ino()) == (held.dev(), held.ino())
}

#[cfg(not(unix))]
fn still_named(_: &Path, _: &File) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn only_one_holds_the_lock_and_its_file_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let holders = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let lock = IndexLock::acquire(dir.path()).expect("the lock");
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 0);
    }
}
