//! The bytes of blobs and blocks: pieces in memory or on disk, written once, read in slices.
//!
//! A piece in memory is a list of chunks of one size, so that reading copies nothing and finding a
//! position is a division. A block becomes part of a blob without being moved.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use crate::refusal::Refusal;

/// What is held, written and read at a time: large enough for few system calls, small enough to
/// stay in a processor's cache.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// How much memory contents may take, and how much they do.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
        })
    }

    fn take(&self, bytes: u64) -> Result<(), Refusal> {
        let grow = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .map(drop)
            .map_err(|_| Refusal::store_full(self.limit))
    }
}

/// A run of bytes that never changes: a whole small blob, or a block.
#[derive(Debug)]
pub(crate) enum Piece {
    Memory(MemoryPiece),
    File(FilePiece),
}

impl Piece {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(piece) => piece.len,
            Self::File(piece) => piece.len,
        }
    }

    /// Some bytes from `offset` on, at least one and at most `limit`. `offset` is inside.
    fn read(&self, offset: u64, limit: u64) -> io::Result<Bytes> {
        match self {
            Self::Memory(piece) => Ok(piece.read(offset, limit)),
            Self::File(piece) => piece.read(offset, limit),
        }
    }

    /// A file stays (or goes) when the last one who uses it is done.
    pub fn keep(&self, keep: bool) {
        if let Self::File(piece) = self {
            piece.keep.store(keep, Ordering::Relaxed);
        }
    }

    /// The name of the file, if it is one.
    pub fn file_name(&self) -> Option<&str> {
        match self {
            Self::Memory(_) => None,
            Self::File(piece) => piece.path.file_name()?.to_str(),
        }
    }
}

/// A piece in memory. Gives its share of the budget back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryPiece {
    /// All of `CHUNK_BYTES`, but for the last.
    chunks: Vec<Bytes>,
    len: u64,
    /// What it took from the budget, in bytes.
    taken: u64,
    budget: Arc<Budget>,
}

impl MemoryPiece {
    fn read(&self, offset: u64, limit: u64) -> Bytes {
        let chunk = &self.chunks[(offset / CHUNK_BYTES as u64) as usize];
        let start = (offset % CHUNK_BYTES as u64) as usize;
        let end = chunk
            .len()
            .min(start.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)));
        chunk.slice(start..end)
    }
}

impl Drop for MemoryPiece {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// A piece on disk. Its file is removed when it is dropped, unless a record names it.
#[derive(Debug)]
pub(crate) struct FilePiece {
    path: PathBuf,
    len: u64,
    keep: AtomicBool,
}

impl FilePiece {
    /// A file that a record names.
    pub fn recorded(path: PathBuf, len: u64) -> Self {
        Self {
            path,
            len,
            keep: AtomicBool::new(true),
        }
    }

