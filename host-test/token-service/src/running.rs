//! A running service: how it is started, told what to do, looked into and stopped.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::arc::{ARC_KEY_DIR, ArcKeys};
use crate::certificates::{ClientCertificate, PrivateCa, ServerCertificate};
use crate::clients::{Clients, Credential};
use crate::endpoint::{Door, Endpoint, Protocol};
use crate::error::Error;
use crate::expiry::ExpiresOn;
use crate::identity::Identities;
use crate::keys::RsaKey;
use crate::random;
use crate::record::{Record, Seen};
use crate::script::{Fault, Script};
use crate::secret::Secret;
use crate::server;
use crate::service::{Service, State, unix_now};
use crate::token::{Lifetime, TokenVerifier};

/// How a service is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one tenant that Entra knows.
    pub tenant: String,
    /// Names and addresses that server certificates are for, beside the loopback ones.
    pub names: Vec<String>,
    /// How long tokens are good, in seconds.
    pub token_lifetime: u64,
    /// The `refresh_in` of the answers, in seconds; `None` to leave it out.
    pub refresh_in: Option<u64>,
    /// The `sub` of GitHub's tokens.
    pub github_subject: String,
    /// Where the files go; `None` for a folder that is deleted at the end.
    pub dir: Option<PathBuf>,
    /// Where Azure Arc's keys go; `None` for `arc` in the folder above.
    pub arc_key_dir: Option<PathBuf>,
    /// Where the challenges say that they are. The protocol fixes it; a host that hands files to a
    /// sandbox can map it to [`Running::arc_key_dir`].
    pub arc_announced_dir: PathBuf,
}

impl Default for Options {
    /// Tokens of an hour, as Entra's, without `refresh_in`; files in a folder of its own.
    fn default() -> Self {
        Self {
            tenant: "7e4a0000-0000-4000-8000-000000000001".to_owned(),
            names: Vec::new(),
            token_lifetime: 3600,
            refresh_in: None,
            github_subject: "repo:octo-org/octo-repo:ref:refs/heads/main".to_owned(),
            dir: None,
            arc_key_dir: None,
            arc_announced_dir: PathBuf::from(ARC_KEY_DIR),
        }
    }
}

/// The service before it runs.
#[derive(Debug)]
pub struct TokenService;

impl TokenService {
    /// Starts a service on threads of its own, every door on a free port of the loopback
    /// interface. It takes requests when this returns.
    ///
    /// # Errors
    /// A file cannot be written, a name is none, or the system refuses to listen.
    pub fn start(options: Options) -> Result<Running, Error> {
        let folder = Folder::open(&options)?;
        let ca = PrivateCa::generate()?;
        let server = ca.server(&options.names)?;
        let fabric = ServerCertificate::self_signed()?;
        folder.write(CA_FILE, ca.pem())?;
        folder.write(CERTIFICATE_FILE, &server.certificate_pem)?;
        folder.write(KEY_FILE, server.key_pem.expose())?;
        let service = Arc::new(Service {
            state: Mutex::new(State {
                clients: Clients::default(),
                identities: Identities {
                    system_assigned: true,
                    user_assigned: Vec::new(),
                },
                lifetime: Lifetime {
                    seconds: options.token_lifetime,
                    refresh_in: options.refresh_in,
                },
                expires_on: None,
            }),
            tenant: options.tenant,
            tokens: TokenVerifier::new()?,
            github: github_key()?,
            github_subject: options.github_subject,
            host_secret: Secret::new(random::hex(32)),
            arc: ArcKeys::new(folder.arc_keys.clone(), options.arc_announced_dir),
            script: Script::default(),
            record: Record::default(),
        });
        service.record.keep_secret(service.host_secret.clone());
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        // Makes the listeners this runtime's, also on a thread of another one.
        let entered = runtime.enter();
        let mut addresses = Vec::new();
        for door in Door::ALL {
            let tls = match door.protocol() {
                Protocol::Http => None,
                Protocol::Https => Some(server::tls(&server)?),
                Protocol::SelfSigned => Some(server::tls(&fabric)?),
            };
            let listener = listen().map_err(Error::Listen)?;
            addresses.push((door, listener.local_addr().map_err(Error::Listen)?));
            runtime.spawn(server::accept(listener, door, tls, Arc::clone(&service)));
        }
        drop(entered);
        Ok(Running {
            service,
            ca,
            fabric_thumbprint: fabric.thumbprint(),
            fabric_pem: fabric.certificate_pem,
            addresses,
            folder,
            runtime: Some(runtime),
        })
    }
}

/// Binds without waiting, so that a test may start a service on a runtime of its own.
fn listen() -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// GitHub's key. An RSA key takes its time, so that all services of a process share one.
fn github_key() -> Result<&'static RsaKey, Error> {
    static KEY: OnceLock<RsaKey> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = KEY.get() {
        return Ok(key);
    }
    let key = RsaKey::generate()?;
    Ok(KEY.get_or_init(|| key))
}

const CA_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "server.pem";
const KEY_FILE: &str = "server-key.pem";

/// Where the files are.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    arc_keys: PathBuf,
    /// Deletes the folder at the end, unless the caller named one.
    _temporary: Option<TempDir>,
}

