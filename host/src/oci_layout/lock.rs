//! One writer of `index.json` at a time, BuildKit's client among them.
//!
//! The lock is BuildKit's: an advisory lock on `index.json.lock`
//! (`client/ociindex`), removed when done. Removing a lock file is safe only
//! when a program that waits for it looks whether it still has its name, so that is
//! what is done here: by the file's number (its inode), which on some file
//! systems is another one each time that one asks. There, the lock counts after
//! some attempts.

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
/// How often in a row a file that was just opened may have another number than
/// its name before the file system is taken for one without steady numbers.
const ATTEMPTS: u32 = 10;

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
        let mut other_numbers = 0;
        loop {
            // Whoever made the directory may have put a link there, which
            // would make a file elsewhere, or a pipe, which would hang.
            if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
                return Err(failed(io::Error::other("it is not a regular file")));
            }
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(&failed)?;
            match file.try_lock() {
                Ok(()) => match name_of(&path, &file) {
                    Name::Its => return Ok(Self { path, _file: file }),
                    Name::Unsure if other_numbers >= ATTEMPTS => {
                        return Ok(Self { path, _file: file });
                    }
                    Name::Unsure => other_numbers += 1,
                    Name::Gone => other_numbers = 0,
                },
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) => other_numbers = 0,
            }
            if started.elapsed() > PATIENCE {
                return Err(LayoutError::Locked {
                    path,
                    seconds: PATIENCE.as_secs(),
                });
            }
            // While it waits nobody else is kept from the lock.
            drop(file);
            sleep(INTERVAL);
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

/// Whether a path still is the name of a file that is held.
#[derive(Debug, PartialEq)]
enum Name {
    /// It is.
    Its,
    /// The last holder has removed the file.
    Gone,
    /// The numbers differ, and yet the file has a name: another file took its
    /// place, or the file system has no steady numbers.
    Unsure,
}

/// What one can tell from a file's device and number, as its name has them and
/// as the file itself has them, and from how many names it has.
#[cfg(unix)]
fn name(named: Option<(u64, u64)>, held: (u64, u64), names: u64) -> Name {
    match named {
        Some(named) if named == held => Name::Its,
        None => Name::Gone,
        Some(_) if names == 0 => Name::Gone,
        Some(_) => Name::Unsure,
    }
}

#[cfg(unix)]
fn name_of(path: &Path, file: &File) -> Name {
    use std::os::unix::fs::MetadataExt;
    let Ok(held) = file.metadata() else {
        return Name::Gone;
    };
    let number = |file: &fs::Metadata| (file.dev(), file.ino());
    let named = fs::symlink_metadata(path).ok();
    name(named.as_ref().map(number), number(&held), held.nlink())
}

#[cfg(not(unix))]
fn name_of(_: &Path, _: &File) -> Name {
    Name::Its
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_file_is_known_by_its_number_and_by_how_many_names_it_has() {
        for (named, names, expected) in [
            (Some((1, 2)), 1, Name::Its),
            (None, 0, Name::Gone),
            (None, 1, Name::Gone),
            // Removed, and made anew by the next writer.
            (Some((1, 3)), 0, Name::Gone),
            // NFS keeps what is open under another name.
            (Some((1, 3)), 1, Name::Unsure),
            (Some((4, 2)), 1, Name::Unsure),
        ] {
            assert_eq!(name(named, (1, 2), names), expected, "{named:?} {names}");
        }
    }

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
