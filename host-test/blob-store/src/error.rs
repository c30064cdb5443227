//! What can go wrong when a program starts the store or reaches into it. What a client of the
//! protocol is told lives in `refusal`.

use std::io;
use std::path::PathBuf;

/// Why the store could not start, or why a direct access failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The port is taken, or the system refuses to listen.
    #[error(
        "cannot listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for a free one"
    )]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The threads that serve requests could not be started.
    #[error("cannot start the threads that serve requests: {0}")]
    Runtime(#[source] io::Error),
    /// The account's name breaks Azure's rule.
    #[error("'{0}' is no account name: use 3 to 24 lower-case letters and digits")]
    AccountName(String),
    /// The account's key is not base64, or empty.
    #[error(
        "the account key is not base64; it should look like the key that the Azure portal shows"
    )]
    AccountKey,
    /// The certificate or its key is none, or one is not the other's.
    #[error("cannot speak TLS: {0}; give a certificate and its private key, both in PEM")]
    Certificate(String),
    /// The folder cannot be read, written or locked.
    #[error("cannot {what} {}: {source}", path.display())]
    Folder {
        /// What was tried, as a verb: "read", "create", ...
        what: &'static str,
        /// The file or folder it was tried on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("{} is in use by another blob-store; stop it or choose another folder", .0.display())]
    FolderInUse(PathBuf),
    /// The folder holds files of something else.
    #[error("{} holds other files; choose an empty folder, or one that blob-store made", .0.display())]
    FolderNotOurs(PathBuf),
    /// A record in the folder is not one that this program wrote.
    #[error("{} is not a record of blob-store ({reason}); move it away to go on without it", path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A direct access that the protocol would have refused too.
    #[error("{code}: {message}")]
    Refused {
        /// The protocol's error code, such as `ContainerNotFound`.
        code: &'static str,
        /// What it means here.
        message: String,
    },
}
