//! The body of a request on its way to the spool: hashed and written by a thread
//! of its own while the next part arrives, within the room that there is, and
//! given up where the client hardly sends anything.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::spool::Draft;

/// How many chunks wait for the thread that writes.
const CHUNKS: usize = 4;

/// How slow a client may be.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// In any time of this length …
    pub window: Duration,
    /// … at least so many bytes must arrive, or the end.
    pub bytes: u64,
}

impl Default for Patience {
    /// A minute for 64 KiB: a line of 10 kbit/s.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            bytes: 64 << 10,
        }
    }
}

/// Why a body did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error("the body broke off: {0}")]
    BrokeOff(String),
    #[error("the body arrives too slowly")]
    TooSlow,
    #[error("the body has more than the {limit} bytes that are accepted")]
    TooLarge { limit: u64 },
    #[error(
        "the spool is full: it may hold {limit} bytes, and nothing in it is on its way to the store"
    )]
    SpoolFull { limit: u64 },
    #[error("cannot write to the spool: {0}")]
    Disk(io::Error),
}

/// How much of a window a client has used.
struct Watch {
    patience: Patience,
    until: Instant,
    bytes: u64,
}

impl Watch {
    fn new(patience: Patience) -> Self {
        Self {
            patience,
            until: Instant::now() + patience.window,
            bytes: 0,
        }
    }

    async fn next<T>(&self, waiting: impl Future<Output = T>) -> Result<T, IntakeError> {
        let waited = tokio::time::timeout_at(self.until, waiting).await;
        waited.map_err(|_| IntakeError::TooSlow)
    }

    fn arrived(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= self.patience.bytes {
            self.until = Instant::now() + self.patience.window;
            self.bytes = 0;
        }
    }
}

/// The next bytes of a body. None at its end.
async fn next_chunk<B>(body: &mut B, watch: &mut Watch) -> Result<Option<Bytes>, IntakeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        let Some(frame) = watch.next(body.frame()).await? else {
            return Ok(None);
        };
        let frame = frame.map_err(|error| IntakeError::BrokeOff(error.to_string()))?;
        if let Ok(chunk) = frame.into_data()
            && !chunk.is_empty()
        {
            watch.arrived(chunk.len() as u64);
            return Ok(Some(chunk));
        }
    }
}

/// Appends a body to a draft. What arrived before an error is in the draft,
/// unless writing failed.
pub(crate) async fn receive<B>(
    draft: &mut Draft,
    body: &mut B,
    patience: Patience,
) -> Result<u64, IntakeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut watch = Watch::new(patience);
    let Some(first) = next_chunk(body, &mut watch).await? else {
        return Ok(0);
    };
    let mut writing = draft.take_writing().ok_or_else(|| {
        IntakeError::Disk(io::Error::other("an earlier write to this upload failed"))
    })?;
    let (sender, mut chunks) = mpsc::channel::<Bytes>(CHUNKS);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = chunks.blocking_recv() {
            writing.append(&chunk)?;
        }
        Ok::<_, io::Error>(writing)
    });
    let before = draft.size;
    let mut next = Some(first);
    let outcome = loop {
        let chunk = match next.take() {
            Some(chunk) => chunk,
            None => match next_chunk(body, &mut watch).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
        };
        let bytes = chunk.len() as u64;
        let waiting = Instant::now();
        if let Err(full) = draft.room().grow(bytes).await {
            break Err(IntakeError::SpoolFull { limit: full.limit });
        }
        if sender.send(chunk).await.is_err() {
            // The writer has ended, and says why below.
            break Ok(());
        }
        draft.size += bytes;
        // The client is not to blame for that.
        watch.until += waiting.elapsed();
    };
    drop(sender);
    let written = writer
        .await
        .map_err(|error| io::Error::other(error.to_string()));
    match written.and_then(|written| written) {
        Ok(writing) => draft.put_writing(writing),
        Err(error) => return Err(IntakeError::Disk(error)),
    }
    outcome.map(|()| draft.size - before)
}

/// A body that must fit into memory.
pub(crate) async fn collect<B>(
    body: &mut B,
    limit: u64,
    patience: Patience,
) -> Result<Bytes, IntakeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut watch = Watch::new(patience);
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(body, &mut watch).await? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(IntakeError::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use futures::{Stream, StreamExt};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::spool::Spool;

    fn body(
        chunks: impl Stream<Item = Result<Bytes, String>>,
    ) -> impl Body<Data = Bytes, Error = String> {
        StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data)))
    }

    /// A byte a second, without an end.
    fn drip() -> impl Body<Data = Bytes, Error = String> {
        body(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_given_up() {
        // A thread that writes would keep the clock from being moved.
        let began = Instant::now();
        let mut dripping = std::pin::pin!(drip());
        let outcome = collect(&mut dripping, 1000, Patience::default()).await;
        assert!(matches!(outcome, Err(IntakeError::TooSlow)), "{outcome:?}");
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test]
    async fn what_arrived_before_a_break_is_kept_and_can_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path(), 1000).expect("a spool");
        let mut draft = spool.draft().expect("a file");
        let broken = [Ok(Bytes::from_static(b"half ")), Err("gone".to_owned())];
        let mut broken = std::pin::pin!(body(stream::iter(broken)));
        let outcome = receive(&mut draft, &mut broken, Patience::default()).await;
        assert!(
            matches!(outcome, Err(IntakeError::BrokeOff(_))),
            "{outcome:?}"
        );
        assert_eq!(draft.size, 5);
        let rest = [Ok(Bytes::from_static(b"a layer"))];
        let mut rest = std::pin::pin!(body(stream::iter(rest)));
        let received = receive(&mut draft, &mut rest, Patience::default()).await;
        assert_eq!(received.expect("the rest"), 7);
        let digest = draft.digest().expect("a digest");
        assert_eq!(digest, build_cache_host::Digest::of(b"half a layer"));
    }

    #[tokio::test]
    async fn limits_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path(), 10).expect("a spool");
        let mut draft = spool.draft().expect("a file");
        let bytes = || Ok::<_, String>(Bytes::from_static(b"elf bytes."));
        let mut large = std::pin::pin!(body(stream::iter([bytes(), bytes()])));
        let outcome = receive(&mut draft, &mut large, Patience::default()).await;
        assert!(
            matches!(outcome, Err(IntakeError::SpoolFull { limit: 10 })),
            "{outcome:?}"
        );
        let mut large = std::pin::pin!(body(stream::iter([bytes(), bytes()])));
        let outcome = collect(&mut large, 15, Patience::default()).await;
        assert!(
            matches!(outcome, Err(IntakeError::TooLarge { limit: 15 })),
            "{outcome:?}"
        );
    }
}
