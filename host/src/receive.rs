//! What a plugin streams to the host, carried out of the instance's task.
//!
//! A stream of the contract comes with a future that tells whether it ended
//! because its items did. Both go through channels: a bounded one, so that a
//! slow reader slows the plugin down rather than fill memory.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime::component::{
    Access, FutureConsumer, FutureReader, Lift, Source, StreamConsumer, StreamReader, StreamResult,
};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::bindings::build_cache::plugin::types::Error;
use crate::passage;
use crate::state::State;

/// How many chunks wait for their reader.
const CHUNKS_WAITING: usize = 2;
/// How many items of a listing are carried at once.
const ITEMS_AT_ONCE: usize = 512;

/// A stream under way: its chunks, and how it ended.
pub(crate) struct Received<T> {
    pub(crate) chunks: BoxStream<'static, Result<T, Error>>,
    pub(crate) outcome: oneshot::Receiver<Result<(), Error>>,
}

impl<T: Send + 'static> Received<Vec<T>> {
    /// The same listing, each item turned into another.
    pub(crate) fn map<U: Send + 'static>(self, item: fn(T) -> U) -> Received<Vec<U>> {
        let chunks = self.chunks;
        Received {
            chunks: chunks
                .map_ok(move |items| items.into_iter().map(item).collect())
                .boxed(),
            outcome: self.outcome,
        }
    }
}

/// Carries a layer's bytes out. The plugin learns no more of how they end than
/// that somebody else reads them: where they break off, the stream itself says
/// so.
pub(crate) fn bytes<E: Lift + Into<Error> + Send + 'static>(
    mut store: Access<'_, State>,
    blob: &str,
    stream: StreamReader<u8>,
    outcome: FutureReader<Result<(), E>>,
) -> wasmtime::Result<Received<Bytes>> {
    let activity = store.data_mut().limits.activity();
    let body = passage::take(store.as_context_mut(), stream)?;
    let reading = format!("reading {blob}");
    let chunks = body
        .into_data_stream()
        .inspect_ok(move |chunk| {
            if !chunk.is_empty() {
                activity.note();
            }
        })
        .map_err(move |error| {
            let reason = match error {
                wasmtime_wasi_http::Error::ConnectionReadTimeout => "the store stopped sending",
                _ => "the connection broke",
            };
            Error::Unavailable(format!("{reading}: {reason}"))
        });
    Ok(Received {
        chunks: chunks.boxed(),
        outcome: carry_outcome(&mut store, outcome)?,
    })
}

/// Carries a listing out, some items at a time.
pub(crate) fn items<T: Lift + Send + 'static, E: Lift + Into<Error> + Send + 'static>(
    mut store: Access<'_, State>,
    stream: StreamReader<T>,
    outcome: FutureReader<Result<(), E>>,
) -> wasmtime::Result<Received<Vec<T>>> {
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
    stream.pipe(&mut store, Itemwise { sender })?;
    Ok(Received {
        chunks: chunks.map(Ok).boxed(),
        outcome: carry_outcome(&mut store, outcome)?,
    })
}

fn carry_outcome<E: Lift + Into<Error> + Send + 'static>(
    store: impl AsContextMut<Data = State>,
    outcome: FutureReader<Result<(), E>>,
) -> wasmtime::Result<oneshot::Receiver<Result<(), Error>>> {
    let (sender, receiver) = oneshot::channel();
    let outcome_to = Outcome {
        sender: Some(sender),
        of: PhantomData,
    };
    outcome.pipe(store, outcome_to)?;
    Ok(receiver)
}

/// Waits until the reader takes more. `Err` says what to answer instead.
fn reserve<T>(
    sender: &mut mpsc::Sender<T>,
    cx: &mut Context<'_>,
    finish: bool,
) -> Result<(), Poll<wasmtime::Result<StreamResult>>> {
    match sender.poll_ready(cx) {
        Poll::Ready(Ok(())) => Ok(()),
        Poll::Ready(Err(_)) => Err(Poll::Ready(Ok(StreamResult::Dropped))),
        Poll::Pending if finish => Err(Poll::Ready(Ok(StreamResult::Cancelled))),
        Poll::Pending => Err(Poll::Pending),
    }
}

fn deliver<T>(sender: &mut mpsc::Sender<T>, chunk: T) -> Poll<wasmtime::Result<StreamResult>> {
    Poll::Ready(Ok(match sender.start_send(chunk) {
        Ok(()) => StreamResult::Completed,
        Err(_) => StreamResult::Dropped,
    }))
}

struct Itemwise<T> {
    sender: mpsc::Sender<Vec<T>>,
}

impl<T: Lift + Send + 'static> StreamConsumer<State> for Itemwise<T> {
    type Item = T;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<State>,
        mut source: Source<'_, T>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if let Err(answer) = reserve(&mut self.sender, cx, finish) {
            return answer;
        }
        let mut items = Vec::with_capacity(ITEMS_AT_ONCE);
        source.read(&mut store, &mut items)?;
        if items.is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        store.data().limits.activity().note();
        deliver(&mut self.sender, items)
    }
}

/// How a stream ended, in the terms of the plugin's version of the contract.
struct Outcome<E> {
    sender: Option<oneshot::Sender<Result<(), Error>>>,
    of: PhantomData<fn() -> E>,
}

impl<E: Lift + Into<Error> + Send + 'static> FutureConsumer<State> for Outcome<E> {
    type Item = Result<(), E>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        store: StoreContextMut<State>,
        mut source: Source<'_, Self::Item>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut outcome = None;
        source.read(store, &mut outcome)?;
        if let (Some(outcome), Some(sender)) = (outcome, self.sender.take()) {
            let _ = sender.send(outcome.map_err(Into::into));
        }
        Poll::Ready(Ok(()))
    }
}
