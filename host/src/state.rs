//! What one instance has on the host's side: its grants, its view of WASI, and
//! the imports of the contract.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmtime::component::{Access, FutureReader, HasData, ResourceTable, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::activity::Activity;
use crate::bindings::build_cache::plugin::{content, events, types};
use crate::files::LentFiles;
use crate::http::{Hooks, HttpClient};
use crate::limits::Limits;
use crate::listener::{CallId, Listener, OnEvent};
use crate::passage;
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
    pub(crate) listener: Listener,
    pub(crate) scrubber: Arc<Scrubber>,
    pub(crate) files: Arc<LentFiles>,
    pub(crate) identity: Option<Arc<dyn Identity>>,
    /// What the identity may be asked for.
    pub(crate) scopes: Vec<String>,
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
        let listener = Listener::new(plugin, on_event, Arc::clone(&scrubber));
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
            listener,
            scrubber,
            files: Arc::default(),
            identity: None,
            scopes: Vec::new(),
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
        call: CallId,
        blob: String,
        offset: u64,
        length: u64,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Result<(), types::Error>>)> {
        let (stream, ended) = lend(host.as_context_mut(), call, &blob, offset, length)?;
        let outcome = FutureReader::new(&mut host, async move {
            Ok::<_, wasmtime::Error>(ended.await.map_err(types::Error::Content))
        })?;
        Ok((stream, outcome))
    }
}

/// Lends a range of a layer to a call, and tells how its stream ended.
pub(crate) fn lend(
    mut store: StoreContextMut<'_, State>,
    call: CallId,
    blob: &str,
    offset: u64,
    length: u64,
) -> wasmtime::Result<(
    StreamReader<u8>,
    impl Future<Output = Result<(), String>> + Send + 'static,
)> {
    let state = store.data_mut();
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
    let lent = Lent {
        blob,
        chunks,
        remaining: length,
        on_event: state.listener.of(call),
        activity: state.limits.activity(),
        outcome: Some(outcome),
    };
    let stream = passage::lend(store, lent)?;
    // Without an outcome the backend gave up the rest, and does not ask.
    let ended = async move { receiver.await.unwrap_or(Ok(())) };
    Ok((stream, ended))
}

/// A range of a layer that is lent to a backend.
struct Lent {
    blob: Option<Digest>,
    chunks: BoxStream<'static, std::io::Result<Bytes>>,
    remaining: u64,
    on_event: OnEvent,
    activity: Activity,
    outcome: Option<oneshot::Sender<Result<(), String>>>,
}

impl Lent {
    fn end(&mut self, outcome: Result<(), String>) {
        if let Some(sender) = self.outcome.take() {
            let _ = sender.send(outcome);
        }
    }

    /// Ends in the middle: the outcome has the reason, the body breaks off.
    fn fail(&mut self, reason: &dyn std::fmt::Display) -> Poll<Option<LentFrame>> {
        let blob = self.blob.as_ref().map(Digest::to_string);
        let text = format!("{}: {reason}", blob.unwrap_or_default());
        self.end(Err(text));
        Poll::Ready(Some(Err(wasmtime_wasi_http::Error::HttpRequestBodySize(
            None,
        ))))
    }
}

type LentFrame = Result<Frame<Bytes>, wasmtime_wasi_http::Error>;

impl Body for Lent {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LentFrame>> {
        if self.remaining == 0 {
            self.end(Ok(()));
            return Poll::Ready(None);
        }
        match ready!(self.chunks.poll_next_unpin(cx)) {
            None => {
                let reason = format!("it ended {} bytes early", self.remaining);
                self.fail(&reason)
            }
            Some(Err(error)) => self.fail(&error),
            Some(Ok(mut chunk)) => {
                chunk.truncate(usize::try_from(self.remaining).unwrap_or(usize::MAX));
                let bytes = chunk.len() as u64;
                if bytes > 0 {
                    self.activity.note();
                }
                self.remaining -= bytes;
                if let Some(blob) = self.blob.clone() {
                    (self.on_event)(Event::LayerRead { blob, bytes });
                }
                if self.remaining == 0 {
                    self.end(Ok(()));
                }
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

impl events::Host for State {
    fn emit(&mut self, call: CallId, event: events::Event) -> wasmtime::Result<()> {
        self.listener.told(call, event);
        Ok(())
    }
}

/// How often the guest's computing is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(50);
