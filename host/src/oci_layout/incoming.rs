//! Files on their way into a cache directory: written in `ingest/` under a name
//! of their own, brought to disk, and only then given their name.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::files::{blocking, failed, hash};
use super::{Check, LayoutError};
use crate::{Digest, Layer};

/// What the names of our files in `ingest/` start with.
const PREFIX: &str = "build-cache-";
/// When such a file's writer has surely ended.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// A layer's blob on its way into a directory. What is dropped before
/// [`Self::commit`] is removed.
#[derive(Debug)]
pub struct IncomingBlob {
    file: NamedTempFile,
    blob: Digest,
    size: u64,
    path: PathBuf,
}

impl IncomingBlob {
    /// A new file in `ingest` that becomes `path`.
    pub(super) fn create(ingest: &Path, layer: &Layer, path: PathBuf) -> Result<Self, LayoutError> {
        Ok(Self {
            file: temporary(ingest)?,
            blob: layer.blob.clone(),
            size: layer.size,
            path,
        })
    }

    /// Another handle on the file, to write and to read; empty at first.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn file(&self) -> Result<File, LayoutError> {
        let handle = self.file.as_file().try_clone();
        handle.map_err(failed("open", self.path()))
    }

    /// Where the file is while it is on its way, for messages.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Checks the blob, brings it to disk, and gives it its name. Nothing may
    /// be written to the file any more.
    ///
    /// [`Check::Size`] is sufficient for a caller that has verified the digest already.
    ///
    /// # Errors
    /// When the bytes are not the layer's, or cannot be brought to disk. Then
    /// the name stands as it did.
    pub async fn commit(self, check: Check) -> Result<(), LayoutError> {
        blocking(move || {
            let failed = failed("write", self.path());
            let damaged = |reason| LayoutError::ArrivedDamaged {
                blob: self.blob.clone(),
                reason,
            };
            let mut file = self.file.as_file();
            let size = file.metadata().map_err(&failed)?.len();
            if size != self.size {
                let reason = format!("it has {size} bytes instead of {}", self.size);
                return Err(damaged(reason));
            }
            if check == Check::Digest {
                let actual = file.rewind().and_then(|()| hash(file)).map_err(&failed)?;
                if actual != self.blob {
                    return Err(damaged(format!("its bytes have the digest {actual}")));
                }
            }
            keep(self.file, &self.path)
        })
        .await
    }
}

/// Gives the file `path` these contents, at once and for good.
pub(super) fn replace(ingest: &Path, path: &Path, contents: &str) -> Result<(), LayoutError> {
    let mut file = temporary(ingest)?;
    file.write_all(contents.as_bytes())
        .map_err(failed("write", path))?;
    keep(file, path)
}

/// Removes our own files that nobody will finish. Whatever cannot be removed
/// stays: it only takes up space.
pub(super) fn remove_stale(ingest: &Path) {
    let Ok(entries) = fs::read_dir(ingest) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        let modified = entry.metadata().and_then(|file| file.modified()).ok();
        let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if ours && age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A new file in `ingest`, removed when dropped.
fn temporary(ingest: &Path) -> Result<NamedTempFile, LayoutError> {
    let mut options = tempfile::Builder::new();
    options.prefix(PREFIX).suffix(".tmp");
    // A cache is for everybody whom the umask lets in, not for its owner alone.
    #[cfg(unix)]
    options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = options.tempfile_in(ingest);
    file.map_err(failed("create a file in", ingest))
}

/// Brings a file to disk, and then its name.
fn keep(file: NamedTempFile, path: &Path) -> Result<(), LayoutError> {
    let failed = failed("write", path);
    synced(file.as_file().sync_all()).map_err(&failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    sync_names(path).map_err(failed)
}

/// Brings to disk that `path` has its name. Other than on Unix, a directory
/// cannot be opened, and the file system sees to its names.
pub(super) fn sync_names(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if cfg!(unix) => match File::open(dir) {
            Ok(dir) => synced(dir.sync_all()),
            // One may write in a directory that one may not read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error),
        },
        _ => Ok(()),
    }
}

/// The outcome of bringing something to disk. A file system that does not offer
/// it, for directories or at all (network and FUSE file systems, shared folders
/// of virtual machines), is not a failure: it keeps what it was given as well as
/// it can. What could not be written is one.
fn synced(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if is_not_offered(&error) => Ok(()),
        outcome => outcome,
    }
}

/// Whether the system says that it cannot do this at all: `EINVAL`, `ENOTSUP`,
/// `EOPNOTSUPP`, `ENOSYS`, and `EBADF` for a handle that may only read.
fn is_not_offered(error: &io::Error) -> bool {
    /// The same number on every Unix.
    const EBADF: i32 = 9;
    cfg!(unix) && error.raw_os_error() == Some(EBADF)
        || matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
        )
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_file_system_without_sync_is_no_failure_and_a_broken_disk_is() {
        for (errno, is_fine) in [
            (Errno::INVAL, true),
            (Errno::NOTSUP, true),
            (Errno::OPNOTSUPP, true),
            (Errno::NOSYS, true),
            (Errno::BADF, true),
            (Errno::IO, false),
            (Errno::NOSPC, false),
            (Errno::DQUOT, false),
            (Errno::ROFS, false),
        ] {
            let outcome = synced(Err(io::Error::from_raw_os_error(errno.raw_os_error())));
            assert_eq!(outcome.is_ok(), is_fine, "{errno:?}");
        }
        assert!(synced(Ok(())).is_ok());
    }
}
