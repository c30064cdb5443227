//! Our own contestant: the host library with the azblob component, at its default settings.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bench_contest::{Limits, Meter, Place, Report, Set, Task, Work, destination};
use build_cache_host::{
    Cache, DirContent, Fetch, FetchOptions, Host, HostOptions, Layer, Manifest, OpenOptions, Plugin,
};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

/// As many layers are open at a time as in the command.
const LAYERS_AT_ONCE: usize = 32;

/// What the component and the host do at once by default, for the peers to have the same.
pub const LIMITS: Limits = Limits {
    questions: 64,
    transfers: 16,
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
        Work::Pull { .. } => pull(&cache).await?,
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
    let attributes = attributes(&task.place, &task.names);
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

async fn pull(cache: &Cache) -> Result<()> {
    let Some(manifest) = import(cache).await?.pop() else {
        bail!("the store has no such cache");
    };
    let fetch = Fetch::new(cache.clone(), FetchOptions::default());
    stream::iter(manifest.layers)
        .map(|layer| {
            let fetch = fetch.clone();
            async move {
                let path = Path::new("a file without a name");
                let file = destination()?;
                let fetched = fetch.layer(&layer.blob, layer.size, file, path, &|_| ());
                fetched.await.with_context(|| layer.blob.to_string())
            }
        })
        .buffer_unordered(LAYERS_AT_ONCE)
        .try_collect()
        .await
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
