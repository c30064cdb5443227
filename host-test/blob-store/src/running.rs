//! A running store: how it is started, looked into and stopped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::auth::{Account, AccountKey};
use crate::blocks::BlockId;
use crate::conditions::Conditions;
use crate::content::Piece;
use crate::disk::Disk;
use crate::error::Error;
use crate::faults::Faults;
use crate::https::Https;
use crate::names::{BlobKey, ContainerName, is_account_name};
use crate::plain::{self, PlainToken};
use crate::properties::Properties;
use crate::public::PublicContainers;
use crate::refusal::Refusal;
use crate::server;
use crate::service::Service;
use crate::stats::{Counters, Stats};
use crate::store::Store;

/// The account that every Azure emulator has.
pub const EMULATOR_ACCOUNT: &str = "devstoreaccount1";

/// Its key, which Microsoft publishes and which therefore protects nothing:
/// <https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key>.
pub const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// How a store is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on the loopback interface; 0 for a free one.
    pub port: u16,
    /// The one account that is served: 3 to 24 lower-case letters and digits.
    pub account: String,
    /// Its key.
    pub key: AccountKey,
    /// Where contents are kept; `None` for memory.
    pub dir: Option<PathBuf>,
    /// How much memory contents may take, in bytes. Without meaning beside `dir`.
    pub memory_limit: u64,
    /// How to speak TLS; `None` for plain http, where no token is taken.
    pub https: Option<Https>,
    /// Whether `/_plain/KEY` takes PUT, GET, HEAD and DELETE.
    pub plain: bool,
    /// The bearer token that it asks for; `None` to let everybody in.
    pub plain_token: Option<PlainToken>,
}

impl Default for Options {
    /// The emulator's account on a free port, up to 8 GiB in memory, plain http, no plain door.
    fn default() -> Self {
        Self {
            port: 0,
            account: EMULATOR_ACCOUNT.to_owned(),
            key: AccountKey::from_base64(EMULATOR_KEY).expect("the emulator's key is base64"),
            dir: None,
            memory_limit: 8 << 30,
            https: None,
            plain: false,
            plain_token: None,
        }
    }
}

/// The store before it runs.
#[derive(Debug)]
pub struct BlobStore;

impl BlobStore {
    /// Starts a store on threads of its own. It takes requests when this returns.
    ///
    /// # Errors
    /// The port is taken, the account's name is none, the folder cannot be used, or TLS cannot be
    /// spoken with what was given.
    pub fn start(options: Options) -> Result<RunningStore, Error> {
        if !is_account_name(&options.account) {
            return Err(Error::AccountName(options.account));
        }
        let store = match &options.dir {
            None => Store::in_memory(options.memory_limit),
            Some(dir) => Store::on_disk(Disk::open(dir)?)?,
        };
        if options.plain {
            let name = ContainerName::parse(plain::CONTAINER)?;
            store
                .create_container(&name, Vec::new())
                .map(drop)
                .or_else(ignore_existing)?;
        }
        let tls = options.https.as_ref().map(Https::acceptor).transpose()?;
        let service = Arc::new(Service {
            store,
            account: Account {
                name: options.account,
                key: options.key,
                tokens: options.https.and_then(|https| https.tokens),
                public: PublicContainers::default(),
            },
            scheme: if tls.is_some() { "https" } else { "http" },
            faults: Faults::default(),
            counters: Arc::new(Counters::default()),
            plain: options.plain,
            plain_token: options.plain_token,
            answered: Default::default(),
        });
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        let (listener, address) = {
            // `block_on` would do, but not on a thread of the caller's own runtime.
            let _inside = runtime.enter();
            listen(options.port).map_err(|source| Error::Listen {
                port: options.port,
                source,
            })?
        };
        runtime.spawn(server::accept(listener, tls, Arc::clone(&service)));
        Ok(RunningStore {
            service,
            address,
            runtime: Some(runtime),
        })
    }
}

