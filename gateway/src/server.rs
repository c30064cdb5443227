//! Connections: accepted one after another, each served by a task of its own.
//! HTTP/1.1 alone, since BuildKit speaks nothing else to a registry. A client
//! that speaks TLS to the plain port is answered in plain HTTP: dockerd takes
//! that answer to mean that it should speak plain HTTP too.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::gateway::{Gateway, Inner};

/// How much is read at once, in bytes.
const READ_BUFFER_BYTES: usize = 256 << 10;
/// When the system has no room for another connection, the next try waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often what was abandoned is swept.
const SWEEP: Duration = Duration::from_secs(30);

impl Gateway {
    /// Serves on this listener until [`Gateway::finish`] is called; over TLS
    /// where there is a certificate.
    pub async fn serve(&self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let inner = &self.0;
        let mut stop = inner.stop.subscribe();
        let connections = Arc::new(Semaphore::new(inner.options.limits.connections));
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = sweep.tick() => {
                    inner.sweep();
                    continue;
                }
                accepted = accept(&listener, &connections) => accepted,
            };
            let (stream, peer, permit) = accepted;
            let connection = welcome(stream, peer, tls.clone(), Arc::clone(inner));
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
    }
}

/// The next connection, when there is room for one.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (
    TcpStream,
    SocketAddr,
    Option<tokio::sync::OwnedSemaphorePermit>,
) {
    let permit = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn welcome(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, inner: Arc<Inner>) {
    let stop = inner.stop.subscribe();
    // Small answers should not wait for more to send; without it all still works.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(stream, peer, inner, stop).await,
        Some(tls) => {
            // A client that does not trust the certificate goes away here.
            let accepted = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
            if let Ok(Ok(stream)) = accepted {
                serve(stream, peer, inner, stop).await;
            }
        }
    }
}

/// Serves one connection, of whatever kind, until it ends.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    inner: Arc<Inner>,
    mut stop: watch::Receiver<bool>,
) {
    let limits = &inner.options.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(100)
        .max_header_size(limits.header_bytes)
        .max_buf_size(READ_BUFFER_BYTES);
    let service = service_fn(|request| {
        let inner = Arc::clone(&inner);
        async move { Ok::<_, Infallible>(inner.answer(request, peer).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // An error here is a client that went away, or one that does not speak HTTP,
    // which was told so.
    tokio::select! {
        _ = &mut connection => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

impl Inner {
    /// Gives up what clients abandoned.
    fn sweep(&self) {
        let rest = self.options.limits.upload_rest;
        self.uploads.sweep(rest);
        if let Some(to) = &self.to {
            to.pending.sweep(rest);
        }
    }
}
