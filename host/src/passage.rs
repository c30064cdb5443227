//! The way around the plugin for bytes that it only hands on.
//!
//! A layer's bytes pass a plugin in one direction or the other, and all that it
//! does with them is to give the stream it got to somebody else: the host's
//! content to wasi:http, wasi:http's answer to the host. wasmtime would carry
//! each chunk through the instance's event loop and copy it there. But where a
//! stream that the host made comes back to the host, wasi:http takes the body
//! out of it again, and from then on client and file talk to one another alone:
//! no copy, no turn of the event loop, and the instance free for requests.
//!
//! wasi:http does so for the streams of its own bodies only, so content is lent
//! as the body of an answer, and what a plugin returns is taken as the body of
//! a request. Neither is ever sent. A stream that the plugin makes itself goes
//! through the same two functions, chunk by chunk.

use bytes::Bytes;
use wasmtime::AsContextMut;
use wasmtime::StoreContextMut;
use wasmtime::component::{Access, FutureReader, StreamReader};
use wasmtime_wasi_http::p3::bindings::http::types::{
    ErrorCode, HostRequestWithStore, HostResponseWithStore,
};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{FieldMap, WasiBody, WasiHttp, WasiHttpView};

use crate::state::State;

/// A body as a stream of the contract.
pub(crate) fn lend<B>(
    mut store: StoreContextMut<'_, State>,
    body: B,
) -> wasmtime::Result<StreamReader<u8>>
where
    B: http_body::Body<Data = Bytes, Error = wasmtime_wasi_http::Error> + Send + 'static,
{
    let view = store.data_mut().http();
    let (response, _) = Response::from_http(view.hooks, http::Response::new(body));
    let response = view.table.push(response)?;
    let handled = FutureReader::new(&mut store, async {
        Ok::<Result<(), ErrorCode>, wasmtime::Error>(Ok(()))
    })?;
    let (stream, mut trailers) =
        HostResponseWithStore::consume_body(wasi_http(&mut store), response, handled)?;
    // The contract has a future of its own for how the stream ended.
    trailers.close(&mut store)?;
    Ok(stream)
}

/// The body behind a stream of the contract.
pub(crate) fn take(
    mut store: StoreContextMut<'_, State>,
    stream: StreamReader<u8>,
) -> wasmtime::Result<WasiBody> {
    let headers = store.data_mut().http().table.push(FieldMap::default())?;
    let trailers = FutureReader::new(&mut store, async {
        Ok::<Result<Option<_>, ErrorCode>, wasmtime::Error>(Ok(None))
    })?;
    let (request, mut sent) = <WasiHttp as HostRequestWithStore<State>>::new(
        wasi_http(&mut store),
        headers,
        Some(stream),
        trailers,
        None,
    )?;
    sent.close(&mut store)?;
    let mut request: Request = store.data_mut().http().table.delete(request)?;
    // It goes nowhere, but without an address it would be refused.
    request.authority = Some(http::uri::Authority::from_static("localhost"));
    request.path_with_query = Some(http::uri::PathAndQuery::from_static("/"));
    let (request, _) = request
        .into_http(&mut store, async { Ok(()) })
        .map_err(|error| error.downcast().map_or_else(|e| e, wasmtime::Error::from))?;
    Ok(request.into_body())
}

fn wasi_http<'a>(store: &'a mut StoreContextMut<'_, State>) -> Access<'a, State, WasiHttp> {
    Access::new(store.as_context_mut(), |state| state.http())
}