fn listen(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

fn ignore_existing(refusal: Refusal) -> Result<(), Refusal> {
    if refusal.code == "ContainerAlreadyExists" {
        Ok(())
    } else {
        Err(refusal)
    }
}

/// A store that takes requests until it is dropped.
///
/// Beside what clients do, a test can look in and reach in directly; that is counted nowhere and
/// no fault hits it.
#[derive(Debug)]
pub struct RunningStore {
    service: Arc<Service>,
    address: SocketAddr,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl RunningStore {
    /// The account's address, path-style: `http://127.0.0.1:PORT/ACCOUNT`, or with `https`.
    pub fn url(&self) -> String {
        format!("{}/{}", self.origin(), self.service.account.name)
    }

    fn origin(&self) -> String {
        format!("{}://{}", self.service.scheme, self.address)
    }

    /// The address of the plain door: a key goes behind it. It ends with a slash.
    pub fn plain_url(&self) -> String {
        format!("{}{}", self.origin(), plain::PREFIX)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The account that it serves.
    pub fn account(&self) -> &str {
        &self.service.account.name
    }

    /// The account's key, as a client wants it: base64. A secret, unless it is the emulator's.
    pub fn key(&self) -> String {
        self.service.account.key.to_base64()
    }

    /// What clients did since the start or the last reset.
    pub fn stats(&self) -> Stats {
        self.service.counters.snapshot()
    }

    /// Counts from zero again.
    pub fn reset_stats(&self) {
        self.service.counters.reset();
    }

    /// The script of what goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.service.faults
    }

    /// Makes a container; one that is there already is left as it is.
    ///
    /// # Errors
    /// The name breaks the rules, or the disk failed.
    pub fn create_container(&self, container: &str) -> Result<(), Error> {
        let name = ContainerName::parse(container)?;
        Ok(self
            .service
            .store
            .create_container(&name, Vec::new())
            .map(drop)
            .or_else(ignore_existing)?)
    }

    /// Lets everybody read the blobs of a container from now on.
    ///
    /// # Errors
    /// The name breaks the rules.
    pub fn make_public(&self, container: &str) -> Result<(), Error> {
        let name = ContainerName::parse(container)?;
        self.service.account.public.add(&name);
        Ok(())
    }

    /// Stores a blob, over one that may be there.
    ///
    /// # Errors
    /// There is no such container, the key breaks the rules, or there is no room.
    pub fn put_blob(&self, container: &str, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let (container, key) = (ContainerName::parse(container)?, BlobKey::parse(key)?);
        let piece = self.piece(bytes)?;
        let any = Conditions::default();
        Ok(self
            .service
            .store
            .put(&container, &key, &any, Properties::default(), piece)
            .map(drop)?)
    }

    /// Moves a blob to another tier: `Hot`, `Cool`, `Cold` or `Archive`. Out of the archive it
    /// stays on its way.
    ///
    /// # Errors
    /// There is no such blob or no such tier, or the disk failed.
    pub fn set_tier(&self, container: &str, key: &str, tier: &str) -> Result<(), Error> {
        let (container, key) = (ContainerName::parse(container)?, BlobKey::parse(key)?);
        let store = &self.service.store;
        Ok(store.set_tier(&container, &key, tier).map(drop)?)
    }

    /// Makes a directory, as an account with a hierarchical namespace does when a blob is stored
    /// below it: an empty blob that cannot be overwritten.
    ///
    /// # Errors
    /// There is no such container, the key breaks the rules, or there is a blob.
    pub fn make_directory(&self, container: &str, key: &str) -> Result<(), Error> {
        let (container, key) = (ContainerName::parse(container)?, BlobKey::parse(key)?);
        let (any, properties) = (Conditions::default(), Properties::of_directory());
        let piece = self.piece(b"")?;
        let store = &self.service.store;
        Ok(store
            .put(&container, &key, &any, properties, piece)
            .map(drop)?)
    }

    /// Leaves a block waiting under a key, as a client that never finished does.
    ///
    /// # Errors
    /// There is no such container, a name breaks the rules, or blocks of another id length wait.
    pub fn leave_block(
        &self,
        container: &str,
        key: &str,
        id_base64: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let (container, key) = (ContainerName::parse(container)?, BlobKey::parse(key)?);
        let id = BlockId::from_query(Some(id_base64))?;
        Ok(self
            .service
            .store
            .stage(&container, &key, id, self.piece(bytes)?)?)
    }

    fn piece(&self, bytes: &[u8]) -> Result<Arc<Piece>, Refusal> {
        let mut writer = self.service.store.writer()?;
        writer.push(bytes, 0)?;
        writer.finish()
    }

    /// A blob's bytes; `None` if there is no such blob.
    ///
    /// # Errors
    /// There is no such container, or the disk failed.
    pub fn blob(&self, container: &str, key: &str) -> Result<Option<Bytes>, Error> {
        let Some(blob) = found(
            self.service
                .store
                .blob(&ContainerName::parse(container)?, &BlobKey::parse(key)?),
        )?
        else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < blob.content.len() {
            let read = blob
                .content
                .read(bytes.len() as u64, u64::MAX)
                .map_err(|error| Refusal::disk(&error))?;
            bytes.extend_from_slice(&read);
        }
        Ok(Some(bytes.into()))
    }

    /// The keys of a container's blobs, in order.
    ///
    /// # Errors
    /// There is no such container.
    pub fn keys(&self, container: &str) -> Result<Vec<String>, Error> {
        Ok(self.service.store.keys(&ContainerName::parse(container)?)?)
    }

    /// How many blocks wait under a key for a Put Block List.
    ///
    /// # Errors
    /// There is no such container.
    pub fn uncommitted_blocks(&self, container: &str, key: &str) -> Result<usize, Error> {
        let (container, key) = (ContainerName::parse(container)?, BlobKey::parse(key)?);
        Ok(found(self.service.store.blocks_of(&container, &key))?
            .map_or(0, |(_, waiting)| waiting.len()))
    }

    /// Removes a blob, and says whether there was one.
    ///
    /// # Errors
    /// There is no such container, or the disk failed.
    pub fn delete_blob(&self, container: &str, key: &str) -> Result<bool, Error> {
        let (container, key) = (ContainerName::parse(container)?, BlobKey::parse(key)?);
        Ok(found(
            self.service
                .store
                .delete(&container, &key, &Conditions::default()),
        )?
        .is_some())
    }
}

impl Drop for RunningStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Unlike a plain drop, this may be done on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}

fn found<T>(result: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.code == "BlobNotFound" => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            code: refusal.code,
            message: refusal.message,
        }
    }
}