impl Folder {
    fn open(options: &Options) -> Result<Self, Error> {
        let (path, temporary) = match &options.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let dir =
                    TempDir::with_prefix("token-service-").map_err(|source| Error::Write {
                        path: std::env::temp_dir(),
                        source,
                    })?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let arc_keys = options.arc_key_dir.clone();
        let arc_keys = arc_keys.unwrap_or_else(|| path.join("arc"));
        for dir in [&path, &arc_keys] {
            fs::create_dir_all(dir).map_err(|source| Error::Write {
                path: dir.clone(),
                source,
            })?;
        }
        Ok(Self {
            path,
            arc_keys,
            _temporary: temporary,
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path, source })
    }
}

/// A service that takes requests until it is dropped.
#[derive(Debug)]
pub struct Running {
    pub(crate) service: Arc<Service>,
    ca: PrivateCa,
    pub(crate) fabric_thumbprint: String,
    fabric_pem: String,
    addresses: Vec<(Door, SocketAddr)>,
    folder: Folder,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl Running {
    pub(crate) fn address(&self, door: Door) -> SocketAddr {
        let found = self.addresses.iter().find(|(other, _)| *other == door);
        found.expect("every door is listened on").1
    }

    /// The certificate of the private CA, in PEM.
    pub fn ca_pem(&self) -> &str {
        self.ca.pem()
    }

    /// The file with it, for `SSL_CERT_FILE` and the like.
    pub fn ca_path(&self) -> PathBuf {
        self.folder.path.join(CA_FILE)
    }

    /// The file with the certificate of another server on this machine, such as Azurite's `--cert`.
    /// It is for the loopback names and [`Options::names`].
    pub fn server_certificate_path(&self) -> PathBuf {
        self.folder.path.join(CERTIFICATE_FILE)
    }

    /// The file with its key, such as Azurite's `--key`.
    pub fn server_key_path(&self) -> PathBuf {
        self.folder.path.join(KEY_FILE)
    }

    /// The certificate of the Service Fabric cluster, in PEM. It is signed by nobody.
    pub fn fabric_certificate_pem(&self) -> &str {
        &self.fabric_pem
    }

    /// The folder that Azure Arc's keys are written to.
    pub fn arc_key_dir(&self) -> &Path {
        self.service.arc.dir()
    }

    /// Makes a certificate for a client; it is registered nowhere yet. This takes a good part of a
    /// second.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn client_certificate(&self, name: &str) -> Result<ClientCertificate, Error> {
        self.ca.client(name)
    }

    /// Lets a client prove itself with this too.
    pub fn register_client(&self, client_id: &str, credential: Credential) {
        self.service.state().clients.register(client_id, credential);
    }

    /// Lets a client prove itself with nothing but this from now on.
    pub fn rotate_client(&self, client_id: &str, credential: Credential) {
        self.service.state().clients.rotate(client_id, credential);
    }

    /// Gives the managed identity hosts a user-assigned identity.
    pub fn assign_identity(&self, client_id: &str) {
        let identities = &mut self.service.state().identities;
        identities.user_assigned.push(client_id.to_owned());
    }

    /// Says whether the hosts have a system-assigned identity, as they do at first.
    pub fn set_system_identity(&self, assigned: bool) {
        self.service.state().identities.system_assigned = assigned;
    }

    /// Has every flavour write `expires_on` in this way; `None` for each flavour's own.
    pub fn write_expires_on(&self, way: Option<ExpiresOn>) {
        self.service.state().expires_on = way;
    }

    /// Gives tokens another lifetime from now on, in seconds.
    pub fn set_lifetime(&self, seconds: u64, refresh_in: Option<u64>) {
        self.service.state().lifetime = Lifetime {
            seconds,
            refresh_in,
        };
    }

    /// Makes every token that was issued worthless.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn revoke_tokens(&self) -> Result<(), Error> {
        self.service.tokens.rotate()
    }

    /// Makes a token without a request, for a client of this id.
    pub fn token(&self, client_id: &str) -> Secret {
        let lifetime = self.service.state().lifetime;
        self.service.issue(client_id, unix_now(), lifetime)
    }

    /// What a store checks tokens with.
    pub fn verifier(&self) -> TokenVerifier {
        self.service.tokens.clone()
    }

    /// Adds a rule of what goes wrong.
    pub fn fault(&self, fault: Fault) {
        self.service.script.push(fault);
    }

    /// Lets all go well again.
    pub fn clear_faults(&self) {
        self.service.script.clear();
    }

    /// The requests since the start or the last reset, in the order of their ends.
    pub fn seen(&self) -> Vec<Seen> {
        self.service.record.seen()
    }

    /// How many of them an endpoint had. Requests that a fault hit count too.
    pub fn requests(&self, endpoint: Endpoint) -> usize {
        self.service.record.count(endpoint)
    }

    /// Forgets the requests.
    pub fn reset_requests(&self) {
        self.service.record.reset();
    }

    /// Every secret that went over the wire, either way, since the start: tokens, assertions,
    /// passwords, keys. None may show in any output.
    pub fn secrets(&self) -> Vec<Secret> {
        self.service.record.secrets()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Unlike a plain drop, this may be done on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}
