//! Connections: accepted one after another at each door, each served by a task of its own,
//! HTTP/1.1 only.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificates::ServerCertificate;
use crate::endpoint::Door;
use crate::error::Error;
use crate::service::Service;

/// When the system has no room for another connection, the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a door needs to speak TLS.
pub(crate) fn tls(certificate: &ServerCertificate) -> Result<TlsAcceptor, Error> {
    let (chain, key) = certificate.chain();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts connections until the runtime ends.
pub(crate) async fn accept(
    listener: TcpListener,
    door: Door,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers should not wait for more to send; without it all still works.
                let _ = stream.set_nodelay(true);
                tokio::spawn(welcome(stream, door, tls.clone(), Arc::clone(&service)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn welcome(stream: TcpStream, door: Door, tls: Option<TlsAcceptor>, service: Arc<Service>) {
    match tls {
        None => serve(stream, door, service).await,
        Some(tls) => {
            // A client that knows another CA goes away here.
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, door, service).await;
            }
        }
    }
}

/// Serves one connection until it ends.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, door: Door, service: Arc<Service>) {
    let answer = service_fn(|request| service.answer(door, request));
    // An error here is a client that went away, or a close that a fault asked for.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}
