//! Loads, checks, sandboxes, drives and swaps build-cache backends that are
//! WebAssembly components.

mod access;
mod attributes;
mod bindings;
mod cache;
mod compiled;
mod content;
mod description;
mod digest;
mod error;
mod event;
mod files;
mod grants;
mod host;
mod http;
mod instance;
mod limits;
mod manifest;
pub mod oci_layout;
mod plugin;
mod receive;
mod records;
mod registry;
mod secrets;
mod state;
mod text;
mod transfer;

pub use access::{Access, Attempt};
pub use attributes::{CacheSpec, Mode, SpecError};
pub use cache::{BlobInfo, ByteStream, Cache, ExportSummary, Imported, Loaded, ManifestInfo};
pub use content::{Content, DirContent, MemoryContent};
pub use description::{Attribute, Description, Variable};
pub use digest::{Digest, InvalidDigest};
pub use error::Error;
pub use event::Event;
pub use files::Files;
pub use grants::{Authorities, AuthorityPattern, Grants, Variables};
pub use host::{Host, HostOptions};
pub use http::HttpOptions;
pub use manifest::{Layer, Manifest, ManifestError};
pub use plugin::{OpenOptions, Plugin};
pub use records::{Pruned, RecordsError};
pub use registry::{LiveCache, Registry};
pub use transfer::{Fetch, FetchOptions};
