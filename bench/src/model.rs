//! A model of BuildKit's azblob exporter and importer: its exact sequence of requests, one after
//! another where BuildKit waits and side by side where it does not.
//!
//! It is no BuildKit: there is no compression, no solver and no Go in it, so it is never slower than
//! what it stands for. The sequence is held against what a real BuildKit sent
//! (`host-test/fixtures/buildkit/rest-trace`).

mod http_wire;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, bail, ensure};
use bench_contest::{Layer, Meter, Report, Set, Task, Work};
use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

pub use http_wire::HttpWire;

/// From this size on a layer goes in blocks, in bytes; and the size of a block.
const BLOCK_BYTES: u64 = 32 << 20;

/// Blocks under way at once.
const BLOCKS_AT_ONCE: usize = 4;

/// A request, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is there such a container?
    GetContainer,
    /// Make it.
    PutContainer,
    /// What is known of a blob.
    Head(String),
    /// A whole blob.
    Get(String),
    /// A whole blob, only where there is none.
    PutLayer(Layer),
    /// One block.
    PutBlock {
        /// The layer.
        layer: Layer,
        /// Which block.
        number: u64,
    },
    /// A blob of the blocks that were sent, only where there is none.
    PutBlockList(Layer),
    /// A whole blob, over one that may be there.
    PutManifest {
        /// Its key.
        key: String,
        /// What it says.
        text: Bytes,
    },
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// What sends a request: HTTP, or a script.
pub trait Wire {
    /// Sends one request. An answer of any status is no error.
    fn send(&self, request: Request) -> impl Future<Output = Result<Answer>>;
}

/// Does a task as BuildKit would, and measures.
pub async fn perform(task: &Task) -> Result<Report> {
    let set = Set::open(&task.set)?;
    let manifest = Bytes::from(set.manifest());
    let meter = Meter::start();
    let wire = HttpWire::open(&task.place, set.folder.clone())?;
    match task.work {
        Work::Push => export(&wire, &set.layers, &task.names, &manifest).await?,
        Work::Import => {
            // BuildKit loads its imports side by side.
            try_join_all(task.names.iter().map(|name| import(&wire, name))).await?;
        }
        Work::Pull { .. } | Work::List => bail!("the model has no such work"),
    }
    Ok(meter.stop())
}

/// An export.
async fn export(
    wire: &impl Wire,
    layers: &[Layer],
    names: &[String],
    manifest: &Bytes,
) -> Result<()> {
    find_container(wire).await?;
    for layer in layers {
        let key = Task::layer_key(&layer.digest);
        if ask(wire, Request::Head(key), &[200, 404]).await?.status == 200 {
            continue;
        }
        if layer.size < BLOCK_BYTES {
            ask(wire, Request::PutLayer(layer.clone()), &[201]).await?;
            continue;
        }
        stream::iter(0..layer.size.div_ceil(BLOCK_BYTES))
            .map(async |number| {
                let layer = layer.clone();
                ask(wire, Request::PutBlock { layer, number }, &[201]).await
            })
            .buffer_unordered(BLOCKS_AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        ask(wire, Request::PutBlockList(layer.clone()), &[201]).await?;
    }
    for name in names {
        let manifest = Request::PutManifest {
            key: Task::manifest_key(name),
            text: manifest.clone(),
        };
        ask(wire, manifest, &[201]).await?;
    }
    Ok(())
}

/// An import of one name. The layers are one chain here, so all of them are asked for.
async fn import(wire: &impl Wire, name: &str) -> Result<()> {
    find_container(wire).await?;
    let key = Task::manifest_key(name);
    ask(wire, Request::Head(key.clone()), &[200]).await?;
    let manifest = ask(wire, Request::Get(key), &[200]).await?;
    for layer in Set::layers_of(&manifest.body)? {
        let key = Task::layer_key(&layer.digest);
        ask(wire, Request::Head(key), &[200]).await?;
    }
    Ok(())
}

/// BuildKit makes the container where it is missing, even to read from it.
async fn find_container(wire: &impl Wire) -> Result<()> {
    let found = ask(wire, Request::GetContainer, &[200, 404]).await?;
    if found.status == 404 {
        ask(wire, Request::PutContainer, &[201]).await?;
    }
    Ok(())
}

/// Sends a request, which must be answered by one of these.
async fn ask(wire: &impl Wire, request: Request, expected: &[u16]) -> Result<Answer> {
    let text = format!("{request:?}");
    let answer = wire.send(request).await.with_context(|| text.clone())?;
    let status = answer.status;
    ensure!(
        expected.contains(&status),
        "{text} was answered by {status}"
    );
    Ok(answer)
}
