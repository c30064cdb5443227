//! `build-cache pull`: from a store to a directory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use build_cache_host::oci_layout::{Check, LayoutWriter};
use build_cache_host::{CacheSpec, Description, Digest, Error, Fetch, Imported, Layer, Manifest};
use futures::stream::{self, StreamExt, TryStreamExt};
use indicatif::DecimalBytes;
use serde::Serialize;

use crate::args::PullArgs;
use crate::console::{Console, number, seconds};
use crate::progress::Progress;
use crate::start;
use crate::tally::blobs;
use crate::{session, spec};

/// What a failure comes to.
const FAILED: &str = "the cache was not pulled";

/// Why a part that is missing fails the pull.
const STRICT: &str = "the cache is not whole, and --strict asks for all of it";

/// What a pull did.
#[derive(Serialize)]
struct Pulled {
    directory: String,
    r#type: String,
    caches: Vec<PulledCache>,
    layers_fetched: usize,
    /// The bytes of these layers.
    bytes_fetched: u64,
    /// Layers that the directory had.
    layers_reused: usize,
    /// Layers that the store named and does not have any more.
    layers_lost: usize,
    requests: u64,
    seconds: f64,
}

/// One cache, as it is in the directory.
#[derive(Serialize)]
struct PulledCache {
    name: String,
    tags: Vec<String>,
    /// The digest of its manifest.
    digest: Digest,
    layers: usize,
    bytes: u64,
}

/// A cache that the store has.
struct Found {
    name: String,
    manifest: Manifest,
}

/// Pulls, reports, and turns a failure into a warning where the user asked
/// for that.
pub async fn run(args: &PullArgs, console: &Console) -> Result<()> {
    let spec = match spec::read("--from", &args.from, &args.name) {
        Err(error) if spec::ignores(&args.from, &error) => return console.ignored(FAILED, &error),
        spec => spec?,
    };
    match pull(args, &spec, console).await {
        Ok(pulled) => console.summary(&pulled.text(console), &pulled),
        Err(error) if spec.ignore_error => console.ignored(FAILED, &error),
        Err(error) => Err(error),
    }
}

async fn pull(args: &PullArgs, spec: &CacheSpec, console: &Console) -> Result<Pulled> {
    let plugin = session::load(spec, &args.plugin, &args.network).await?;
    let progress = Arc::new(Progress::new(console, "fetching", "fetched"));
    let on_event = {
        let progress = Arc::clone(&progress);
        Arc::new(move |event| progress.on_event(&event))
    };
    let cache = session::open(&plugin, spec, None, on_event, console).await?;
    let imported = cache.import().await?;
    say_what_is_not_there(spec, plugin.plugin.description(), &imported, console);
    let mut lost = HashSet::new();
    let found = usable(imported, args.strict, &mut lost, console)?;

    let writer = LayoutWriter::create(&args.dir).await?;
    let wanted = wanted(&writer, &found).await?;
    let there = distinct(&found) - wanted.len();
    if !found.is_empty() {
        let total = DecimalBytes(wanted.iter().map(|layer| layer.size).sum());
        let (dir, layers) = (args.dir.display(), number(wanted.len(), "layer"));
        console.note(&format!(
            "pulling into {dir}: {layers} to fetch, {total}; {there} already there"
        ));
    }
    progress.expect(wanted.iter().map(|layer| (layer.blob.clone(), layer.size)));
    let fetch = Fetch::new(cache.clone(), start::fetch_options());
    let fetched = fetch_all(&fetch, &writer, wanted, &progress, console).await;
    progress.end();
    let (fetched, mut not_fetched) = fetched?;
    if args.strict && !not_fetched.is_empty() {
        return Err(anyhow!(not_fetched.swap_remove(0)).context(STRICT));
    }
    not_fetched
        .iter()
        .for_each(|error| console.warn(&error.to_string()));
    let not_fetched: Vec<_> = not_fetched.iter().filter_map(blob_of).collect();
    lost.extend(not_fetched.iter().cloned());

    let mut caches = Vec::new();
    for found in found {
        let Some(manifest) = without(found.manifest, &found.name, &not_fetched, console)? else {
            continue;
        };
        let tags = tags(&args.tag, &found.name, caches.is_empty());
        if tags.is_empty() {
            console.warn(&format!(
                "the cache `{}` has no tag of its own, as the tag is that of the first cache",
                console.name(&found.name)
            ));
            continue;
        }
        let written = writer.finish(&manifest, &tags).await?;
        written
            .warnings
            .iter()
            .for_each(|warning| console.warn(&warning.to_string()));
        let (blobs, bytes) = blobs(&manifest);
        let layers = blobs.len();
        caches.push(PulledCache {
            name: found.name,
            tags,
            digest: written.manifest,
            layers,
            bytes,
        });
    }
    Ok(Pulled {
        directory: args.dir.display().to_string(),
        r#type: spec.r#type.clone(),
        caches,
        layers_fetched: fetched.len(),
        bytes_fetched: fetched.iter().map(|layer| layer.size).sum(),
        layers_reused: there,
        layers_lost: lost.len(),
        requests: cache.requests(),
        seconds: console.elapsed().as_secs_f64(),
    })
}

