//! A layer as it streams from the store to a client.
//!
//! One connection to a store may give some 60 MB/s. A client that reads one
//! layer should not be held to that, so several ranges of it are fetched side by
//! side ahead of the reader. All readers share the room for what is ahead; the
//! range that a reader is at needs none of it, because it is handed on as it
//! arrives. A range that breaks is resumed where it broke. The last chunk is
//! held back until the digest of the whole layer is known to be right.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use build_cache_host::{Digest, Error};
use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::source::Source;
use crate::stats::{LayerOutcome, Stats};

/// The length of a range.
const RANGE_BYTES: u64 = 4 << 20;
/// How many ranges may be ahead of their readers, over all readers.
const AHEAD: usize = 12;
/// How many chunks wait between two tasks.
const CHUNKS: usize = 8;
/// How often a range is taken up again without a byte gained.
const RESUMPTIONS: u32 = 4;
/// Before it is; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A client that takes nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// Fetches layers. One for all clients.
pub(crate) struct Fetcher {
    ahead: Arc<Semaphore>,
    stats: Arc<Stats>,
}

/// The part of a layer that a client asked for.
pub(crate) struct Request {
    pub source: Arc<Source>,
    pub blob: Digest,
    /// What the client gets.
    pub part: Range<u64>,
    /// Whether all of it is read to compare the digest, which takes the layer to
    /// be asked for to its end.
    pub verify: bool,
}

/// What arrives for a client.
pub(crate) type Chunks = mpsc::Receiver<io::Result<Bytes>>;

impl Fetcher {
    pub fn new(stats: Arc<Stats>) -> Self {
        Self {
            ahead: Arc::new(Semaphore::new(AHEAD)),
            stats,
        }
    }

