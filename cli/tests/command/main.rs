//! The command as its users meet it: the built program, the built components,
//! and a store that checks signatures.

mod check;
mod misuse;
mod one_blob;
mod plugins;
mod pull;
mod push;
mod stopping;
mod world;