/// Says which of the names that were asked for the store does not have.
fn say_what_is_not_there(
    spec: &CacheSpec,
    description: &Description,
    imported: &[Imported],
    console: &Console,
) {
    let Some(names) = spec::names(spec, description) else {
        if imported.is_empty() {
            console.note("the store has no such cache; it is treated as empty");
        }
        return;
    };
    for name in names {
        if !imported.iter().any(|imported| imported.name == name) {
            console.note(&format!(
                "the store has no cache `{}`; it is treated as empty",
                console.name(&name)
            ));
        }
    }
}

/// The caches that a build can use, without the layers that the store lost.
/// One name that cannot be used costs no other name.
fn usable(
    imported: Vec<Imported>,
    strict: bool,
    lost: &mut HashSet<Digest>,
    console: &Console,
) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut unusable = Vec::new();
    for Imported { name, outcome } in imported {
        let usable = outcome.map_err(anyhow::Error::from).and_then(|loaded| {
            if let Some(blob) = loaded.missing.first().filter(|_| strict) {
                return Err(anyhow!(Error::LayerLost(blob.clone())).context(STRICT));
            }
            lost.extend(loaded.missing.iter().cloned());
            let whole = without(loaded.manifest, &name, &loaded.missing, console)?;
            whole.map_or(Ok(None), |whole| fit(whole, &name, strict, console))
        });
        match usable {
            Ok(Some(manifest)) => found.push(Found { name, manifest }),
            Ok(None) => {}
            Err(error) => {
                let name = console.name(&name);
                unusable.push(error.context(format!("the cache `{name}` cannot be used")))
            }
        }
    }
    if (found.is_empty() || strict) && !unusable.is_empty() {
        return Err(unusable.swap_remove(0));
    }
    for error in unusable {
        console.warn(&crate::failure::message(&error));
    }
    Ok(found)
}

/// The cache without these layers, where it needs any of them. None where
/// nothing is left of it.
fn without(
    manifest: Manifest,
    name: &str,
    missing: &[Digest],
    console: &Console,
) -> Result<Option<Manifest>> {
    if missing.is_empty() {
        return Ok(Some(manifest));
    }
    let had_layers = !manifest.layers.is_empty();
    let pruned = manifest.without_layers(missing)?;
    if !pruned.layers.is_empty() {
        console.warn(&format!(
            "the store has lost layers of `{}`: {} of {} and {} are left out, and a build will \
             make them again",
            console.name(name),
            pruned.layers.len(),
            number(manifest.layers.len(), "layer"),
            number(pruned.records, "result"),
        ));
    }
    let is_left = !had_layers || !pruned.manifest.layers.is_empty();
    Ok(is_left.then_some(pruned.manifest))
}

/// The cache without the layers with which BuildKit would fail a build. None
/// where nothing is left of it.
fn fit(
    manifest: Manifest,
    name: &str,
    strict: bool,
    console: &Console,
) -> Result<Option<Manifest>> {
    let unfit: Vec<_> = manifest.unfit_for_buildkit().take(10).collect();
    if unfit.is_empty() {
        manifest.validate()?;
        return Ok(Some(manifest));
    }
    for (_, error) in unfit {
        if strict {
            return Err(anyhow!(error).context(STRICT));
        }
        console.warn(&format!(
            "the cache `{}`: {error}: it is left out",
            console.name(name)
        ));
    }
    let pruned = manifest.without_unfit_layers()?;
    console.warn(&format!(
        "{} of {} and {} of `{}` are left out, and a build will make them again",
        pruned.layers.len(),
        number(manifest.layers.len(), "layer"),
        number(pruned.records, "result"),
        console.name(name),
    ));
    Ok((!pruned.manifest.layers.is_empty()).then_some(pruned.manifest))
}

