//! The harness: what this repository's backends and host must do, on real
//! stores. One program, as linking wasmtime takes its time.

mod azurite_credentials;
mod bad_input;
mod checks;
mod conformance;
mod credentials_leaks;
mod credentials_program;
mod credentials_renewal;
mod credentials_world;
mod faults;
mod fixtures;
mod hostile;
mod kills;
mod leftovers;
mod lifecycle;
mod limits;
mod memory;
mod names;
mod one_blob;
mod patience;
mod refused_components;
mod requests;
mod retries;
mod setup;
mod swap;
mod versions;
mod wit;
