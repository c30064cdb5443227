//! Loads, checks, sandboxes, drives and swaps build-cache backends that are
//! WebAssembly components.

mod bindings;
mod cache;
mod compiled;
mod content;
mod description;
mod digest;
mod error;
mod event;
mod grants;
mod host;
mod http;
mod instance;
mod limits;
mod manifest;
mod plugin;
mod receive;
mod records;
mod state;
mod text;

pub use cache::{BlobInfo, ByteStream, Cache, ExportSummary, Imported, Loaded, ManifestInfo};
pub use content::{Content, MemoryContent};
pub use description::{Attribute, Description, Variable};
pub use digest::{Digest, InvalidDigest};
pub use error::Error;
pub use event::Event;
pub use grants::{Authorities, AuthorityPattern, Grants, Variables};
pub use host::{Host, HostOptions};
pub use http::HttpOptions;
pub use manifest::{Layer, Manifest, ManifestError};
pub use plugin::{OpenOptions, Plugin};
pub use records::{Pruned, RecordsError};
