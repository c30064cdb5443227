//! The work, the same for each native client.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, ensure};
use bench_contest::{Layer, Limits, Meter, Place, Pulled, Report, Set, Task, Work};
use bytes::Bytes;
use futures::future::{BoxFuture, try_join, try_join_all};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

/// A part of a large layer, in bytes: what both libraries' documentation has in its examples, or a
/// little more.
pub const PART_BYTES: u64 = 8 << 20;

/// Parts read from the file before they are asked for.
const READ_AHEAD: usize = 4;

/// Chunks that wait for the file that they are written to.
const WRITE_BEHIND: usize = 4;

/// What a native client can do.
pub trait Peer: Send + Sync {
    /// The size of a blob; none where there is no such blob.
    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>>>;

    /// A whole blob.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Bytes>>;

    /// Stores a small blob; only where there is none, if `new`.
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes, new: bool) -> BoxFuture<'a, Result<()>>;

    /// Stores a large blob in parts, `parts_at_once` of them side by side.
    fn put_parts<'a>(
        &'a self,
        key: &'a str,
        parts: BoxStream<'a, Result<Bytes>>,
        parts_at_once: usize,
    ) -> BoxFuture<'a, Result<()>>;

    /// The bytes of a blob in their order, fetched in parts, `parts_at_once` of them side by side.
    fn fetch<'a>(
        &'a self,
        key: &'a str,
        size: u64,
        parts_at_once: usize,
    ) -> BoxStream<'a, Result<Bytes>>;

    /// How many blobs there are whose keys begin with `prefix`.
    fn count<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<usize>>;
}

/// Does the task, and measures.
pub async fn perform<P: Peer>(task: &Task, open: impl Fn(&Place) -> Result<P>) -> Result<Report> {
    let set = Set::open(&task.set)?;
    let manifest = set.manifest();
    let meter = Meter::start();
    let peer = open(&task.place)?;
    match task.work {
        Work::Push => push(&peer, task, &set, manifest).await?,
        Work::Pull { verify } => pull(&peer, task, verify).await?,
        Work::Import => drop(import(&peer, task).await?),
        Work::List => {
            let count = peer.count("blobs/").await?;
            ensure!(
                count >= set.layers.len(),
                "the listing has only {count} blobs"
            );
        }
    }
    Ok(meter.stop())
}

async fn push(peer: &impl Peer, task: &Task, set: &Set, manifest: String) -> Result<()> {
    let there = sizes(peer, &set.layers, task.limits).await?;
    let layers = set.layers.iter().zip(there);
    let missing = layers.filter_map(|(layer, size)| size.is_none().then_some(layer));
    move_all(missing, task.limits, async |layer| {
        let key = Task::layer_key(&layer.digest);
        if layer.size > PART_BYTES {
            let parts = parts(set.folder.clone(), layer.clone());
            peer.put_parts(&key, parts, task.limits.transfers).await
        } else {
            let bytes = read(set.folder.clone(), layer.clone(), 0, layer.size).await?;
            peer.put(&key, bytes, true).await
        }
    })
    .await?;
    let manifest = Bytes::from(manifest);
    for name in &task.names {
        let key = Task::manifest_key(name);
        peer.put(&key, manifest.clone(), false).await?;
    }
    Ok(())
}

async fn pull(peer: &impl Peer, task: &Task, verify: bool) -> Result<()> {
    let layers = import(peer, task).await?;
    move_all(&layers, task.limits, async |layer| {
        fetch(peer, layer, verify, task.limits.transfers).await
    })
    .await
}

/// Does what is to be done with each layer, as many side by side as the limits allow.
async fn move_all<'a, F: Future<Output = Result<()>>>(
    layers: impl IntoIterator<Item = &'a Layer>,
    limits: Limits,
    one: impl Fn(&'a Layer) -> F,
) -> Result<()> {
    let layers = layers.into_iter();
    let (small, large): (Vec<_>, Vec<_>) = layers.partition(|layer| layer.size <= Limits::SMALL);
    let moving = |layers: Vec<&'a Layer>, limit| {
        stream::iter(layers)
            .map(&one)
            .buffer_unordered(limit)
            .try_collect::<()>()
    };
    let small = moving(small, limits.small_transfers);
    try_join(small, moving(large, limits.transfers)).await?;
    Ok(())
}

/// The layers under all names, each once, and each of them in the store.
async fn import(peer: &impl Peer, task: &Task) -> Result<Vec<Layer>> {
    let manifests = task.names.iter().map(async |name| {
        let manifest = peer.get(&Task::manifest_key(name)).await?;
        Set::layers_of(&manifest)
    });
    let mut layers = try_join_all(manifests).await?.concat();
    let mut seen = HashSet::new();
    layers.retain(|layer| seen.insert(layer.digest.clone()));
    let sizes = sizes(peer, &layers, task.limits).await?;
    for (layer, size) in layers.iter().zip(sizes) {
        ensure!(size == Some(layer.size), "the store lacks {}", layer.digest);
    }
    Ok(layers)
}

/// The sizes of the layers' blobs, in the layers' order.
async fn sizes(peer: &impl Peer, layers: &[Layer], limits: Limits) -> Result<Vec<Option<u64>>> {
    stream::iter(layers)
        .map(async |layer| peer.size(&Task::layer_key(&layer.digest)).await)
        .buffered(limits.questions)
        .try_collect()
        .await
}

/// Fetches one layer into a file. A thread of its own writes, and hashes where that is asked for,
/// while the next bytes are on their way.
async fn fetch(peer: &impl Peer, layer: &Layer, verify: bool, parts: usize) -> Result<()> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(WRITE_BEHIND);
    let writing = tokio::task::spawn_blocking({
        let layer = layer.clone();
        move || {
            let mut pulled = Pulled::new(layer.size, verify)?;
            while let Some(bytes) = receiver.blocking_recv() {
                pulled.push(&bytes)?;
            }
            pulled.finish(&layer)
        }
    });
    let key = Task::layer_key(&layer.digest);
    let mut bytes = peer.fetch(&key, layer.size, parts);
    while let Some(bytes) = bytes.try_next().await? {
        // Where the writer is gone, it tells why.
        if sender.send(bytes).await.is_err() {
            break;
        }
    }
    drop(sender);
    writing.await?
}

/// The parts of a layer's file, read a little ahead.
fn parts(folder: PathBuf, layer: Layer) -> BoxStream<'static, Result<Bytes>> {
    let folder = Arc::new(folder);
    stream::iter((0..layer.size).step_by(PART_BYTES as usize))
        .map(move |offset| {
            let length = PART_BYTES.min(layer.size - offset);
            read(folder.as_path().to_owned(), layer.clone(), offset, length)
        })
        .buffered(READ_AHEAD)
        .boxed()
}

async fn read(folder: PathBuf, layer: Layer, offset: u64, length: u64) -> Result<Bytes> {
    let reading = tokio::task::spawn_blocking(move || layer.read(&folder, offset, length));
    Ok(reading.await??.into())
}
