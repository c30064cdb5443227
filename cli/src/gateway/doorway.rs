//! Where the gateway listens, and what it takes to come in.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use build_cache_gateway::Password;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::args::ServeArgs;
use crate::failure::Misuse;

/// Refuses what would let others in who were not meant.
pub fn check(args: &ServeArgs) -> Result<(), Misuse> {
    if args.listen.ip().is_loopback() {
        return Ok(());
    }
    let address = args.listen;
    if !args.auth {
        return Err(Misuse(format!(
            "--listen {address}: others can reach this address, so the gateway needs --auth there"
        )));
    }
    if args.tls_cert.is_none() && !args.insecure {
        return Err(Misuse(format!(
            "--listen {address}: others can reach this address, so the gateway needs --tls-cert and \
             --tls-key there, or --insecure if the network in between is trusted"
        )));
    }
    Ok(())
}

/// Listens.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}

/// What speaks TLS with this certificate.
pub fn tls(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    let reading = |path: &Path| format!("cannot read {}", path.display());
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| reading(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| reading(key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("cannot set up TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("{} does not fit its key", cert.display()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The password in this file.
pub fn read_password(path: &Path) -> Result<Password> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    Password::new(text).ok_or_else(|| Misuse(format!("{} is empty", path.display())).into())
}

/// Puts a password where this user alone can read it.
pub fn write_password(path: &Path, password: &Password) -> Result<()> {
    let writing = || format!("cannot write {}", path.display());
    // One that is there may belong to others, or be a link.
    let _ = fs::remove_file(path);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(writing)?;
    file.write_all(password.reveal().as_bytes())
        .with_context(writing)
}
