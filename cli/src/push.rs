//! `build-cache push`: from a directory to a store. A layer that nobody can use,
//! here or in the store, costs the steps that need it, and not the push.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use build_cache_host::oci_layout::{self, Layout, LayoutError, Usable, VerifiedContent};
use build_cache_host::{
    Cache, CacheSpec, Content, Digest, Error, Event, ExportSummary, Manifest, Mode,
};
use indicatif::DecimalBytes;
use serde::Serialize;

use crate::args::PushArgs;
use crate::console::{Console, number, seconds};
use crate::progress::Progress;
use crate::tally::blobs;
use crate::{session, spec};

/// What a failure comes to.
const FAILED: &str = "the cache was not pushed";

/// What a push did.
#[derive(Serialize)]
struct Pushed {
    directory: String,
    r#type: String,
    /// The names that the cache was stored under.
    names: Vec<String>,
    layers: usize,
    bytes: u64,
    /// Layers that nobody can use, and those that lie on them.
    layers_left_out: usize,
    #[serde(flatten)]
    export: ExportSummary,
    seconds: f64,
}

/// What the plugin said of its work so far.
#[derive(Default)]
struct Heard {
    /// The names that were written.
    names: Vec<String>,
    /// The layers that are durable, and whether this push sent them.
    durable: HashMap<Digest, bool>,
}

/// Pushes, reports, and turns a failure into a warning where the user asked
/// for that.
pub async fn run(args: &PushArgs, console: &Console) -> Result<()> {
    let spec = match spec::read("--to", &args.to, &args.name) {
        Err(error) if spec::ignores(&args.to, &error) => return console.ignored(FAILED, &error),
        spec => spec?,
    };
    match push(args, &spec, console).await {
        Ok(pushed) => console.summary(&pushed.text(console), &pushed),
        Err(error) if is_empty(&error) => {
            let pushed = Pushed::nothing(args, &spec, console);
            console.summary(&format!("nothing to push: {error}"), &pushed)
        }
        Err(error) if spec.ignore_error => console.ignored(FAILED, &error),
        Err(error) => Err(error),
    }
}

async fn push(args: &PushArgs, spec: &CacheSpec, console: &Console) -> Result<Pushed> {
    let layout = Layout::open(&args.dir).await?;
    let usable = layout.read_usable(args.tag.as_deref()).await?;
    say_what_is_left_out(&usable, console);
    let mut left_out = usable.layers_left_out;
    let manifest = select(usable.manifest, spec.mode)?;
    layout.check(&manifest).await?;
    oci_layout::warnings(&manifest)?
        .iter()
        .for_each(|warning| console.warn(&warning.to_string()));
    let (layers, mut bytes) = blobs(&manifest);
    let mut count = layers.len();

    let plugin = session::load(spec, &args.plugin, &args.network).await?;
    let progress = Arc::new(Progress::new(console, "sending", "sent"));
    progress.expect(layers);
    let heard = Arc::new(Mutex::new(Heard::default()));
    let on_event = {
        let (progress, heard) = (Arc::clone(&progress), Arc::clone(&heard));
        move |event: Event| {
            progress.on_event(&event);
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::ManifestStored(name) => heard.names.push(name),
                Event::LayerStored(blob) => {
                    heard.durable.insert(blob, true);
                }
                Event::LayerReused(blob) => {
                    heard.durable.entry(blob).or_insert(false);
                }
                _ => {}
            }
        }
    };
    let content = Arc::new(VerifiedContent::new(layout, &manifest));
    let lent: Arc<dyn Content> = Arc::clone(&content) as _;
    let exported = async {
        let cache = session::open(&plugin, spec, Some(lent), Arc::new(on_event), console).await?;
        let (layers, r#type) = (number(count, "layer"), &spec.r#type);
        let (dir, total) = (args.dir.display(), DecimalBytes(bytes));
        console.note(&format!("pushing {dir} to {type}: {layers}, {total}"));
        match cache.export(&manifest).await {
            Err(error @ Error::Corrupt(_)) => {
                let durable = {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    std::mem::take(&mut heard.durable)
                };
                let rest = rest_of(&manifest, &durable, error, console)?;
                left_out += manifest.layers.len() - rest.layers.len();
                let summary = export_rest(&cache, &rest, &durable).await?;
                let (layers, rest_bytes) = blobs(&rest);
                (count, bytes) = (layers.len(), rest_bytes);
                Ok(summary)
            }
            exported => Ok(exported?),
        }
    };
    let exported = exported.await;
    progress.end();
    let export = exported.map_err(|error: anyhow::Error| match content.damage() {
        // What the backend makes of it says less.
        Some(damage) => anyhow!("{damage}; nothing was stored under its name"),
        None => error,
    })?;
    // What was heard is for showing; what was asked for is exact.
    let heard = || {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.names.clone()
    };
    let names = spec::names(spec, plugin.plugin.description()).unwrap_or_else(heard);
    Ok(Pushed {
        directory: args.dir.display().to_string(),
        r#type: spec.r#type.clone(),
        names,
        layers: count,
        bytes,
        layers_left_out: left_out,
        export,
        seconds: console.elapsed().as_secs_f64(),
    })
}

