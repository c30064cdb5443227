//! The gateway from outside: by HTTP, in front of a store in memory.

mod doors;
mod endings;
mod exports;
mod imports;
mod replay;
mod uploads;
mod world;
