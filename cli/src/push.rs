//! `build-cache push`: from a directory to a store.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use build_cache_host::oci_layout::{self, Layout, VerifiedContent};
use build_cache_host::{CacheSpec, Content, Event, ExportSummary, Manifest, Mode};
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
    #[serde(flatten)]
    export: ExportSummary,
    seconds: f64,
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
        Err(error) if spec.ignore_error => console.ignored(FAILED, &error),
        Err(error) => Err(error),
    }
}

async fn push(args: &PushArgs, spec: &CacheSpec, console: &Console) -> Result<Pushed> {
    let layout = Layout::open(&args.dir).await?;
    let manifest = layout.read(args.tag.as_deref()).await?;
    let manifest = select(manifest, spec.mode)?;
    layout.check(&manifest).await?;
    oci_layout::warnings(&manifest)?
        .iter()
        .for_each(|warning| console.warn(&warning.to_string()));
    let (layers, bytes) = blobs(&manifest);
    let count = layers.len();

    let plugin = session::load(spec, &args.plugin, &args.network).await?;
    let progress = Arc::new(Progress::new(console, "sending", "sent"));
    progress.expect(layers);
    let names = Arc::new(Mutex::new(Vec::new()));
    let on_event = {
        let (progress, names) = (Arc::clone(&progress), Arc::clone(&names));
        move |event: Event| {
            progress.on_event(&event);
            if let Event::ManifestStored(name) = event {
                names
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(name);
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
        Ok(cache.export(&manifest).await?)
    };
    let exported = exported.await;
    progress.end();
    let export = exported.map_err(|error: anyhow::Error| match content.damage() {
        // What the backend makes of it says less.
        Some(damage) => anyhow!("{damage}; nothing was stored under its name"),
        None => error,
    })?;
    // What was heard is for showing; what was asked for is exact.
    let heard = || names.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let names = spec::names(spec, plugin.plugin.description()).unwrap_or_else(heard);
    Ok(Pushed {
        directory: args.dir.display().to_string(),
        r#type: spec.r#type.clone(),
        names,
        layers: count,
        bytes,
        export,
        seconds: console.elapsed().as_secs_f64(),
    })
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
            ": {}, {}; sent {} ({}), {} there before; {}",
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