impl Pushed {
    /// There was nothing to push.
    fn nothing(args: &PushArgs, spec: &CacheSpec, console: &Console) -> Self {
        Self {
            directory: args.dir.display().to_string(),
            r#type: spec.r#type.clone(),
            names: Vec::new(),
            layers: 0,
            bytes: 0,
            layers_left_out: 0,
            export: ExportSummary {
                layers_stored: 0,
                layers_reused: 0,
                bytes_stored: 0,
                requests: 0,
                retries: 0,
            },
            seconds: console.elapsed().as_secs_f64(),
        }
    }
}

/// Whether nothing was ever stored in the directory.
fn is_empty(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<LayoutError>(),
        Some(LayoutError::Empty { .. })
    )
}

/// Names the layers in the directory that nobody can use, the first ones.
fn say_what_is_left_out(usable: &Usable, console: &Console) {
    const MOST: usize = 10;
    for left_out in usable.left_out.iter().take(MOST) {
        console.warn(&format!("{left_out}: it is left out"));
    }
    if !usable.left_out.is_empty() {
        console.warn(&format!(
            "{} and {} are left out, and a build will make them again",
            number(usable.layers_left_out, "layer"),
            number(usable.records, "result"),
        ));
    }
}

/// The cache without the layers that the store can neither use nor replace, of
/// which there must be some, and not all.
fn rest_of(
    manifest: &Manifest,
    durable: &HashMap<Digest, bool>,
    error: Error,
    console: &Console,
) -> Result<Manifest> {
    let blobs = manifest.layers.iter().map(|layer| &layer.blob);
    let lost = blobs.filter(|blob| !durable.contains_key(blob));
    let lost: Vec<Digest> = lost.cloned().collect();
    let rest = manifest.without_layers(&lost)?;
    if lost.is_empty() || rest.manifest.layers.is_empty() {
        return Err(error.into());
    }
    console.warn(&format!(
        "{error}. {} of {} and {} are left out, and a build will make them again",
        rest.layers.len(),
        number(manifest.layers.len(), "layer"),
        number(rest.records, "result"),
    ));
    Ok(rest.manifest)
}

/// Exports what is left of a cache. The layers that the first try sent count as
/// sent.
async fn export_rest(
    cache: &Cache,
    rest: &Manifest,
    durable: &HashMap<Digest, bool>,
) -> Result<ExportSummary> {
    let mut summary = cache.export(rest).await?;
    for (blob, size) in blobs(rest).0 {
        if durable.get(&blob) == Some(&true) && summary.layers_reused > 0 {
            summary.layers_reused -= 1;
            summary.layers_stored += 1;
            summary.bytes_stored += size;
        }
    }
    // With those of the first try, of which there is no summary.
    summary.requests = summary
        .requests
        .max(u32::try_from(cache.requests()).unwrap_or(u32::MAX));
    Ok(summary)
}

/// What of the cache is to be sent. Without a mode, and with `max`, all that
/// there is: more than the directory has cannot be sent.
fn select(manifest: Manifest, mode: Option<Mode>) -> Result<Manifest> {
    match mode {
        Some(Mode::Min) => Ok(manifest.for_mode_min()?),
        Some(Mode::Max) | None => Ok(manifest),
    }
}

impl Pushed {
    /// In words.
    fn text(&self, console: &Console) -> String {
        let Self {
            directory,
            names,
            layers,
            bytes,
            export,
            seconds,
            ..
        } = self;
        let mut text = format!("pushed {directory}");
        if !names.is_empty() {
            text.push_str(&format!(" as {}", console.names(names)));
        }
        text.push_str(&format!(
            ": {}, {}; sent {} ({}), {} already there; {}",
            number(*layers, "layer"),
            DecimalBytes(*bytes),
            export.layers_stored,
            DecimalBytes(export.bytes_stored),
            export.layers_reused,
            number(export.requests as usize, "request"),
        ));
        if export.retries > 0 {
            text.push_str(&format!(", {} of them sent again", export.retries));
        }
        text.push_str(&format!(", {}", self::seconds(*seconds)));
        text
    }
}
