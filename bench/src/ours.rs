//! Our own contestant: the host library with the azblob component, at its default settings where the
//! case is not about those.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bench_contest::{Limits, Meter, Place, Pulled, Report, Set, Task, Work, destination};
use build_cache_host::{
    Cache, DirContent, Fetch, FetchOptions, Host, HostOptions, Layer, Manifest, OpenOptions, Plugin,
};
use bytes::Bytes;
use futures::future::try_join;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

/// A range of a large layer, in bytes, where [`Fetch`] does not choose it; the native clients'.
const RANGE_BYTES: u64 = 8 << 20;

/// Ranges that wait for the file that they are written to, as with the native clients.
const WRITE_BEHIND: usize = 4;

/// What the component and the host do at once by default, for the peers to have the same.
pub const LIMITS: Limits = Limits {
    questions: 64,
    transfers: 16,
    small_transfers: 64,
    part_bytes: None,
};

/// Does a task with a plugin from the compiled cache, and measures from opening the cache on.
pub async fn perform(task: &Task, plugin: &Path, compiled: &Path) -> Result<Report> {
    let host = Host::new(HostOptions {
        compiled_cache: Some(compiled.to_owned()),
        ..HostOptions::default()
    })?;
    let plugin = host.load(plugin).await?;
    let set = Set::open(&task.set)?;
    let manifest = manifest(&set)?;

    let meter = Meter::start();
    let cache = open(&plugin, task, &set).await?;
    match task.work {
        Work::Push => {
            cache.export(&manifest).await?;
        }
        Work::Pull { verify: true } => pull(&cache, task.limits).await?,
        Work::Pull { verify: false } => pull_bytes_alone(&cache).await?,
        Work::Import => {
            let names = import(&cache).await?.len();
            ensure!(names == task.names.len(), "only {names} names were found");
        }
        Work::List => {
            let count = cache.blobs().await?.try_fold(0, async |n, _| Ok(n + 1));
            let count: usize = count.await?;
            ensure!(
                count >= set.layers.len(),
                "the listing has only {count} blobs"
            );
        }
    }
    let report = meter.stop();
    Ok(Report {
        guest_memory_bytes: Some(cache.peak_memory_bytes() as u64),
        ..report
    })
}

/// Opens the cache of a task.
pub async fn open(plugin: &Plugin, task: &Task, set: &Set) -> Result<Cache> {
    let options = OpenOptions {
        content: Some(Arc::new(DirContent::new(set.folder.join("blobs")))),
        ..OpenOptions::default()
    };
    let mut attributes = attributes(&task.place, &task.names);
    attributes.extend(settings(task.limits));
    Ok(plugin.open(&attributes, options).await?)
}

/// The attributes that a user would give.
pub fn attributes(place: &Place, names: &[String]) -> Vec<(String, String)> {
    [
        ("account_url", place.account_url.clone()),
        ("account_name", place.account.clone()),
        ("secret_access_key", place.key.clone()),
        ("container", place.container.clone()),
        ("name", names.join(";")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What a user would set to have these limits.
fn settings(limits: Limits) -> impl Iterator<Item = (String, String)> {
    let parallelism = (limits.transfers != LIMITS.transfers).then_some(limits.transfers as u64);
    let settings = [
        ("parallelism", parallelism),
        ("block_size", limits.part_bytes),
    ];
    let set = |(name, value): (&str, Option<u64>)| Some((name.to_owned(), value?.to_string()));
    settings.into_iter().filter_map(set)
}

/// The caches under all names, whole.
async fn import(cache: &Cache) -> Result<Vec<Manifest>> {
    let imported = cache.import().await?;
    let whole = imported.into_iter().map(|imported| {
        let loaded = imported.outcome?;
        let missing = loaded.missing.len();
        ensure!(missing == 0, "{} lacks {missing} layers", imported.name);
        Ok(loaded.manifest)
    });
    whole.collect()
}

/// As the command does it.
async fn pull(cache: &Cache, limits: Limits) -> Result<()> {
    let manifest = import_one(cache).await?;
    let default = FetchOptions::default();
    let options = FetchOptions {
        parallelism: limits.transfers,
        range_bytes: limits.part_bytes.unwrap_or(default.range_bytes),
        ..default
    };
    let fetch = Fetch::new(cache.clone(), options);
    let fetch = &fetch;
    stream::iter(manifest.layers)
        .map(|layer| async move {
            let path = Path::new("a file without a name");
            let file = destination(layer.size)?;
            let fetched = fetch.layer(&layer.blob, layer.size, file, path, &|_| ());
            fetched.await.with_context(|| layer.blob.to_string())
        })
        .buffer_unordered(fetch.layers_at_once())
        .try_collect()
        .await
}

async fn import_one(cache: &Cache) -> Result<Manifest> {
    let manifest = import(cache).await?.pop();
    manifest.context("the store has no such cache")
}

/// As a build tool may do it that checks digests elsewhere: the layers' bytes in their order, read
/// as the native clients read them, and written as they write.
async fn pull_bytes_alone(cache: &Cache) -> Result<()> {
    let manifest = import_one(cache).await?;
    let layers = manifest.layers.into_iter();
    let (small, large): (Vec<_>, Vec<_>) = layers.partition(|layer| layer.size <= Limits::SMALL);
    let read = |layers, limit| {
        stream::iter(layers)
            .map(|layer| read_layer(cache, layer))
            .buffer_unordered(limit)
            .try_collect::<()>()
    };
    let small = read(small, LIMITS.small_transfers);
    try_join(small, read(large, LIMITS.transfers)).await?;
    Ok(())
}

async fn read_layer(cache: &Cache, layer: Layer) -> Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Vec<Bytes>>(WRITE_BEHIND);
    let size = layer.size;
    let asked_for = bench_contest::Layer {
        digest: layer.blob.to_string(),
        size,
    };
    let writing = tokio::task::spawn_blocking(move || {
        let mut pulled = Pulled::new(size, false)?;
        while let Some(chunks) = receiver.blocking_recv() {
            chunks.iter().try_for_each(|chunk| pulled.push(chunk))?;
        }
        pulled.finish(&asked_for)
    });
    let mut ranges = stream::iter((0..size).step_by(RANGE_BYTES as usize))
        .map(|offset| {
            let (cache, blob) = (cache.clone(), layer.blob.clone());
            tokio::spawn(async move {
                let chunks = cache.read(&blob, offset, Some(RANGE_BYTES.min(size - offset)));
                let chunks = chunks.await?.context("the store has no such layer")?;
                Ok::<Vec<Bytes>, anyhow::Error>(chunks.try_collect().await?)
            })
        })
        .buffered(LIMITS.transfers);
    while let Some(chunks) = ranges.next().await {
        // Where the writer is gone, it tells why.
        if sender.send(chunks??).await.is_err() {
            break;
        }
    }
    drop(sender);
    writing.await?
}

fn manifest(set: &Set) -> Result<Manifest> {
    let layers = set.layers.iter().enumerate().map(|(number, layer)| {
        Ok(Layer {
            blob: layer.digest.parse()?,
            size: layer.size,
            media_type: bench_contest::Layer::MEDIA_TYPE.to_owned(),
            diff_id: layer.diff_id().parse()?,
            created_at: Some(bench_contest::Layer::CREATED_AT.to_owned()),
            parent: u32::try_from(number)?.checked_sub(1),
        })
    });
    Ok(Manifest {
        layers: layers.collect::<Result<_>>()?,
        records: set.records(),
    })
}
