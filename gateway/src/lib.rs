//! Lets BuildKit use a build-cache backend directly: a registry, in the protocol
//! of the [OCI distribution specification](https://github.com/opencontainers/distribution-spec),
//! in front of the contract's single layers and names. It knows no store.
//!
//! A [`Gateway`] has a [`Spool`], where layers wait on this machine's disk until
//! the store has them, and [`Store`]s, of which one may be pushed to; usually
//! these are the caches of plugins ([`CacheStore`]). [`Stats`] count what it does.
//!
//! From the outside in: `server` accepts connections; `gateway` decides which
//! room answers; `route`, `reference`, `range`, `names`, `refusal` and `reply` are
//! the protocol's forms, without I/O; `blobs`, `uploads` and `manifests` answer;
//! `convert` and `documents` know caches as registries have them; `source` (what a
//! store has), `pending` (what is on its way to it), `fetch` (what comes from it),
//! `spool`, `budget` and `intake` move the bytes; `auth`, `stats` and `page` are
//! what their names say.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use build_cache_gateway::{CacheStore, Gateway, Options, Spool, Stats};
//! use build_cache_host::{Grants, Host, HostOptions, OpenOptions, Registry};
//!
//! let plugin = Host::new(HostOptions::default())?.load("azblob.wasm").await?;
//! let spool = Spool::open("spool".as_ref(), 10 << 30)?;
//! let options = OpenOptions {
//!     grants: Grants::from_environment(plugin.description()),
//!     content: Some(Arc::clone(&spool) as _),
//!     ..OpenOptions::default()
//! };
//! let registry = Arc::new(Registry::default());
//! registry.install(plugin);
//! let store = CacheStore::new(registry.live("azblob", Vec::new(), options));
//! let to = ("azblob".to_owned(), Arc::new(store) as _);
//! let gateway = Gateway::new(Options::default(), spool, Some(to), Vec::new(), Stats::new(None));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5511").await?;
//! gateway.serve(listener, None).await;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod auth;
mod blobs;
mod budget;
mod convert;
mod documents;
mod fetch;
mod gateway;
mod intake;
mod manifests;
#[doc(hidden)]
pub mod memory;
mod names;
mod page;
mod pending;
mod range;
mod reference;
mod refusal;
mod reply;
mod route;
mod server;
mod source;
mod spool;
mod stats;
mod store;
mod uploads;

pub use auth::{Password, USER};
pub use gateway::{Gateway, Limits, Options, Unfinished};
pub use intake::Patience;
pub use names::{InvalidName, InvalidTemplate, NameTemplate, escape};
pub use reference::{Reference, Repository, Tag};
pub use spool::{Spool, Spooled};
pub use stats::{CacheLine, Notice, OnNotice, ServingPlugin, SlowRequest, Stats, Summary};
pub use store::{CacheStore, Store};
