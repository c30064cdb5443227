//! Loads, checks, sandboxes, drives and swaps build-cache backends that are
//! WebAssembly components.
//!
//! A [`Host`] loads a [`Plugin`], which opens [`Cache`]s, each in an instance of
//! its own that reaches what its [`Grants`] say. A [`Registry`] swaps one plugin
//! for another while calls run. [`Content`] is what a build tool implements to
//! lend its layers, [`Fetch`] brings layers into files, and [`oci_layout`] reads
//! and writes BuildKit's local cache directories.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use build_cache_host::oci_layout::{Layout, VerifiedContent};
//! use build_cache_host::{Grants, Host, HostOptions, OpenOptions};
//!
//! let layout = Layout::open("cache").await?;
//! let manifest = layout.read(None).await?;
//! let plugin = Host::new(HostOptions::default())?.load("azblob.wasm").await?;
//! let options = OpenOptions {
//!     grants: Grants::from_environment(plugin.description()),
//!     content: Some(Arc::new(VerifiedContent::new(layout, &manifest))),
//!     ..OpenOptions::default()
//! };
//! let attributes = [("name".to_owned(), "app".to_owned())];
//! let cache = plugin.open(&attributes, options).await?;
//! println!("{:?}", cache.export(&manifest).await?);
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod access;
mod activity;
mod answers;
mod attributes;
mod bindings;
mod cache;
mod capacity;
mod command_identity;
mod compiled;
mod content;
mod contract;
mod description;
mod digest;
mod error;
mod event;
mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod grants;
mod host;
mod http;
mod identity;
mod instance;
mod limits;
mod listener;
mod live;
mod manifest;
mod nearest;
pub mod oci_layout;
mod passage;
mod places;
mod plugin;
mod policy;
mod reach;
mod receive;
mod records;
mod registry;
mod secrets;
pub mod shown;
mod state;
mod text;
mod transfer;
mod typed;

pub use access::{Access, Attempt};
pub use attributes::{CacheSpec, FieldFault, Mode, SpecError};
pub use cache::{
    BlobInfo, ByteStream, Cache, ExportSummary, Imported, Loaded, ManifestInfo, NamedManifest,
    Precondition, StoreOutcome, StoredLayer,
};
pub use capacity::{Threads, TooFewThreads, raise_open_files};
pub use command_identity::{CommandIdentities, CommandIdentity};
pub use content::{Content, DirContent, MemoryContent};
pub use contract::Contract;
pub use description::{Attribute, Description, Variable};
pub use digest::{Digest, InvalidDigest};
pub use error::Error;
pub use event::Event;
pub use files::Files;
pub use grants::{Grants, Variables};
pub use host::{Host, HostOptions};
pub use http::HttpOptions;
pub use identity::{AccessToken, Identity};
pub use live::{Lease, Lifecycle, LiveCache};
pub use manifest::{Layer, Manifest, ManifestError};
pub use plugin::{OpenOptions, Plugin};
pub use policy::{Policy, Wishes};
pub use reach::{Authorities, AuthorityPattern};
pub use records::{Pruned, RecordsError};
pub use registry::Registry;
pub use text::Scrubber;
pub use transfer::{Fetch, FetchOptions};
