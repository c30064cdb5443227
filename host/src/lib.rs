//! Loads, checks, sandboxes, drives and swaps build-cache backends that are
//! WebAssembly components.

mod digest;
mod manifest;

pub use digest::{Digest, InvalidDigest};
pub use manifest::{Layer, Manifest};
