//! Connections: accepted one after another, each served by a task of its own, HTTP/1.1 only, as
//! the service is.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::service::Service;

/// How much hyper reads at once, in bytes: few system calls for a large body, and what was read is
/// still in the processor's cache when it is checked and copied into its place.
const READ_BUFFER_BYTES: usize = 256 << 10;

/// When the system has no room for another connection, the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the runtime ends; over TLS, where there is a certificate.
pub(crate) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, service: Arc<Service>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers should not wait for more to send; without it all still works.
                let _ = stream.set_nodelay(true);
                service.counters.connection();
                tokio::spawn(welcome(stream, tls.clone(), Arc::clone(&service)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn welcome(stream: TcpStream, tls: Option<TlsAcceptor>, service: Arc<Service>) {
    match tls {
        None => serve(stream, service).await,
        Some(tls) => {
            // A client that does not trust the certificate goes away here.
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, service).await;
            }
        }
    }
}

/// Serves one connection, of whatever kind, until it ends.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, service: Arc<Service>) {
    let answer = service_fn(|request| service.answer(request));
    // An error here is a client that went away, or a cut that a fault asked for.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}
