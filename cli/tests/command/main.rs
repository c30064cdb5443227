//! The command as its users meet it: the built program, the built components,
//! and a store that checks signatures.

mod check;
mod gateway;
mod granting;
mod misuse;
mod names;
mod network;
mod one_blob;
mod plugins;
mod pull;
mod push;
mod scarce;
mod secrecy;
mod stopping;
mod terminal;
mod upkeep;
mod world;
