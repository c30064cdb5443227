//! The native clients that the benchmark compares the component with: `object_store` and `opendal`,
//! each used as its documentation shows for speed.
//!
//! A program of its own, which has nothing of wasmtime in it: it reads a task, does it, reports.

mod object_store_peer;
mod opendal_peer;
mod peer;

use anyhow::{Result, bail};
use bench_contest::Task;

#[tokio::main]
async fn main() -> Result<()> {
    // Their HTTP client wants to know how it would speak TLS, though here it does not.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = std::env::args().nth(1);
    let task = Task::read()?;
    let report = match name.as_deref() {
        Some("object_store") => peer::perform(&task, object_store_peer::ObjectStore::open).await?,
        Some("opendal") => peer::perform(&task, opendal_peer::Opendal::open).await?,
        _ => bail!("usage: bench-peers object_store|opendal, with a task on standard input"),
    };
    report.write()
}
