//! Those files of `build-cache-host` that read what others wrote, compiled
//! from where they stand. The crate itself would bring wasmtime, which takes a
//! quarter of an hour to compile with all that fuzzing watches.

#[path = "../../../host/src/attributes.rs"]
mod attributes;
#[path = "../../../host/src/content.rs"]
mod content;
#[path = "../../../host/src/digest.rs"]
mod digest;
#[path = "../../../host/src/fuzzing/mod.rs"]
pub mod fuzzing;
#[path = "../../../host/src/manifest.rs"]
mod manifest;
#[path = "../../../host/src/oci_layout/mod.rs"]
pub mod oci_layout;
#[path = "../../../host/src/records/mod.rs"]
mod records;
#[path = "../../../host/src/secrets.rs"]
mod secrets;
#[path = "../../../host/src/shown.rs"]
mod shown;
#[path = "../../../host/src/text.rs"]
mod text;
#[path = "../../../host/src/typed.rs"]
mod typed;

pub use attributes::CacheSpec;
pub use content::{Content, DirContent};
pub use digest::{Digest, InvalidDigest};
pub use manifest::{Layer, Manifest, ManifestError};
pub use records::{Pruned, RecordsError};
