//! The service, as plain clients see it.

mod common;
mod entra;
mod faults;
mod identity;
