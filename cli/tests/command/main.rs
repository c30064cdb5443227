//! The command as its users meet it: the built program, the built components,
//! and a store that checks signatures.

mod check;
mod misuse;
mod names;
mod plugins;
mod pull;
mod push;
mod secrecy;
mod stopping;
mod terminal;
mod world;
