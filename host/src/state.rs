//! What one instance has on the host's side: its grants, its view of WASI, and
//! the imports of the contract.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Access, Destination, FutureReader, HasData, ResourceTable, StreamProducer, StreamReader,
    StreamResult,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::build_cache::plugin::{content, events, types};
use crate::files::LentFiles;
use crate::http::{Hooks, HttpClient};
use crate::limits::Limits;
use crate::text::Scrubber;
use crate::{Content, Digest, Event, Grants, Identity};

/// Who hears of an instance's events.
pub(crate) type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// The data of an instance's store.
pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    pub(crate) hooks: Hooks,
    pub(crate) limits: Limits,
    content: Arc<dyn Content>,
    on_event: OnEvent,
    pub(crate) scrubber: Arc<Scrubber>,
    pub(crate) files: Arc<LentFiles>,
    pub(crate) identity: Option<Arc<dyn Identity>>,
}

impl State {
    pub(crate) fn new(
        client: HttpClient,
        grants: &Grants,
        content: Arc<dyn Content>,
        on_event: OnEvent,
        scrubber: Arc<Scrubber>,
        files: LentFiles,
        identity: Option<Arc<dyn Identity>>,
    ) -> Self {
        let mut wasi = WasiCtx::builder();
        for (name, value) in grants.variables.iter() {
            wasi.env(name, value);
        }
        Self {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks: Hooks::new(client, Arc::clone(&scrubber)),
            limits: Limits::new(grants),
            content,
            on_event,
            scrubber,
            files: Arc::new(files),
            identity,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.limits.asked_the_host();
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// The contract's imports, answered from a [`State`].
pub(crate) struct Imports;

impl HasData for Imports {
    type Data<'a> = &'a mut State;
}

impl types::Host for State {}
impl content::Host for State {}

impl content::HostWithStore<State> for Imports {
    fn read(
        mut host: Access<'_, State, Self>,
        blob: String,
        offset: u64,
        length: u64,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Result<(), types::Error>>)> {
        let state = host.get();
        state.limits.asked_the_host();
        let (outcome, receiver) = oneshot::channel();
        let (blob, chunks) = match blob.parse::<Digest>() {
            Ok(digest) => {
                let chunks = state.content.read(&digest, offset, length);
                (Some(digest), chunks)
            }
            Err(error) => {
                let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
                (None, futures::stream::once(async { Err(error) }).boxed())
            }
        };
        let lender = Lender {
            blob,
            chunks,
            remaining: length,
            on_event: Arc::clone(&state.on_event),
            outcome: Some(outcome),
        };
        let stream = StreamReader::new(&mut host, lender)?;
        // Without an outcome the backend gave up the rest, and nobody asks.
        let future = FutureReader::new(&mut host, async move {
            Ok::<_, wasmtime::Error>(receiver.await.unwrap_or(Ok(())))
        })?;
        Ok((stream, future))
    }
}

/// Lends a range of a layer to a backend.
struct Lender {
    blob: Option<Digest>,
    chunks: BoxStream<'static, std::io::Result<Bytes>>,
    remaining: u64,
    on_event: OnEvent,
    outcome: Option<oneshot::Sender<Result<(), types::Error>>>,
}

impl Lender {
    fn end(&mut self, outcome: Result<(), String>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(sender) = self.outcome.take() {
            let _ = sender.send(outcome.map_err(types::Error::Content));
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }

    fn name(&self) -> String {
        self.blob
            .as_ref()
            .map(Digest::to_string)
            .unwrap_or_default()
    }
}

impl StreamProducer<State> for Lender {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if self.remaining == 0 {
            return self.end(Ok(()));
        }
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.chunks.poll_next_unpin(cx) {
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                let text = format!("{} ended {} bytes early", self.name(), self.remaining);
                self.end(Err(text))
            }
            Poll::Ready(Some(Err(error))) => {
                let text = format!("{}: {error}", self.name());
                self.end(Err(text))
            }
            Poll::Ready(Some(Ok(mut chunk))) => {
                store.data_mut().limits.asked_the_host();
                let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                chunk.truncate(wanted);
                let bytes = chunk.len() as u64;
                self.remaining -= bytes;
                if let Some(blob) = self.blob.clone() {
                    (self.on_event)(Event::LayerRead { blob, bytes });
                }
                destination.set_buffer(chunk);
                if self.remaining == 0 {
                    return self.end(Ok(()));
                }
                Poll::Ready(Ok(StreamResult::Completed))
            }
        }
    }
}

impl events::Host for State {
    fn emit(&mut self, event: events::Event) -> wasmtime::Result<()> {
        if let Some(event) = Event::from_backend(event, &self.scrubber) {
            (self.on_event)(event);
        }
        Ok(())
    }
}

/// How often the guest's computing is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(50);
