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

use crate::activity::Activity;
use crate::bindings::build_cache::plugin::{content, events, types};
use crate::files::LentFiles;
use crate::http::{Hooks, HttpClient};
use crate::limits::Limits;
use crate::listener::{Listener, OnEvent};
use crate::text::Scrubber;
use crate::{Content, Digest, Event, Grants, Identity, MemoryContent};

/// The data of an instance's store.
pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    pub(crate) hooks: Hooks,
    pub(crate) limits: Limits,
    pub(crate) content: Arc<dyn Content>,
    on_event: OnEvent,
    listener: Listener,
    pub(crate) scrubber: Arc<Scrubber>,
    pub(crate) files: Arc<LentFiles>,
    pub(crate) identity: Option<Arc<dyn Identity>>,
}

impl State {
    /// What an instance of the plugin of this name has before it is asked for
    /// anything: variables, and no content, files or identity.
    pub(crate) fn new(
        plugin: &str,
        client: HttpClient,
        grants: &Grants,
        on_event: OnEvent,
        scrubber: Arc<Scrubber>,
    ) -> Self {
        let mut wasi = WasiCtx::builder();
        for (name, value) in grants.variables.iter() {
            wasi.env(name, value);
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(grants.handles);
        let limits = Limits::new(grants);
        let listener = Listener::new(plugin, Arc::clone(&on_event), Arc::clone(&scrubber));
        let hooks = Hooks::new(
            client,
            grants,
            limits.activity(),
            listener.clone(),
            Arc::clone(&scrubber),
        );
        Self {
            wasi: wasi.build(),
            table,
            http: WasiHttpCtx::new(),
            hooks,
            limits,
            content: Arc::new(MemoryContent::default()),
            on_event,
            listener,
            scrubber,
            files: Arc::default(),
            identity: None,
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
            activity: state.limits.activity(),
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
    activity: Activity,
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
                self.activity.note();
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
        self.listener.told(event);
        Ok(())
    }
}

/// How often the guest's computing is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(50);
