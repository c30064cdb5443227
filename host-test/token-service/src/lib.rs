//! A service that hands out tokens as Microsoft Entra ID does, as the hosts of managed identities
//! do, and as GitHub Actions does, on this machine and for tests only.
//!
//! It exists so that every way to get a token is tried against something that is as strict as the
//! real one and can be made to fail: it verifies what a client presents, counts it, and follows a
//! script of faults. It shares no code with the `azblob` component, so that an error in one is not
//! excused by the same error in the other.
//!
//! ```no_run
//! use token_service::{Action, Credential, Endpoint, Fault, Options, Secret, TokenService};
//!
//! let service = TokenService::start(Options::default())?;
//! service.register_client("builder", Credential::Secret(Secret::new("swordfish")));
//! service.fault(Fault::new(Action::throttle(1)).on(Endpoint::Token).times(2));
//! println!("{} {:?}", service.ca_path().display(), service.client_env("builder"));
//! assert_eq!(service.requests(Endpoint::Token), 0);
//! # Ok::<(), token_service::Error>(())
//! ```
//!
//! The rooms, from the outside in: `running` starts it and is what a test talks to (`environment`
//! says what its clients are given), `server` accepts connections at the doors that `endpoint`
//! lists, `service` leads one request to its answer. `entra`, `clients` and `assertion` decide who
//! gets a token from Entra, `identity` and `arc` who gets one from a managed identity's host,
//! `github` who gets one from GitHub's runner. `token` makes the tokens and verifies them.

mod arc;
mod assertion;
mod certificates;
mod clients;
mod endpoint;
mod entra;
mod environment;
mod error;
mod expiry;
mod form;
mod github;
mod identity;
mod jwt;
mod keys;
mod random;
mod record;
mod refusal;
mod running;
mod script;
mod secret;
mod server;
mod service;
mod token;

pub use arc::ARC_KEY_DIR;
pub use certificates::ClientCertificate;
pub use clients::Credential;
pub use endpoint::Endpoint;
pub use entra::Proof;
pub use environment::Environment;
pub use error::Error;
pub use expiry::ExpiresOn;
pub use github::GITHUB_ISSUER;
pub use record::Seen;
pub use running::{Options, Running, TokenService};
pub use script::{Action, Fault};
pub use secret::Secret;
pub use token::{BadToken, Claims, STORAGE_RESOURCE, TokenVerifier};
