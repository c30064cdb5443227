//! The contract's world beside `backend` and `inventory`: single layers and
//! names, each call in the contract's types around one of `cache`.

pub(crate) mod convert;
mod layers;
mod names;
