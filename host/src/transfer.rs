//! Fetching layers into files: in ranges side by side, taken up again where
//! they broke off, and compared with their digest before anybody uses them.

mod file;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use crate::capacity::OpenFiles;
use crate::{Cache, Digest, Error};
use file::{LargeFile, Sink, SmallFile, Target};

/// How layers are fetched.
#[derive(Debug, Clone, Copy)]
pub struct FetchOptions {
    /// How many ranges are fetched at once, over all layers; of layers up to 512
    /// KiB, which mostly wait, four times as many, up to 64.
    pub parallelism: usize,
    /// The length of a range, in bytes. A smaller layer is one range; towards
    /// the end of a larger one that is fetched alone, ranges get shorter, so
    /// that all of them end at about the same time.
    pub range_bytes: u64,
    /// How often a range is taken up again without a byte gained in between.
    /// The plugin's own retries of a request come before.
    pub resumptions: u32,
    /// How many threads of tokio's pool for blocking work there are. A layer of
    /// more than one range takes two of them for as long as it is fetched, so
    /// that with few threads fewer such layers are fetched at once.
    pub threads: usize,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            parallelism: 16,
            range_bytes: 8 << 20,
            resumptions: 4,
            // A quarter of what tokio's pool has by itself.
            threads: 128,
        }
    }
}

impl FetchOptions {
    fn ranges(&self) -> usize {
        self.parallelism.max(1)
    }

    /// How many small layers are fetched at once, where so many layers may be on
    /// their way into files.
    fn small_layers(&self, layers: usize) -> usize {
        let wanted = (self.ranges() * 4).min(64).max(self.ranges());
        wanted.min(layers * 2 / 3).max(1)
    }

    /// The same for large ones: enough that there is another when one has only
    /// its end to be hashed, and few enough that threads are left for the rest.
    fn large_layers(&self, layers: usize) -> usize {
        let wanted = self.ranges() * 2;
        wanted.min(layers / 3).min(self.threads / 3).max(1)
    }

    /// How long the next range of a layer is of which so much is `left`. While
    /// there are other layers, they take the connections that become free.
    fn next_range(&self, left: u64, is_alone: bool) -> u64 {
        let longest = self.range_bytes.max(1);
        let length = if is_alone {
            let share = left / (2 * self.ranges() as u64);
            share.clamp(SHORTEST_RANGE.min(longest), longest)
        } else {
            longest
        };
        length.min(left)
    }
}

/// Before a broken range is taken up again; doubled each time nothing is
/// gained.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How much is gathered before it is written, in bytes.
const WRITE_BYTES: usize = 1 << 20;
/// A layer up to this size, in bytes, is a small one: it waits for the store for
/// most of its time.
const SMALL: u64 = 512 << 10;
/// Towards the end ranges do not get shorter than this, in bytes.
const SHORTEST_RANGE: u64 = 1 << 20;

/// Fetches the layers of one cache. Cheap to clone; clones share the limit on
/// what is fetched at once.
#[derive(Clone)]
pub struct Fetch {
    cache: Cache,
    options: FetchOptions,
    ranges: Arc<Semaphore>,
    small_layers: Arc<Semaphore>,
    /// Each of these has threads of its own.
    large_layers: Arc<Semaphore>,
    layers_at_once: usize,
    /// How many layers are being fetched.
    layers: Arc<AtomicUsize>,
}

impl Fetch {
    /// Fetches from this cache.
    pub fn new(cache: Cache, options: FetchOptions) -> Self {
        let layers = OpenFiles::of_this_process().layers();
        let (small, large) = (options.small_layers(layers), options.large_layers(layers));
        Self {
            cache,
            options,
            ranges: Arc::new(Semaphore::new(options.ranges())),
            small_layers: Arc::new(Semaphore::new(small)),
            large_layers: Arc::new(Semaphore::new(large)),
            layers_at_once: small + large,
            layers: Arc::default(),
        }
    }

