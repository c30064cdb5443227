//! The layers' bytes that a build tool lends to a backend for an export.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::task::JoinHandle;

use crate::Digest;
use crate::oci_layout::open_regular;

/// How many bytes a stream gives at once: enough that the cost of a step does
/// not show, little enough that many streams at once fit in memory.
const CHUNK_BYTES: u64 = 1 << 19;

/// Where a backend's layers come from. A build tool implements it to lend its
/// own store.
pub trait Content: Send + Sync {
    /// The `length` bytes of `blob` from `offset`, in chunks of any size; about
    /// 256 KiB to 1 MiB serves best.
    ///
    /// Called several times for a blob, also at once and for the same range: a
    /// backend reads in parallel, and reads again what it has to send again.
    /// The bytes must be the same each time. A stream that cannot give all of
    /// them ends with an error; dropping it gives up the rest.
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>>;
}

/// Layers in a directory, each a file that is named by the 64 hex digits of its
/// digest, such as the `blobs/sha256` of an OCI layout.
#[derive(Debug, Clone)]
pub struct DirContent {
    dir: PathBuf,
}

impl DirContent {
    /// The layers in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }
}

impl Content for DirContent {
    /// Every stream opens the file for itself, so streams share no position,
    /// and reads one chunk ahead on tokio's pool for blocking work. It must be
    /// polled within a tokio runtime.
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let path = self.dir.join(blob.hex());
        stream::try_unfold(Step::Open(path), move |step| async move {
            let ahead = match step {
                Step::Open(path) => read_ahead(move || FileRange::open(path, offset, length)),
                Step::Next(ahead) => ahead,
            };
            let (bytes, range) = ahead.await.map_err(io::Error::other)??;
            if bytes.is_empty() {
                return Ok(None);
            }
            Ok(Some((bytes, Step::Next(read_ahead(|| Ok(range))))))
        })
        .boxed()
    }
}

/// What a stream has to do when it is next asked.
enum Step {
    Open(PathBuf),
    Next(JoinHandle<io::Result<(Bytes, FileRange)>>),
}

/// Starts reading the next chunk, without waiting to be asked for it.
fn read_ahead(
    range: impl FnOnce() -> io::Result<FileRange> + Send + 'static,
) -> JoinHandle<io::Result<(Bytes, FileRange)>> {
    tokio::task::spawn_blocking(move || {
        let mut range = range()?;
        Ok((range.next_chunk()?, range))
    })
}

/// A part of a file, read from its start to its end.
struct FileRange {
    path: PathBuf,
    file: File,
    offset: u64,
    left: u64,
}

