//! Time-outs on no progress rather than on a whole transfer: a 10 GiB layer
//! over a slow line is not a failure; a line that moves nothing is.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::activity::{Activity, Silence};

/// A request's body that notes when it moves: the connection asks for the next
/// chunk when it has room for it.
pub(super) struct WatchedBody {
    /// The client wants a body that threads can share, and this one is not;
    /// nobody else locks it.
    inner: Mutex<WasiBody>,
    /// Of the request, and of the instance that sends it.
    activities: [Activity; 2],
}

impl WatchedBody {
    pub(super) fn new(inner: WasiBody, activities: [Activity; 2]) -> Self {
        Self {
            inner: Mutex::new(inner),
            activities,
        }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        if moves(&frame) {
            self.activities.iter().for_each(Activity::note);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.size_hint()
    }
}

/// Whether bytes came with this step of a body. Its end and an empty chunk are
/// steps too, and a plugin can make as many of those as it likes.
fn moves<E>(frame: &Option<Result<Frame<Bytes>, E>>) -> bool {
    let data = frame.as_ref().and_then(|frame| frame.as_ref().ok());
    data.and_then(Frame::data_ref)
        .is_some_and(|data| !data.is_empty())
}

/// A response's body that fails when the server lets its reader wait too long.
/// It is not a failure if the reader is slow.
pub(super) struct TimedBody {
    inner: reqwest::Body,
    limit: Duration,
    /// Set while the reader waits for the server.
    waiting: Option<(Pin<Box<Sleep>>, Silence)>,
    /// Of the instance that reads.
    activity: Activity,
    /// The request counts as long as its answer is not read or dropped.
    _permits: [OwnedSemaphorePermit; 2],
}

impl TimedBody {
    pub(super) fn new(
        inner: reqwest::Body,
        limit: Duration,
        activity: Activity,
        permits: [OwnedSemaphorePermit; 2],
    ) -> Self {
        Self {
            inner,
            limit,
            waiting: None,
            activity,
            _permits: permits,
        }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waiting = None;
            if moves(&frame) {
                self.activity.note();
            }
            return Poll::Ready(frame.map(|f| f.map_err(|_| Error::HttpResponseIncomplete)));
        }
        let Self {
            limit,
            waiting,
            activity,
            ..
        } = &mut *self;
        let (timer, _) = waiting.get_or_insert_with(|| {
            let silence = activity.expect_silence(*limit);
            (Box::pin(tokio::time::sleep(*limit)), silence)
        });
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::StreamExt;
    use futures::stream::{self, BoxStream};
    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    type Chunks = BoxStream<'static, std::io::Result<Bytes>>;

    async fn timed(chunks: Chunks) -> (TimedBody, Activity) {
        let permit = async || Arc::new(Semaphore::new(1)).acquire_owned().await;
        let permits = [permit().await.unwrap(), permit().await.unwrap()];
        let activity = Activity::default();
        let body = reqwest::Body::wrap_stream(chunks);
        (
            TimedBody::new(body, LIMIT, activity.clone(), permits),
            activity,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_goes_silent_is_given_up_after_the_limit() {
        let chunks = stream::iter([Ok(Bytes::from_static(b"x"))]).chain(stream::pending());
        let (mut body, _) = timed(chunks.boxed()).await;
        assert!(body.frame().await.expect("a chunk").is_ok());
        let begun = Instant::now();
        let error = body.frame().await.expect("an end").expect_err("silence");
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
        assert_eq!(begun.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_its_time_is_no_silence_of_the_server() {
        let chunks = stream::repeat_with(|| Ok(Bytes::from_static(b"x")));
        let (mut body, _) = timed(chunks.boxed()).await;
        for _ in 0..3 {
            assert!(body.frame().await.expect("a chunk").is_ok());
            sleep(LIMIT * 2).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn chunks_without_bytes_move_nothing() {
        let chunks = [Bytes::new(), Bytes::from_static(b"x"), Bytes::new()];
        let (mut body, activity) = timed(stream::iter(chunks.map(Ok)).boxed()).await;
        let mut moved = Vec::new();
        loop {
            sleep(Duration::from_millis(5)).await;
            let before = activity.last();
            if body.frame().await.is_none() {
                break;
            }
            moved.push(activity.last() > before);
        }
        assert_eq!(moved.iter().filter(|moved| **moved).count(), 1, "{moved:?}");
    }
}
