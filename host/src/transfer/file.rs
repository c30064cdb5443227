//! The file that a layer arrives in: written as the layer's pieces come, hashed
//! in the layer's own order.
//!
//! A small layer is written and hashed in one go. For a large one, whose ranges
//! come side by side, one thread writes and another hashes what lies there
//! without a gap. One, because a file takes one writer at a time: several would
//! wait for one another, and keep a processor busy with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{Digest, Error};

/// How many pieces may wait for the thread that writes.
const PIECES_WAITING: usize = 4;
/// How far writing may be ahead of hashing, in steps of so many bytes. Where
/// hashing takes longest, the fetching tasks wait for it instead of using the
/// processor that it needs.
const STEPS_AHEAD: usize = 32;
const STEP: u64 = 4 << 20;
/// How much is read at once to be hashed, in bytes: little enough to stay in a
/// processor's cache.
const HASH_BYTES: usize = 256 << 10;

/// A file that a layer is fetched into, and its name in errors.
#[derive(Clone)]
pub(super) struct Target {
    file: Arc<File>,
    path: Arc<PathBuf>,
}

impl Target {
    pub(super) fn new(file: File, path: &Path) -> Self {
        Self {
            file: Arc::new(file),
            path: Arc::new(path.to_owned()),
        }
    }