    fn read(&self, offset: u64, limit: u64) -> io::Result<Bytes> {
        let len = limit.min(self.len - offset).min(CHUNK_BYTES as u64) as usize;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl Drop for FilePiece {
    fn drop(&mut self) {
        if !*self.keep.get_mut() {
            // Nobody can be told; the next start removes files that no record names.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes in a piece of any length.
#[derive(Debug)]
pub(crate) struct PieceWriter {
    room: Room,
    /// The chunk that is being filled.
    open: BytesMut,
}

#[derive(Debug)]
enum Room {
    Memory(MemoryPiece),
    File(FilePiece, File),
}

impl PieceWriter {
    pub fn in_memory(budget: &Arc<Budget>) -> Self {
        let piece = MemoryPiece {
            chunks: Vec::new(),
            len: 0,
            taken: 0,
            budget: Arc::clone(budget),
        };
        Self {
            room: Room::Memory(piece),
            open: BytesMut::new(),
        }
    }

    /// `path` is a new file.
    pub fn in_file(path: PathBuf) -> io::Result<Self> {
        let file = File::create_new(&path)?;
        let piece = FilePiece {
            path,
            len: 0,
            keep: AtomicBool::new(false),
        };
        Ok(Self {
            room: Room::File(piece, file),
            open: BytesMut::new(),
        })
    }

    /// Adds bytes. `to_come` is how many will follow at most, where it is known: it keeps small
    /// pieces from taking a whole chunk.
    pub fn push(&mut self, mut bytes: &[u8], to_come: u64) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            if self.open.capacity() == 0 {
                let wanted = to_come
                    .saturating_add(bytes.len() as u64)
                    .min(CHUNK_BYTES as u64);
                if let Room::Memory(piece) = &mut self.room {
                    piece.budget.take(wanted)?;
                    piece.taken += wanted;
                }
                self.open = BytesMut::with_capacity(wanted as usize);
            }
            let room = (CHUNK_BYTES - self.open.len()).min(bytes.len());
            self.open.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if self.open.len() == CHUNK_BYTES {
                self.close_chunk()?;
            }
        }
        Ok(())
    }

    fn close_chunk(&mut self) -> Result<(), Refusal> {
        match &mut self.room {
            Room::Memory(piece) => {
                piece.len += self.open.len() as u64;
                piece.chunks.push(std::mem::take(&mut self.open).freeze());
            }
            Room::File(piece, file) => {
                file.write_all(&self.open)
                    .map_err(|error| Refusal::disk(&error))?;
                piece.len += self.open.len() as u64;
                self.open.clear();
            }
        }
        Ok(())
    }

    /// The piece, whole; on disk it is safe when this returns.
    pub fn finish(mut self) -> Result<Arc<Piece>, Refusal> {
        if !self.open.is_empty() {
            self.close_chunk()?;
        }
        Ok(Arc::new(match self.room {
            Room::Memory(piece) => Piece::Memory(piece),
            Room::File(piece, file) => {
                file.sync_all().map_err(|error| Refusal::disk(&error))?;
                Piece::File(piece)
            }
        }))
    }
}

/// A blob's bytes: pieces one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// Where each piece begins, in order; none is empty.
    pieces: Vec<(u64, Arc<Piece>)>,
    len: u64,
}

impl Content {
    pub fn new(pieces: impl IntoIterator<Item = Arc<Piece>>) -> Self {
        let mut content = Self::default();
        for piece in pieces.into_iter().filter(|piece| piece.len() > 0) {
            let len = piece.len();
            content.pieces.push((content.len, piece));
            content.len += len;
        }
        content
    }

    /// In bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn pieces(&self) -> impl Iterator<Item = &Arc<Piece>> {
        self.pieces.iter().map(|(_, piece)| piece)
    }

    /// Some bytes from `offset` on: at most `limit`, at least one unless the end or the limit is
    /// reached. Blocks for a piece on disk.
    pub fn read(&self, offset: u64, limit: u64) -> io::Result<Bytes> {
        if offset >= self.len || limit == 0 {
            return Ok(Bytes::new());
        }
        let (start, piece) =
            &self.pieces[self.pieces.partition_point(|(start, _)| *start <= offset) - 1];
        piece.read(offset - start, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_memory(bytes: &[u8], budget: &Arc<Budget>) -> Result<Arc<Piece>, Refusal> {
        let mut writer = PieceWriter::in_memory(budget);
        let (one, two) = bytes.split_at(bytes.len() / 3);
        writer.push(one, two.len() as u64)?;
        writer.push(two, 0)?;
        writer.finish()
    }

    fn read_all(content: &Content, mut offset: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while offset < content.len() {
            let bytes = content.read(offset, 700_000).unwrap();
            offset += bytes.len() as u64;
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn pieces_of_memory_and_of_files_read_as_one_content() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..5 * CHUNK_BYTES + 3).map(|i| (i % 251) as u8).collect();
        let budget = Budget::new(u64::MAX);
        let mut file = PieceWriter::in_file(folder.path().join("one")).unwrap();
        let (front, back) = bytes.split_at(2 * CHUNK_BYTES + 1);
        file.push(front, 0).unwrap();
        let pieces = [
            file.finish().unwrap(),
            in_memory(b"", &budget).unwrap(),
            in_memory(back, &budget).unwrap(),
        ];
        let content = Content::new(pieces);
        for offset in [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1, bytes.len()] {
            assert!(
                read_all(&content, offset as u64) == bytes[offset..],
                "from {offset}"
            );
        }
    }

    #[test]
    fn a_small_piece_takes_no_more_than_its_size_and_gives_it_back() {
        let budget = Budget::new(10);
        let piece = in_memory(b"0123456789", &budget).unwrap();
        assert_eq!(in_memory(b"a", &budget).unwrap_err().code, "StoreFull");
        drop(piece);
        assert!(in_memory(b"a", &budget).is_ok());
    }

    #[test]
    fn a_file_that_is_not_kept_goes_with_its_piece() {
        let folder = tempfile::tempdir().unwrap();
        for keep in [true, false] {
            let path = folder.path().join(keep.to_string());
            let mut writer = PieceWriter::in_file(path.clone()).unwrap();
            writer.push(b"abc", 0).unwrap();
            let piece = writer.finish().unwrap();
            piece.keep(keep);
            drop(piece);
            assert_eq!(path.exists(), keep);
        }
    }
}