    /// Begins to fetch. It ends when the receiver is dropped.
    pub fn fetch(&self, request: Request) -> Chunks {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let (ahead, stats) = (Arc::clone(&self.ahead), Arc::clone(&self.stats));
        tokio::spawn(async move {
            if let Err(error) = deliver(&request, ahead, &stats, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        chunks
    }
}

/// Sends what was asked for, in order.
async fn deliver(
    request: &Request,
    ahead: Arc<Semaphore>,
    stats: &Arc<Stats>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let wanted = &request.part;
    let start = if request.verify { 0 } else { wanted.start };
    let mut ranges = Ranges::new(request, start..wanted.end, ahead, stats);
    let mut hash = request.verify.then(Sha256::new);
    let mut at = start;
    // The chunk that is held back.
    let mut held: Option<Bytes> = None;
    while let Some(chunk) = ranges.next().await {
        let mut chunk = chunk?;
        if let Some(hash) = &mut hash {
            hash.update(&chunk);
        }
        at += chunk.len() as u64;
        let before = wanted.start.saturating_sub(at - chunk.len() as u64);
        let skipped = before.min(chunk.len() as u64) as usize;
        chunk = chunk.split_off(skipped);
        if chunk.is_empty() {
            continue;
        }
        if let Some(held) = held.replace(chunk) {
            send(sender, held, stats).await?;
        }
    }
    if let Some(hash) = hash {
        let found = Digest::from_hash(hash.finalize().into());
        if found != request.blob {
            let reason = format!("its {at} bytes have the digest {found}");
            request.source.learn_spoiled(&request.blob, &reason);
            return Err(io::Error::other(format!(
                "the stored layer is damaged: {reason}"
            )));
        }
    }
    if let Some(held) = held {
        send(sender, held, stats).await?;
    }
    stats.layer(LayerOutcome::Fetched);
    Ok(())
}

async fn send(
    sender: &mpsc::Sender<io::Result<Bytes>>,
    chunk: Bytes,
    stats: &Stats,
) -> io::Result<()> {
    let bytes = chunk.len() as u64;
    match tokio::time::timeout(PATIENCE, sender.send(Ok(chunk))).await {
        Ok(Ok(())) => {
            stats.sent(bytes);
            Ok(())
        }
        Ok(Err(_)) => Err(io::Error::other("the client went away")),
        Err(_) => Err(io::Error::other("the client reads nothing")),
    }
}

/// The ranges of a layer, fetched ahead and given out in order.
struct Ranges<'a> {
    request: &'a Request,
    stats: &'a Arc<Stats>,
    ahead: Arc<Semaphore>,
    /// What no range has begun with yet.
    left: Range<u64>,
    running: VecDeque<Running>,
}

struct Running {
    chunks: Receiver,
    task: AbortHandle,
    _room: Option<OwnedSemaphorePermit>,
}

/// The range that the reader is at is handed on as it arrives; what is ahead has
/// room of its own and never waits for the reader.
enum Receiver {
    Bounded(mpsc::Receiver<io::Result<Bytes>>),
    Roomy(mpsc::UnboundedReceiver<io::Result<Bytes>>),
}

enum Sender {
    Bounded(mpsc::Sender<io::Result<Bytes>>),
    Roomy(mpsc::UnboundedSender<io::Result<Bytes>>),
}

impl Sender {
    /// False when nobody receives any more.
    async fn send(&self, chunk: io::Result<Bytes>) -> bool {
        match self {
            Self::Bounded(sender) => sender.send(chunk).await.is_ok(),
            Self::Roomy(sender) => sender.send(chunk).is_ok(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<'a> Ranges<'a> {
    fn new(
        request: &'a Request,
        left: Range<u64>,
        ahead: Arc<Semaphore>,
        stats: &'a Arc<Stats>,
    ) -> Self {
        Self {
            request,
            stats,
            ahead,
            left,
            running: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            self.begin_ranges();
            let running = self.running.front_mut()?;
            let chunk = match &mut running.chunks {
                Receiver::Bounded(chunks) => chunks.recv().await,
                Receiver::Roomy(chunks) => chunks.recv().await,
            };
            if chunk.is_some() {
                return chunk;
            }
            self.running.pop_front();
        }
    }

    /// Begins as many ranges as there is room for, and at least one.
    fn begin_ranges(&mut self) {
        while !self.left.is_empty() {
            let is_first = self.running.is_empty();
            let room = match is_first {
                true => None,
                false => match Arc::clone(&self.ahead).try_acquire_owned() {
                    Ok(room) => Some(room),
                    Err(_) => return,
                },
            };
            let end = self.left.end.min(self.left.start + RANGE_BYTES);
            let range = self.left.start..end;
            self.left.start = end;
            let (sender, chunks) = if is_first {
                let (sender, chunks) = mpsc::channel(CHUNKS);
                (Sender::Bounded(sender), Receiver::Bounded(chunks))
            } else {
                let (sender, chunks) = mpsc::unbounded_channel();
                (Sender::Roomy(sender), Receiver::Roomy(chunks))
            };
            let (source, blob) = (Arc::clone(&self.request.source), self.request.blob.clone());
            let stats = Arc::clone(self.stats);
            let task = tokio::spawn(async move {
                if let Err(error) = read_range(&source, &blob, range, &sender, &stats).await {
                    sender.send(Err(error)).await;
                }
            });
            self.running.push_back(Running {
                chunks,
                task: task.abort_handle(),
                _room: room,
            });
        }
    }
}

/// Reads a range, and takes it up again where it breaks.
async fn read_range(
    source: &Source,
    blob: &Digest,
    mut range: Range<u64>,
    sender: &Sender,
    stats: &Stats,
) -> io::Result<()> {
    let mut failures = 0;
    while !range.is_empty() {
        let begun_at = range.start;
        let error = match read_once(source, blob, &mut range, sender, stats).await {
            Ok(Ended::Whole | Ended::NobodyReads) => return Ok(()),
            Ok(Ended::Lost) => {
                source.learn_lost(blob);
                return Err(io::Error::other(Error::LayerLost(blob.clone())));
            }
            Err(error) => error,
        };
        failures = if range.start > begun_at {
            1
        } else {
            failures + 1
        };
        if failures > RESUMPTIONS {
            stats.warn(format!(
                "{}: layer {blob} cannot be read: {error}",
                source.label
            ));
            return Err(io::Error::other(error));
        }
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(failures - 1)).await;
    }
    Ok(())
}

enum Ended {
    Whole,
    Lost,
    NobodyReads,
}

/// Reads until the stream ends. `range` is what is left then.
async fn read_once(
    source: &Source,
    blob: &Digest,
    range: &mut Range<u64>,
    sender: &Sender,
    stats: &Stats,
) -> Result<Ended, Error> {
    let length = range.end - range.start;
    let stream = source.store.read(blob, range.start, Some(length)).await?;
    let Some(mut stream) = stream else {
        return Ok(Ended::Lost);
    };
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk?;
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        chunk.truncate(left);
        let bytes = chunk.len() as u64;
        range.start += bytes;
        stats.fetched(bytes);
        if !sender.send(Ok(chunk)).await {
            return Ok(Ended::NobodyReads);
        }
        if range.is_empty() {
            return Ok(Ended::Whole);
        }
    }
    Err(Error::Unavailable(format!(
        "the stream of layer {blob} ended {} bytes early",
        range.end - range.start
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    fn layer(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8).collect()
    }

    fn request(store: &Arc<MemoryStore>, blob: &Digest, size: u64, part: Range<u64>) -> Request {
        let source = Source::new("test".to_owned(), Arc::clone(store) as _, Stats::new(None));
        Request {
            source,
            blob: blob.clone(),
            verify: part.end == size,
            part,
        }
    }

    async fn collect(mut chunks: Chunks) -> (Vec<u8>, Option<io::Error>) {
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(error) => return (bytes, Some(error)),
            }
        }
        (bytes, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_of_many_ranges_arrives_in_order_and_breaks_are_mended() {
        let store = MemoryStore::new();
        let bytes = layer(50 << 20);
        let size = bytes.len() as u64;
        let blob = store.insert(bytes.clone());
        store.break_reads(20, 1 << 20);
        let fetcher = Fetcher::new(Stats::new(None));
        for part in [0..size, 0..10, size - 3..size, 5_000_000..6_000_000] {
            let expected = &bytes[part.start as usize..part.end as usize];
            let (got, error) = collect(fetcher.fetch(request(&store, &blob, size, part))).await;
            assert!(got == expected && error.is_none(), "{error:?}");
        }
        assert_eq!(fetcher.ahead.available_permits(), AHEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_spoiled_layer_never_arrives_whole() {
        let store = MemoryStore::new();
        let mut bytes = layer(9 << 20);
        let size = bytes.len() as u64;
        let blob = store.insert(bytes.clone());
        bytes[77] ^= 1;
        store.spoil(&blob, bytes);
        let fetcher = Fetcher::new(Stats::new(None));
        for part in [0..size, 100..size] {
            let wanted = part.end - part.start;
            let request = request(&store, &blob, size, part);
            let source = Arc::clone(&request.source);
            let (got, error) = collect(fetcher.fetch(request)).await;
            assert!((got.len() as u64) < wanted);
            let error = error.expect("an error").to_string();
            assert!(
                error.contains("damaged") && source.is_spoiled(&blob),
                "{error}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_only_breaks_is_given_up() {
        let store = MemoryStore::new();
        let blob = store.insert(layer(1 << 20));
        store.break_reads(usize::MAX, 0);
        let fetcher = Fetcher::new(Stats::new(None));
        let (got, error) =
            collect(fetcher.fetch(request(&store, &blob, 1 << 20, 0..1 << 20))).await;
        assert!(got.is_empty() && error.expect("an error").to_string().contains("broke"));
        assert_eq!(store.calls().read, RESUMPTIONS + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_holds_up_no_other() {
        let store = MemoryStore::new();
        let bytes = layer(80 << 20);
        let size = bytes.len() as u64;
        let blob = store.insert(bytes.clone());
        let fetcher = Fetcher::new(Stats::new(None));
        let still = fetcher.fetch(request(&store, &blob, size, 0..size));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fetcher.ahead.available_permits(), 0);
        let (got, error) = collect(fetcher.fetch(request(&store, &blob, size, 0..size))).await;
        assert!(got == bytes && error.is_none());
        drop(still);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fetcher.ahead.available_permits(), AHEAD);
    }
}
