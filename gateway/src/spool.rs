//! Layers on this machine's disk, between the client that sent them and the
//! store that takes them.
//!
//! The spool is a folder of this process's own, locked as long as it lives. One
//! that a process left behind, because it was killed, is cleared by the next
//! that starts. Nothing here is durable and nothing is read by a later process.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use build_cache_host::{Content, Digest, DirContent};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sha2::{Digest as _, Sha256};

use crate::budget::{Budget, Room};

/// What the folder of a process begins with; a random number follows.
const PREFIX: &str = "spool-";
/// The file in it that is locked.
const LOCK: &str = "lock";

/// The spool of this process.
pub struct Spool {
    dir: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    budget: Arc<Budget>,
    next: AtomicU64,
    blobs: Mutex<HashMap<Digest, Weak<Spooled>>>,
}

/// A blob in the spool, whole and with the digest that it should have. Its file
/// goes with the last handle.
#[derive(Debug)]
pub struct Spooled {
    /// Its digest.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// The folder that holds it alone, under the hexadecimal digits of its digest.
    dir: PathBuf,
    room: Mutex<Room>,
}

/// A file that is being written, hashed on the way.
pub struct Draft {
    path: PathBuf,
    writing: Option<Writing>,
    /// How many bytes it has.
    pub size: u64,
    room: Room,
}

/// What the thread that writes needs.
pub struct Writing {
    file: File,
    hash: Sha256,
}

impl Writing {
    /// Appends bytes. Blocks.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }
}

impl Spool {
    /// Makes a spool in `parent`, which is made where it is missing, for at most
    /// `limit` bytes. Clears what processes that are gone left there.
    pub fn open(parent: &Path, limit: u64) -> io::Result<Arc<Self>> {
        fs::create_dir_all(parent)?;
        clear_abandoned(parent)?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let dir = parent.join(format!("{PREFIX}{:016x}", u64::from_ne_bytes(random)));
        create_private(&dir)?;
        let lock = File::create(dir.join(LOCK))?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Arc::new(Self {
            dir,
            _lock: lock,
            budget: Budget::new(limit),
            next: AtomicU64::new(0),
            blobs: Mutex::default(),
        }))
    }

    /// How many bytes are in it.
    pub fn used(&self) -> u64 {
        self.budget.used()
    }

    /// Begins a file.
    pub fn draft(&self) -> io::Result<Draft> {
        let path = self.dir.join(format!("draft-{}", self.number()));
        let file = File::create_new(&path)?;
        Ok(Draft {
            path,
            writing: Some(Writing {
                file,
                hash: Sha256::new(),
            }),
            size: 0,
            room: self.budget.room(),
        })
    }

    /// The blob, if it is here.
    pub fn get(&self, digest: &Digest) -> Option<Arc<Spooled>> {
        self.blobs().get(digest).and_then(Weak::upgrade)
    }

    /// Keeps a file whose digest was compared. Where the blob is here already,
    /// that one stays.
    pub fn keep(&self, draft: Draft, digest: &Digest) -> io::Result<Arc<Spooled>> {
        if let Some(spooled) = self.get(digest) {
            return Ok(spooled);
        }
        let dir = self.dir.join(format!("blob-{}", self.number()));
        fs::create_dir(&dir)?;
        let (path, size, room) = draft.into_parts();
        let spooled = Arc::new(Spooled {
            digest: digest.clone(),
            size,
            dir,
            room: Mutex::new(room),
        });
        if let Err(error) = fs::rename(&path, spooled.path()) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let mut blobs = self.blobs();
        blobs.retain(|_, blob| blob.strong_count() > 0);
        blobs.insert(digest.clone(), Arc::downgrade(&spooled));
        Ok(spooled)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn blobs(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Weak<Spooled>>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What is in the spool is lent to the plugin that stores it.
impl Content for Spool {
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        match self.get(blob) {
            Some(spooled) => spooled.read(offset, length),
            None => {
                let error = io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("the layer {blob} is not in the spool"),
                );
                stream::iter([Err(error)]).boxed()
            }
        }
    }
}

