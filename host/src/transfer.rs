//! Fetching layers into files: in ranges side by side, taken up again where
//! they broke off, and compared with their digest before anybody uses them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::{Cache, Digest, Error};

/// How layers are fetched.
#[derive(Debug, Clone, Copy)]
pub struct FetchOptions {
    /// How many ranges are fetched at once, over all layers.
    pub parallelism: usize,
    /// The length of a range, in bytes. A smaller layer is one range.
    pub range_bytes: u64,
    /// How often a range is taken up again without a byte gained in between.
    /// The plugin's own retries of a request come before.
    pub resumptions: u32,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            parallelism: 16,
            range_bytes: 8 << 20,
            resumptions: 4,
        }
    }
}

/// Before a broken range is taken up again; doubled each time nothing is
/// gained.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How much is gathered before it is written, in bytes.
const WRITE_BYTES: usize = 1 << 20;

/// Fetches the layers of one cache. Cheap to clone; clones share the limit on
/// what is fetched at once.
#[derive(Clone)]
pub struct Fetch {
    cache: Cache,
    options: FetchOptions,
    ranges: Arc<Semaphore>,
}

/// A file that a layer is fetched into.
#[derive(Clone)]
struct Target {
    file: Arc<File>,
    path: Arc<PathBuf>,
}

impl Fetch {
    /// Fetches from this cache.
    pub fn new(cache: Cache, options: FetchOptions) -> Self {
        Self {
            cache,
            options,
            ranges: Arc::new(Semaphore::new(options.parallelism.max(1))),
        }
    }