    /// How many layers to fetch at once. More of them would wait for their
    /// turn, each with its file open.
    pub fn layers_at_once(&self) -> usize {
        self.layers_at_once
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
        let target = Target::new(file, path);
        let _under_way = UnderWay::begin(&self.layers);
        let found = if size <= self.options.range_bytes.max(1) {
            self.in_one_range(blob, size, target, on_bytes).await?
        } else {
            self.in_ranges(blob, size, &target, on_bytes).await?
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

    /// Fetches a small layer.
    async fn in_one_range(
        &self,
        blob: &Digest,
        size: u64,
        target: Target,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<Digest, Error> {
        let mut file = SmallFile::new(target);
        let line = if size > SMALL {
            &self.ranges
        } else {
            &self.small_layers
        };
        let permit = line.acquire().await;
        if size > 0 {
            let mut sink = Sink::Small(&mut file);
            self.range(blob, 0..size, &mut sink, on_bytes).await?;
        }
        drop(permit);
        Ok(file.finish())
    }

    /// Fetches a large layer in ranges side by side.
    async fn in_ranges(
        &self,
        blob: &Digest,
        size: u64,
        target: &Target,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<Digest, Error> {
        let _permit = self.large_layers.acquire().await;
        let file = LargeFile::start(target, size);
        let mut at = 0;
        // Each is cut when it is its turn.
        let ranges = std::iter::from_fn(|| {
            let start = at;
            let is_alone = self.layers.load(Ordering::Relaxed) == 1;
            at += self.options.next_range(size - start, is_alone);
            (start < size).then_some(start..at)
        });
        let fetched = stream::iter(ranges)
            .map(|range| async {
                let permit = self.ranges.acquire().await;
                let mut sink = Sink::Large(&file);
                self.range(blob, range, &mut sink, on_bytes).await?;
                drop(permit);
                Ok(())
            })
            .buffer_unordered(self.options.ranges())
            .try_collect::<()>()
            .await;
        file.finish(fetched).await
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
                        reason: "the store sent more bytes than were asked for".into(),
                    });
                }
                gathered.push(chunk.clone());
            }
            let ended = !matches!(chunk, Some(Ok(_)));
            if gathered_bytes >= WRITE_BYTES || (ended && gathered_bytes > 0) {
                sink.write(*at, std::mem::take(&mut gathered)).await?;
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

/// Counts a layer for as long as it is being fetched.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(layers: &'a AtomicUsize) -> Self {
        layers.fetch_add(1, Ordering::Relaxed);
        Self(layers)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(size: u64, is_alone: bool) -> Vec<u64> {
        let mut left = size;
        std::iter::from_fn(|| {
            let length = FetchOptions::default().next_range(left, is_alone);
            left -= length;
            (length > 0).then_some(length)
        })
        .collect()
    }

    #[test]
    fn the_ranges_of_a_layer_that_is_alone_get_shorter_towards_its_end() {
        let size = (1 << 30) + 1;
        let ranges = ranges(size, true);
        assert_eq!(ranges.iter().sum::<u64>(), size);
        assert_eq!(ranges[0], 8 << 20);
        assert!(ranges.is_sorted_by(|before, after| before >= after));
        let last = &ranges[ranges.len() - 16..];
        assert!(last.iter().all(|length| *length <= SHORTEST_RANGE));
        assert!(ranges.len() < 200, "{} requests", ranges.len());
    }

    #[test]
    fn fewer_layers_are_fetched_at_once_where_files_or_threads_are_few() {
        let at_once = |threads, layers| {
            let options = FetchOptions {
                threads,
                ..FetchOptions::default()
            };
            (options.small_layers(layers), options.large_layers(layers))
        };
        assert_eq!(at_once(128, 1000), (64, 32));
        assert_eq!(at_once(128, 34), (22, 11));
        assert_eq!(at_once(6, 1000), (64, 2));
        assert_eq!(at_once(0, 0), (1, 1));
    }

    #[test]
    fn the_ranges_of_layers_side_by_side_are_long() {
        let ranges = ranges(20 << 20, false);
        assert_eq!(ranges, [8 << 20, 8 << 20, 4 << 20]);
    }
}
