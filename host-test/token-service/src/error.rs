//! What can go wrong when a program starts the service. What a client of a protocol is told lives
//! in `refusal` and `identity`.

use std::io;
use std::path::PathBuf;

/// Why the service could not start, or could not make what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refuses to listen on a free port of the loopback interface.
    #[error("cannot listen on a free port of 127.0.0.1: {0}")]
    Listen(#[source] io::Error),
    /// The threads that serve requests could not be started.
    #[error("cannot start the threads that serve requests: {0}")]
    Runtime(#[source] io::Error),
    /// A file that the service hands out could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate could not be made, most likely for a name that is none.
    #[error("cannot make a certificate: {0}; check the names that it is for")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not take the certificate that was made.
    #[error("cannot serve TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A key could not be made.
    #[error("cannot make a key: {0}")]
    Key(String),
}