impl FileRange {
    fn open(path: PathBuf, offset: u64, length: u64) -> io::Result<Self> {
        let open = |path: &Path| {
            let mut file = open_regular(path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        let file = open(&path).map_err(|error| naming(&path, error))?;
        Ok(Self {
            path,
            file,
            offset,
            left: length,
        })
    }

    /// The next chunk; empty at the end.
    fn next_chunk(&mut self) -> io::Result<Bytes> {
        let length = self.left.min(CHUNK_BYTES);
        let mut chunk = Vec::with_capacity(length as usize);
        let read = self.file.by_ref().take(length).read_to_end(&mut chunk);
        read.map_err(|error| naming(&self.path, error))?;
        self.offset += chunk.len() as u64;
        self.left -= chunk.len() as u64;
        if (chunk.len() as u64) < length {
            let (path, offset, left) = (self.path.display(), self.offset, self.left);
            let message = format!(
                "`{path}` ends at byte {offset}, {left} bytes before the end of the requested range"
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(chunk.into())
    }
}

fn naming(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot read `{}`: {error}", path.display()),
    )
}

/// Layers in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryContent {
    blobs: HashMap<Digest, Bytes>,
}

impl MemoryContent {
    /// Adds a layer and gives its digest.
    pub fn insert(&mut self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest.clone(), bytes);
        digest
    }
}

impl Content for MemoryContent {
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let Some(bytes) = self.blobs.get(blob) else {
            let error =
                io::Error::new(io::ErrorKind::NotFound, format!("there is no layer {blob}"));
            return stream::iter([Err(error)]).boxed();
        };
        let size = bytes.len() as u64;
        let Some(end) = offset.checked_add(length).filter(|end| *end <= size) else {
            let message =
                format!("layer {blob} ends at byte {size}, before the end of the requested range");
            return stream::iter([Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))])
                .boxed();
        };
        let mut rest = bytes.slice(offset as usize..end as usize);
        let chunks = std::iter::from_fn(move || {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES as usize));
            (!chunk.is_empty()).then_some(Ok(chunk))
        });
        stream::iter(chunks).boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn bytes(
        content: &dyn Content,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> io::Result<Vec<u8>> {
        let chunks: Vec<Bytes> = content.read(blob, offset, length).try_collect().await?;
        assert!(
            chunks
                .iter()
                .all(|chunk| !chunk.is_empty() && chunk.len() as u64 <= CHUNK_BYTES)
        );
        Ok(chunks.concat())
    }

    /// Two and a half chunks, in memory and in a file.
    fn contents() -> (tempfile::TempDir, Vec<u8>, Digest, [Box<dyn Content>; 2]) {
        let blob: Vec<u8> = (0..CHUNK_BYTES * 5 / 2)
            .map(|byte| (byte % 251) as u8)
            .collect();
        let mut memory = MemoryContent::default();
        let digest = memory.insert(blob.clone());
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(digest.hex()), &blob).expect("a file");
        let on_disk = DirContent::new(dir.path());
        (dir, blob, digest, [Box::new(memory), Box::new(on_disk)])
    }

    #[tokio::test]
    async fn every_range_of_a_blob_can_be_read() {
        let (_dir, blob, digest, contents) = contents();
        let size = blob.len() as u64;
        let ranges = [
            (0, 0),
            (size, 0),
            (0, 1),
            (0, size),
            (size - 1, 1),
            (7, CHUNK_BYTES),
            (7, CHUNK_BYTES + 1),
        ];
        for content in &contents {
            for (offset, length) in ranges {
                let expected = &blob[offset as usize..(offset + length) as usize];
                let read = bytes(&**content, &digest, offset, length)
                    .await
                    .expect("bytes");
                assert!(read == expected, "{length} bytes from {offset}");
            }
        }
    }

    #[tokio::test]
    async fn many_readers_of_one_blob_do_not_disturb_each_other() {
        let (_dir, blob, digest, contents) = contents();
        for content in &contents {
            let readers = (0..50_u64).map(|reader| {
                let (offset, length) = (reader * 10_000, CHUNK_BYTES + reader);
                let (blob, digest) = (&blob, &digest);
                async move {
                    let read = bytes(&**content, digest, offset, length)
                        .await
                        .expect("bytes");
                    assert!(read == blob[offset as usize..(offset + length) as usize]);
                }
            });
            futures::future::join_all(readers).await;
        }
    }

    #[tokio::test]
    async fn a_blob_that_ends_too_soon_is_an_error() {
        let (_dir, blob, digest, contents) = contents();
        let size = blob.len() as u64;
        for content in &contents {
            for (offset, length) in [(0, size + 1), (size, 1), (size + 5, 1), (1, u64::MAX)] {
                let error = bytes(&**content, &digest, offset, length)
                    .await
                    .expect_err("too short");
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
            }
        }
        let error = bytes(&*contents[1], &digest, 0, size + 1)
            .await
            .expect_err("too short")
            .to_string();
        assert!(
            error.contains(&digest.hex()) && error.contains("1 bytes before the end"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_blob_that_is_not_there_is_an_error_that_names_it() {
        let (_dir, _, _, contents) = contents();
        let other = Digest::of(b"another");
        for content in &contents {
            let error = bytes(&**content, &other, 0, 1)
                .await
                .expect_err("not there");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            assert!(error.to_string().contains(&other.hex()), "{error}");
        }
    }
}
