//! `build-cache serve` and `build-cache with`: BuildKit uses a plugin directly,
//! through a registry on this machine.

mod args;
mod doorway;
mod failed_store;
mod serve;
mod setup;
mod signals;
mod with;

pub use args::{ServeArgs, WithArgs};
pub use serve::run as serve;
pub use with::run as with;