    /// Fetches a layer of `size` bytes into an empty file that was opened for
    /// reading and writing, and verifies it. `path` stands for the file in
    /// errors; `on_bytes` hears how many bytes more have arrived.
    ///
    /// [`Error::LayerLost`] and [`Error::LayerDamaged`] speak of the store's
    /// copy; other errors of the way to it.
    pub async fn layer(
        &self,
        blob: &Digest,
        size: u64,
        file: File,
        path: &Path,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Error> {
        let target = Target {
            file: Arc::new(file),
            path: Arc::new(path.to_owned()),
        };
        let step = self.options.range_bytes.max(1);
        let found = if size <= step {
            self.in_one_range(blob, size, &target, on_bytes).await?
        } else {
            self.in_ranges(blob, size, step, &target, on_bytes).await?
        };
        if found == *blob {
            Ok(())
        } else {
            Err(Error::LayerDamaged {
                blob: blob.clone(),
                reason: format!("its {size} bytes have the digest {found}"),
            })
        }
    }

    /// Fetches a small layer, hashed on its way to the file.
    async fn in_one_range(
        &self,
        blob: &Digest,
        size: u64,
        target: &Target,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<Digest, Error> {
        let mut sink = Sink {
            target,
            hasher: Some(Sha256::new()),
        };
        let permit = self.ranges.acquire().await;
        if size > 0 {
            self.range(blob, 0..size, &mut sink, on_bytes).await?;
        }
        drop(permit);
        Ok(Digest::from_hash(
            sink.hasher.unwrap_or_default().finalize().into(),
        ))
    }

    /// Fetches a large layer in ranges side by side, and hashes what is there
    /// in its order.
    async fn in_ranges(
        &self,
        blob: &Digest,
        size: u64,
        step: u64,
        target: &Target,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<Digest, Error> {
        let ranges = (0..size.div_ceil(step)).map(|n| (n, n * step..size.min((n + 1) * step)));

        let (done, finished) = mpsc::channel();
        let hash = spawn_blocking({
            let target = target.clone();
            move || hash_in_order(&target, size, step, &finished)
        });
        let fetched: Result<(), Error> = stream::iter(ranges)
            .map(|(number, range)| {
                let done = done.clone();
                let mut sink = Sink {
                    target,
                    hasher: None,
                };
                async move {
                    let permit = self.ranges.acquire().await;
                    self.range(blob, range, &mut sink, on_bytes).await?;
                    drop(permit);
                    // The hasher is gone only where it has failed.
                    let _ = done.send(number);
                    Ok(())
                }
            })
            .buffer_unordered(self.options.parallelism.max(1))
            .try_collect::<()>()
            .await;
        drop(done);
        let hash = hash
            .await
            .map_err(|error| Error::Other(error.to_string()))?;
        fetched?;
        hash
    }

    /// Fetches one range, however often the way breaks, as long as it gains.
    async fn range(
        &self,
        blob: &Digest,
        range: std::ops::Range<u64>,
        sink: &mut Sink<'_>,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Error> {
        let mut at = range.start;
        let mut pauses = 0;
        loop {
            let before = at;
            let error = match self.piece(blob, &mut at, range.end, sink, on_bytes).await {
                Ok(()) => return Ok(()),
                Err(error @ Error::Unavailable(_)) => error,
                Err(error) => return Err(error),
            };
            pauses = if at > before { 0 } else { pauses + 1 };
            if pauses > self.options.resumptions {
                return Err(error);
            }
            tokio::time::sleep(FIRST_PAUSE * 2u32.saturating_pow(pauses.min(6))).await;
        }
    }

    /// Asks for what is left of a range once, and advances `at` by what came.
    async fn piece(
        &self,
        blob: &Digest,
        at: &mut u64,
        end: u64,
        sink: &mut Sink<'_>,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Error> {
        let mut chunks = self
            .cache
            .read(blob, *at, Some(end - *at))
            .await?
            .ok_or_else(|| Error::LayerLost(blob.clone()))?;
        let mut gathered = Vec::new();
        let mut gathered_bytes = 0;
        let outcome = loop {
            let chunk = chunks.next().await;
            if let Some(Ok(chunk)) = &chunk {
                gathered_bytes += chunk.len();
                if *at + gathered_bytes as u64 > end {
                    return Err(Error::LayerDamaged {
                        blob: blob.clone(),
                        reason: "the store gave more bytes than were asked for".into(),
                    });
                }
                gathered.push(chunk.clone());
            }
            let ended = !matches!(chunk, Some(Ok(_)));
            if gathered_bytes >= WRITE_BYTES || (ended && gathered_bytes > 0) {
                sink.write(std::mem::take(&mut gathered), *at).await?;
                *at += gathered_bytes as u64;
                on_bytes(gathered_bytes as u64);
                gathered_bytes = 0;
            }
            match chunk {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        outcome?;
        if *at < end {
            return Err(Error::LayerDamaged {
                blob: blob.clone(),
                reason: format!("it ends after {at} bytes", at = *at),
            });
        }
        Ok(())
    }
}

impl Target {
    fn error(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = PathBuf::clone(&self.path);
        move |source| Error::File {
            action,
            path,
            source,
        }
    }
}

/// Where the bytes of a range go.
struct Sink<'a> {
    target: &'a Target,
    /// Of all bytes so far, where they are written from the layer's start on.
    hasher: Option<Sha256>,
}

impl Sink<'_> {
    async fn write(&mut self, chunks: Vec<Bytes>, offset: u64) -> Result<(), Error> {
        let file = Arc::clone(&self.target.file);
        let mut hasher = self.hasher.take();
        let written = spawn_blocking(move || {
            let mut at = offset;
            for chunk in chunks {
                write_at(&file, &chunk, at)?;
                if let Some(hasher) = &mut hasher {
                    hasher.update(&chunk);
                }
                at += chunk.len() as u64;
            }
            Ok(hasher)
        })
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        self.hasher = written.map_err(self.target.error("write"))?;
        Ok(())
    }
}

/// Hashes ranges in their order while others are still on their way. Ends early
/// when no more will come.
fn hash_in_order(
    target: &Target,
    size: u64,
    step: u64,
    finished: &mpsc::Receiver<u64>,
) -> Result<Digest, Error> {
    let mut hasher = Sha256::new();
    let mut waiting = std::collections::BTreeSet::new();
    let mut next = 0;
    let mut buffer = vec![0; WRITE_BYTES.min(usize::try_from(size).unwrap_or(WRITE_BYTES))];
    while next * step < size {
        let Ok(number) = finished.recv() else { break };
        waiting.insert(number);
        while waiting.remove(&next) {
            let mut at = next * step;
            let end = size.min(at + step);
            while at < end {
                let count = buffer
                    .len()
                    .min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let part = &mut buffer[..count];
                read_at(&target.file, part, at).map_err(target.error("read"))?;
                hasher.update(part);
                at += count as u64;
            }
            next += 1;
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