impl Spooled {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.join(self.digest.hex())
    }

    /// Streams `length` of its bytes from `offset`. The file stays for as long.
    pub fn read(
        self: &Arc<Self>,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let held = Arc::clone(self);
        DirContent::new(&self.dir)
            .read(&self.digest, offset, length)
            .inspect(move |_| {
                let _ = &held;
            })
            .boxed()
    }

    /// Its bytes, where it is a JSON object of at most so many bytes.
    pub fn json(&self, most: u64) -> Option<Bytes> {
        let mut file = File::open(self.path()).ok()?;
        let mut first = [0];
        file.read_exact(&mut first).ok()?;
        if first != *b"{" || self.size > most {
            return None;
        }
        let bytes = fs::read(self.path()).ok()?;
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
            .is_ok()
            .then(|| bytes.into())
    }

    /// Says whether it is on its way to the store.
    pub fn set_leaving(&self, is_leaving: bool) {
        self.room
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .set_leaving(is_leaving);
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Draft {
    /// The room that it takes, to grow before it is written.
    pub fn room(&mut self) -> &mut Room {
        &mut self.room
    }

    /// What writes to it. None while another thread has it, or after a write
    /// failed.
    pub fn take_writing(&mut self) -> Option<Writing> {
        self.writing.take()
    }

    /// Gives back what [`Self::take_writing`] gave.
    pub fn put_writing(&mut self, writing: Writing) {
        self.writing = Some(writing);
    }

    /// The digest of what is in it. None after a write failed.
    pub fn digest(&self) -> Option<Digest> {
        let writing = self.writing.as_ref()?;
        Some(Digest::from_hash(writing.hash.clone().finalize().into()))
    }

    /// The file, which no longer goes with the draft.
    fn into_parts(mut self) -> (PathBuf, u64, Room) {
        let path = std::mem::take(&mut self.path);
        let empty = self.room.empty();
        let room = std::mem::replace(&mut self.room, empty);
        (path, self.size, room)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the folders whose locks nobody holds.
fn clear_abandoned(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        let is_spool = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_spool || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // One without a lock is about to get it, or was left before that.
        let lock = File::open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// A folder that nobody else can look into.
fn create_private(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn spooled(spool: &Arc<Spool>, bytes: &[u8]) -> Arc<Spooled> {
        let mut draft = spool.draft().expect("a file");
        draft.room().grow(bytes.len() as u64).await.expect("room");
        let mut writing = draft.take_writing().expect("a file");
        writing.append(bytes).expect("written");
        draft.put_writing(writing);
        draft.size = bytes.len() as u64;
        let digest = draft.digest().expect("a digest");
        assert_eq!(digest, Digest::of(bytes));
        spool.keep(draft, &digest).expect("kept")
    }

    async fn read(content: &dyn Content, digest: &Digest, offset: u64, length: u64) -> Vec<u8> {
        let chunks: Vec<Bytes> = content
            .read(digest, offset, length)
            .try_collect()
            .await
            .expect("bytes");
        chunks.concat()
    }

    #[tokio::test]
    async fn a_blob_stays_as_long_as_anybody_needs_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path(), 100).expect("a spool");
        let one = spooled(&spool, b"layer").await;
        let again = spooled(&spool, b"layer").await;
        assert!(Arc::ptr_eq(&one, &again), "it is kept once");
        assert_eq!(spool.used(), 5);
        drop(one);
        assert_eq!(read(&*spool, &again.digest, 1, 3).await, b"aye");
        let (digest, path, stream) = (again.digest.clone(), again.path(), again.read(0, 5));
        drop(again);
        let chunks: Vec<Bytes> = stream.try_collect().await.expect("bytes");
        assert_eq!(chunks.concat(), b"layer");
        assert!(!path.exists() && spool.used() == 0);
        let gone: io::Result<Vec<Bytes>> = spool.read(&digest, 0, 1).try_collect().await;
        assert!(gone.expect_err("gone").to_string().contains("spool"));
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_cleared_and_a_living_one_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let left = folder.path().join("spool-0000000000000001");
        fs::create_dir(&left).expect("a folder");
        fs::write(left.join(LOCK), b"").expect("a file");
        fs::write(left.join("draft-1"), b"half").expect("a file");
        let other = folder.path().join("somebody-elses");
        fs::create_dir(&other).expect("a folder");

        let living = Spool::open(folder.path(), 100).expect("a spool");
        assert!(!left.exists() && other.exists());
        let kept = spooled(&living, b"x").await;
        let next = Spool::open(folder.path(), 100).expect("a spool");
        assert!(kept.path().exists());
        drop(next);
        drop(kept);
        drop(living);
        let names: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(names, ["somebody-elses"], "a spool goes with its process");
    }

    #[tokio::test]
    async fn a_draft_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path(), 100).expect("a spool");
        let mut draft = spool.draft().expect("a file");
        draft.room().grow(60).await.expect("room");
        let path = draft.path.clone();
        assert!(path.exists() && spool.used() == 60);
        drop(draft);
        assert!(!path.exists() && spool.used() == 0);
    }
}
