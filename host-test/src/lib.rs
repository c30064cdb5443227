//! The harness: what a backend must do, whichever store it serves, and the
//! means to see whether it does.
//!
//! [`conformance`] is the suite that every backend has to pass; it knows no
//! store. The rest serves this repository's own tests in `tests/harness`:
//! layers that are made up as they are read ([`sample`]), BuildKit's own caches
//! ([`fixtures`]), ways into a store past its backend ([`store`]), pushes and
//! pulls under random faults ([`rounds`]), and Azurite ([`azurite`]).

pub mod azurite;
pub mod conformance;
mod failure;
pub mod fixtures;
pub mod rounds;
pub mod sample;
pub mod store;

pub use failure::{Failure, NotRun, Outcome};
