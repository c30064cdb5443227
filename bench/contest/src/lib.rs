//! What the benchmark gives to each contestant, and what it hears back.
//!
//! A contestant is a program that reads a [`Task`] from standard input, does it
//! once, and writes a [`Report`] to standard output. So each has a process of
//! its own, with its own processor time and its own peak of memory. What all of
//! them need stands here, so that none has it better: the layers ([`Set`]), the
//! clock ([`Meter`]) and the files that layers are pulled into ([`destination`]).

#![warn(missing_docs)]

mod destination;
mod manifest;
mod meter;
mod set;
mod task;

pub use destination::{Pulled, destination};
pub use meter::{Meter, cpu_seconds};
pub use set::{Layer, Set};
pub use task::{Limits, Place, Report, Task, Work};