/// The layers that the directory lacks, each once, the largest first: a large
/// one that begins last would be waited for alone.
async fn wanted(writer: &LayoutWriter, found: &[Found]) -> Result<Vec<Layer>> {
    let mut wanted = HashMap::new();
    for found in found {
        let missing = writer.missing(&found.manifest, Check::Digest).await?;
        wanted.extend(missing.into_iter().map(|layer| (layer.blob.clone(), layer)));
    }
    let mut wanted: Vec<_> = wanted.into_values().collect();
    wanted.sort_by(|a, b| (b.size, &a.blob).cmp(&(a.size, &b.blob)));
    Ok(wanted)
}

fn distinct(found: &[Found]) -> usize {
    let layers = found.iter().flat_map(|found| &found.manifest.layers);
    layers
        .map(|layer| &layer.blob)
        .collect::<HashSet<_>>()
        .len()
}

/// Fetches the layers. Returns those that are there now, and why others are
/// not: what the store has lost or spoiled is not a failure. What arrives damaged
/// is fetched a second time, as the damage may have come on the way.
async fn fetch_all(
    fetch: &Fetch,
    writer: &LayoutWriter,
    wanted: Vec<Layer>,
    progress: &Progress,
    console: &Console,
) -> Result<(Vec<Layer>, Vec<Error>)> {
    let fetching = wanted.into_iter().map(|layer| async move {
        progress.started(&layer.blob);
        let incoming = writer.begin(&layer).await?;
        let on_bytes = |bytes| progress.moved(&layer.blob, bytes);
        let try_once = async || {
            let (file, path) = (incoming.file()?, incoming.path());
            let fetching = fetch.layer(&layer.blob, layer.size, file, path, &on_bytes);
            fetching.await
        };
        let mut outcome = try_once().await;
        if let Err(error @ Error::LayerDamaged { .. }) = &outcome {
            console.warn(&format!("{error}; fetching it once more"));
            outcome = try_once().await;
        }
        match outcome {
            Ok(()) => incoming.commit(Check::Size).await?,
            Err(error) if blob_of(&error).is_some() => return Ok(Err(error)),
            Err(error) => {
                let context = format!("cannot fetch layer {}", layer.blob);
                return Err(anyhow!(error).context(context));
            }
        }
        progress.finished(&layer.blob);
        Ok(Ok(layer))
    });
    let outcomes: Vec<_> = stream::iter(fetching)
        .buffer_unordered(fetch.layers_at_once())
        .try_collect()
        .await?;
    let mut fetched = Vec::new();
    let mut lost = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(layer) => fetched.push(layer),
            Err(error) => lost.push(error),
        }
    }
    Ok((fetched, lost))
}

/// The layer whose copy in the store is lost or damaged.
fn blob_of(error: &Error) -> Option<Digest> {
    match error {
        Error::LayerLost(blob) | Error::LayerDamaged { blob, .. } => Some(blob.clone()),
        _ => None,
    }
}

/// The tags of a cache: the first has the tag that builds look for, and every
/// one its own name, unless that is the first one's.
fn tags(first_tag: &str, name: &str, is_first: bool) -> Vec<String> {
    let first = is_first.then(|| first_tag.to_owned());
    let own = (name != first_tag).then(|| name.to_owned());
    first.into_iter().chain(own).collect()
}

impl Pulled {
    /// In words.
    fn text(&self, console: &Console) -> String {
        let mut text = String::new();
        for cache in &self.caches {
            let (layers, bytes) = (number(cache.layers, "layer"), DecimalBytes(cache.bytes));
            let (name, tags) = (console.name(&cache.name), console.names(&cache.tags));
            text.push_str(&format!("{name}: {layers}, {bytes}, tagged {tags}\n"));
        }
        let directory = &self.directory;
        text.push_str(&match self.caches.first() {
            None => format!("nothing was pulled into {directory}"),
            Some(_) => format!(
                "pulled into {directory}: fetched {} ({}), {} already there",
                number(self.layers_fetched, "layer"),
                DecimalBytes(self.bytes_fetched),
                self.layers_reused,
            ),
        });
        let requests = number(self.requests as usize, "request");
        text.push_str(&format!("; {requests}, {}", seconds(self.seconds)));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cache_has_the_tag_and_each_its_name() {
        assert_eq!(tags("latest", "app", true), ["latest", "app"]);
        assert_eq!(tags("latest", "other", false), ["other"]);
        assert_eq!(tags("latest", "latest", true), ["latest"]);
        assert!(tags("latest", "latest", false).is_empty());
    }
}
