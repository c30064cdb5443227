//! TLS, which a store needs before it takes tokens: nobody sends those over plain http.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::bearer::TokenCheck;
use crate::error::Error;

/// What a store shows its clients so that they reach it by `https`, and what it takes from them
/// there. It prints no key.
#[derive(Clone)]
pub struct Https {
    /// The certificate for 127.0.0.1 and those above it, in PEM.
    pub certificate_pem: String,
    /// Its private key, in PEM.
    pub key_pem: String,
    /// Which tokens let a client in; `None` to take none, only the account's key.
    pub tokens: Option<TokenCheck>,
}

impl Https {
    /// What a connection is welcomed with.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, Error> {
        let bad_pem = |error: rustls::pki_types::pem::Error| Error::Certificate(error.to_string());
        let bad_pair = |error: rustls::Error| Error::Certificate(error.to_string());
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes());
        let chain = chain.collect::<Result<_, _>>().map_err(bad_pem)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(bad_pem)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(bad_pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(bad_pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Https")
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}
