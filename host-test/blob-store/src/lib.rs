//! A blob store that speaks the part of the Azure Blob REST protocol that a build cache needs.
//!
//! It exists for three readers: the harness, which needs a store that it can watch, slow down and
//! break; the benchmarks, which need one that is never the bottleneck; and people without an
//! account, who want to see a cache come and go. It shares no code with the `azblob` component, so
//! that an error in one is not excused by the same error in the other.
//!
//! It listens on the loopback interface only and serves one account.
//!
//! ```no_run
//! use blob_store::{Action, BlobStore, Fault, OperationKind, Options};
//!
//! let store = BlobStore::start(Options::default())?;
//! store.create_container("cache")?;
//! store.faults().push(Fault::new(Action::refuse_with(503, "ServerBusy")).on(OperationKind::PutBlock).times(2));
//! println!("{} took {} requests", store.url(), store.stats().requests());
//! # Ok::<(), blob_store::Error>(())
//! ```
//!
//! The rooms, from the outside in: `server` accepts connections, `service` leads one request from
//! its head to its answer, `request` says what it asks for, `auth` whether it may, `operations`
//! do it, on the `index` (what is stored) and the `content` (the bytes).

mod admin;
mod answer;
mod auth;
mod bearer;
mod blocks;
mod checksum;
mod conditions;
mod content;
mod disk;
mod error;
mod faults;
mod https;
mod index;
mod listing;
mod names;
mod operations;
mod plain;
mod plan;
mod properties;
mod proxy;
mod public;
mod range;
mod refusal;
mod request;
mod running;
mod server;
mod service;
mod shared_key;
mod stats;
mod store;
mod upload;
mod xml;

pub use auth::AccountKey;
pub use bearer::TokenCheck;
pub use error::Error;
pub use faults::{Action, Fault, Faults};
pub use https::Https;
pub use plain::PlainToken;
pub use proxy::{Asked, Passage, Proxy};
pub use request::OperationKind;
pub use running::{BlobStore, EMULATOR_ACCOUNT, EMULATOR_KEY, Options, RunningStore};
pub use stats::Stats;