    fn write(&self, piece: &Piece) -> Result<(), Error> {
        let mut at = piece.offset;
        for chunk in &piece.chunks {
            write_at(&self.file, chunk, at).map_err(self.error("write"))?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    fn error(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = PathBuf::clone(&self.path);
        move |source| Error::File {
            action,
            path,
            source,
        }
    }
}

/// Bytes of a layer that follow one another.
struct Piece {
    offset: u64,
    chunks: Vec<Bytes>,
}

/// Where a range's bytes go.
pub(super) enum Sink<'a> {
    /// Into a file of their own.
    Small(&'a mut SmallFile),
    /// Beside other ranges'.
    Large(&'a LargeFile),
}

impl Sink<'_> {
    /// Takes bytes that follow one another. The only error that
    /// [`Self::Large`] gives is that its writer has failed;
    /// [`LargeFile::finish`] tells why.
    pub(super) async fn write(&mut self, offset: u64, chunks: Vec<Bytes>) -> Result<(), Error> {
        let piece = Piece { offset, chunks };
        match self {
            Self::Small(file) => file.write(piece).await,
            Self::Large(file) => {
                let sent = file.pieces.send(piece).await;
                sent.map_err(|_| Error::Other("the file is no longer written".into()))
            }
        }
    }
}

/// A file that is written from its start to its end.
pub(super) struct SmallFile {
    target: Target,
    hasher: Sha256,
}

impl SmallFile {
    pub(super) fn new(target: Target) -> Self {
        let hasher = Sha256::new();
        Self { target, hasher }
    }

    async fn write(&mut self, piece: Piece) -> Result<(), Error> {
        let target = self.target.clone();
        let mut hasher = std::mem::take(&mut self.hasher);
        self.hasher = joined(spawn_blocking(move || {
            target.write(&piece)?;
            for chunk in &piece.chunks {
                hasher.update(chunk);
            }
            Ok(hasher)
        }))
        .await?;
        Ok(())
    }

    pub(super) fn finish(self) -> Digest {
        Digest::from_hash(self.hasher.finalize().into())
    }
}

/// A file that is written in any order.
pub(super) struct LargeFile {
    pieces: mpsc::Sender<Piece>,
    writing: JoinHandle<Result<(), Error>>,
    hashing: JoinHandle<Result<Digest, Error>>,
}

impl LargeFile {
    /// Starts the threads. They end when this is dropped.
    pub(super) fn start(target: &Target, size: u64) -> Self {
        let (pieces, to_write) = mpsc::channel(PIECES_WAITING);
        let (front, to_hash) = std::sync::mpsc::sync_channel(STEPS_AHEAD);
        let (writer, hasher) = (target.clone(), target.clone());
        Self {
            pieces,
            writing: spawn_blocking(move || write_all(&writer, to_write, &front)),
            hashing: spawn_blocking(move || hash_behind(&hasher, size, &to_hash)),
        }
    }

    /// Waits for the threads. The digest is the layer's if all of its bytes
    /// were taken; the writer's error takes precedence over that of `fetched`, which
    /// may have come of it.
    pub(super) async fn finish(self, fetched: Result<(), Error>) -> Result<Digest, Error> {
        drop(self.pieces);
        let written = joined(self.writing).await;
        let digest = joined(self.hashing).await;
        written.and(fetched).and(digest)
    }
}

async fn joined<T>(thread: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    let ended = thread.await;
    ended.unwrap_or_else(|error| Err(Error::Other(error.to_string())))
}

/// Writes pieces as they come, and tells step by step up to where there is no
/// gap.
fn write_all(
    target: &Target,
    mut pieces: mpsc::Receiver<Piece>,
    front: &std::sync::mpsc::SyncSender<u64>,
) -> Result<(), Error> {
    let mut without_gap = 0;
    // Where each piece beyond the first gap begins and ends.
    let mut beyond = BTreeMap::new();
    while let Some(piece) = pieces.blocking_recv() {
        target.write(&piece)?;
        let length: usize = piece.chunks.iter().map(Bytes::len).sum();
        beyond.insert(piece.offset, piece.offset + length as u64);
        let mut told = without_gap;
        while let Some(end) = beyond.remove(&without_gap) {
            without_gap = end;
        }
        while told < without_gap {
            told = without_gap.min(told + STEP);
            // Who hashes is gone only where that has failed.
            let _ = front.send(told);
        }
    }
    Ok(())
}

/// Hashes what has been written without a gap. Ends early when no more will
/// come.
fn hash_behind(
    target: &Target,
    size: u64,
    front: &std::sync::mpsc::Receiver<u64>,
) -> Result<Digest, Error> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BYTES];
    let mut at = 0;
    while at < size {
        let Ok(end) = front.recv() else { break };
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let part = &mut buffer[..left.min(HASH_BYTES)];
            read_at(&target.file, part, at).map_err(target.error("read"))?;
            hasher.update(&*part);
            at += part.len() as u64;
        }
    }
    Ok(Digest::from_hash(hasher.finalize().into()))
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        bytes = &bytes[count..];
        offset += count as u64;
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[count..];
        offset += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many bytes as hashing may be behind, and more, that do not repeat
    /// from piece to piece.
    fn layer() -> Vec<u8> {
        let size = STEPS_AHEAD as u32 * STEP as u32 + 5;
        (0..size).map(|at| (at % 251 + at / 65_536) as u8).collect()
    }

    async fn write(file: &LargeFile, layer: &[u8], piece: std::ops::Range<usize>) {
        let (offset, middle) = (piece.start as u64, piece.len() / 2);
        let piece = Bytes::copy_from_slice(&layer[piece]);
        let chunks = vec![piece.slice(..middle), piece.slice(middle..)];
        let written = Sink::Large(file).write(offset, chunks).await;
        written.expect("a file that is written");
    }

    #[tokio::test]
    async fn pieces_may_come_in_any_order() {
        let layer = layer();
        let (third, size) = (layer.len() / 3, layer.len());
        let orders: [[std::ops::Range<usize>; 3]; 3] = [
            [0..third, third..2 * third, 2 * third..size],
            [2 * third..size, third..2 * third, 0..third],
            [third..2 * third, 0..third, 2 * third..size],
        ];
        for order in orders {
            let file = tempfile::tempfile().expect("a file");
            let target = Target::new(file.try_clone().expect("a handle"), Path::new("layer"));
            let large = LargeFile::start(&target, size as u64);
            for piece in order {
                write(&large, &layer, piece).await;
            }
            let digest = large.finish(Ok(())).await.expect("a digest");
            assert_eq!(digest, Digest::of(&layer));
            let mut written = vec![0; size];
            read_at(&file, &mut written, 0).expect("what was written");
            assert!(written == layer, "the file is not the layer");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_the_error_that_is_told() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let for_reading = File::open(file.path()).expect("a handle");
        let target = Target::new(for_reading, Path::new("a full disk"));
        let large = LargeFile::start(&target, 100);
        let mut sink = Sink::Large(&large);
        let fetched = loop {
            let sent = sink.write(0, vec![Bytes::from_static(b"bytes")]).await;
            if sent.is_err() {
                break sent;
            }
        };
        let error = large.finish(fetched).await.expect_err("an error");
        assert!(error.to_string().contains("write a full disk"), "{error}");
    }
}
