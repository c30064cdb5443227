//! What this run did, counted once: for the monitoring system, for the page, for
//! the lines at the end, and as notices for the program that embeds the gateway.

mod summary;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use build_cache_host::{Digest, Event};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::time::Instant;

pub use summary::{CacheLine, ServingPlugin, SlowRequest, Summary};

/// How many warnings, slow requests and lost layers the page shows.
const SHOWN: usize = 20;
/// How many caches the page shows; a hostile client could name any number.
const CACHES: usize = 200;
/// How many layers are told apart. Beyond that, they are only counted.
const LAYERS: usize = 200_000;
/// A request that takes longer is shown as slow.
const SLOW: Duration = Duration::from_secs(1);

/// Hears what happens, as it happens. It must be quick.
pub type OnNotice = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Notice {
    /// A request was answered.
    Request {
        /// Its method.
        method: String,
        /// Its path.
        path: String,
        /// The status of the answer.
        status: u16,
        /// How long the answer took to begin, in seconds.
        seconds: f64,
    },
    /// A cache was given to a client.
    Imported {
        /// Its name.
        name: String,
        /// How many layers it has.
        layers: usize,
        /// Their bytes.
        bytes: u64,
        /// How many layers were left out, because the store lost or spoiled them.
        left_out: usize,
    },
    /// A client asked for a cache that the store does not have.
    Absent {
        /// Its name.
        name: String,
    },
    /// A cache was stored under its name.
    Published {
        /// Its name.
        name: String,
        /// How many layers it has.
        layers: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// A layer was stored.
    Stored {
        /// The layer.
        blob: Digest,
        /// In bytes.
        bytes: u64,
        /// Whether the store had it already.
        reused: bool,
        /// How long it took, in seconds.
        seconds: f64,
    },
    /// Something that people should know and that stops nothing.
    Warning {
        /// What happened, and what follows from it.
        text: String,
    },
}

/// What happens to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerOutcome {
    /// It was sent to the store.
    Stored,
    /// The store had it.
    Reused,
    /// It was fetched from the store.
    Fetched,
    /// The store no longer has it.
    Lost,
    /// The store's copy is damaged.
    Spoiled,
}

/// Everything that was counted. Cheap to share by an [`Arc`].
pub struct Stats {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabel, Histogram>,
    lookups: Family<LookupLabels, Counter>,
    bytes: Family<DirectionLabel, Counter>,
    layers: Family<OutcomeLabel, Counter>,
    retries: Counter,
    spool_bytes: Gauge,
    uploads: Gauge,
    started: Instant,
    seen: Mutex<Seen>,
    on_notice: Option<OnNotice>,
}

#[derive(Default)]
struct Seen {
    plugins: Vec<ServingPlugin>,
    caches: BTreeMap<String, CacheLine>,
    promised: HashMap<Digest, u64>,
    wanted: HashSet<Digest>,
    slow: Vec<SlowRequest>,
    lost: Vec<String>,
    warnings: VecDeque<String>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LookupLabels {
    answered_by: &'static str,
    found: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Stats {
    /// Nothing counted yet.
    pub fn new(on_notice: Option<OnNotice>) -> Arc<Self> {
        let requests = Family::default();
        let seconds = Family::<RouteLabel, Histogram>::new_with_constructor(|| {
            Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0])
        });
        let lookups = Family::default();
        let bytes = Family::default();
        let layers = Family::default();
        let retries = Counter::default();
        let (spool_bytes, uploads) = (Gauge::default(), Gauge::default());
        let mut registry = Registry::with_prefix("build_cache_gateway");
        registry.register(
            "requests",
            "Requests by method, kind of resource and status",
            Family::clone(&requests),
        );
        registry.register(
            "request_seconds",
            "How long an answer took to begin",
            Family::clone(&seconds),
        );
        registry.register(
            "lookups",
            "Layers that clients asked about, and whether memory or the store answered",
            Family::clone(&lookups),
        );
        registry.register(
            "layer_bytes",
            "Bytes of layers: received from clients, sent to clients, stored, fetched from the store",
            Family::clone(&bytes),
        );
        registry.register(
            "layers",
            "Layers that were stored, reused, fetched, lost or found spoiled",
            Family::clone(&layers),
        );
        registry.register(
            "retries",
            "Requests to the store that were sent again",
            retries.clone(),
        );
        registry.register(
            "spool_bytes",
            "Bytes that wait on this machine for the store",
            spool_bytes.clone(),
        );
        registry.register("uploads", "Uploads that are open", uploads.clone());
        Arc::new(Self {
            registry,
            requests,
            seconds,
            lookups,
            bytes,
            layers,
            retries,
            spool_bytes,
            uploads,
            started: Instant::now(),
            seen: Mutex::default(),
            on_notice,
        })
    }

    /// The figures in the text format of OpenMetrics.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode_registry(&mut text, &self.registry);
        let mut plugins = Registry::with_prefix("build_cache_gateway");
        for plugin in &self.seen().plugins {
            plugins.register(
                "plugin",
                "Which plugin serves",
                Info::new([
                    ("role", plugin.role.clone()),
                    ("type", plugin.r#type.clone()),
                    ("version", plugin.version.clone()),
                    ("digest", plugin.digest.to_string()),
                ]),
            );
        }
        let _ = text::encode(&mut text, &plugins);
        text
    }

    /// What this run did so far.
    pub fn summary(&self) -> Summary {
        let seen = self.seen();
        let layers = |outcome| {
            let outcome = OutcomeLabel { outcome };
            self.layers.get_or_create(&outcome).get()
        };
        let bytes = |direction| {
            let direction = DirectionLabel { direction };
            self.bytes.get_or_create(&direction).get()
        };
        let wanted = seen.wanted.iter();
        Summary {
            seconds: self.started.elapsed().as_secs_f64(),
            plugins: seen.plugins.clone(),
            caches: seen.caches.clone(),
            layers_there: seen.promised.len() as u64,
            bytes_there: seen.promised.values().sum(),
            layers_wanted: wanted
                .filter(|blob| seen.promised.contains_key(*blob))
                .count() as u64,
            bytes_fetched: bytes("fetched"),
            layers_stored: layers("stored"),
            layers_reused: layers("reused"),
            bytes_stored: bytes("stored"),
            layers_lost: layers("lost") + layers("spoiled"),
            retries: self.retries.get(),
            spool_bytes: self.spool_bytes.get().cast_unsigned(),
            uploads: self.uploads.get().cast_unsigned(),
            slow: seen.slow.clone(),
            lost: seen.lost.clone(),
            warnings: seen.warnings.clone(),
        }
    }

    /// Counts what a plugin tells. For
    /// [`OpenOptions::on_event`](build_cache_host::OpenOptions).
    pub fn on_event(&self, event: &Event) {
        match event {
            Event::Retrying { .. } => drop(self.retries.inc()),
            Event::Warning(text) => self.warn(text.clone()),
            _ => {}
        }
    }

    /// Says which plugins serve from now on.
    pub fn set_plugins(&self, plugins: Vec<ServingPlugin>) {
        self.seen().plugins = plugins;
    }

    /// Something that people should know and that stops nothing.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        {
            let mut seen = self.seen();
            seen.warnings.push_back(text.clone());
            if seen.warnings.len() > SHOWN {
                seen.warnings.pop_front();
            }
        }
        self.tell(&Notice::Warning { text });
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        route: &'static str,
        status: u16,
        took: Duration,
    ) {
        let seconds = took.as_secs_f64();
        // A client may send any text as a method.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        let labels = RequestLabels {
            method: known
                .iter()
                .find(|known| **known == method)
                .map_or("other", |known| known)
                .to_owned(),
            route,
            status,
        };
        self.requests.get_or_create(&labels).inc();
        self.seconds
            .get_or_create(&RouteLabel { route })
            .observe(seconds);
        if took >= SLOW {
            let what = format!("{method} {path}");
            let mut seen = self.seen();
            seen.slow.push(SlowRequest { what, seconds });
            seen.slow.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
            seen.slow.truncate(SHOWN);
        }
        if self.on_notice.is_some() {
            self.tell(&Notice::Request {
                method: method.to_owned(),
                path: path.to_owned(),
                status,
                seconds,
            });
        }
    }

    pub(crate) fn lookup(&self, from_memory: bool, found: bool) {
        let labels = LookupLabels {
            answered_by: if from_memory { "memory" } else { "store" },
            found: if found { "yes" } else { "no" },
        };
        self.lookups.get_or_create(&labels).inc();
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.count_bytes("received", bytes);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.count_bytes("sent", bytes);
    }

    pub(crate) fn fetched(&self, bytes: u64) {
        self.count_bytes("fetched", bytes);
    }

    fn count_bytes(&self, direction: &'static str, bytes: u64) {
        self.bytes
            .get_or_create(&DirectionLabel { direction })
            .inc_by(bytes);
    }

    pub(crate) fn layer(&self, outcome: LayerOutcome) {
        let outcome = match outcome {
            LayerOutcome::Stored => "stored",
            LayerOutcome::Reused => "reused",
            LayerOutcome::Fetched => "fetched",
            LayerOutcome::Lost => "lost",
            LayerOutcome::Spoiled => "spoiled",
        };
        self.layers.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn stored(&self, blob: &Digest, bytes: u64, reused: bool, took: Duration) {
        if reused {
            self.layer(LayerOutcome::Reused);
        } else {
            self.layer(LayerOutcome::Stored);
            self.count_bytes("stored", bytes);
        }
        self.tell(&Notice::Stored {
            blob: blob.clone(),
            bytes,
            reused,
            seconds: took.as_secs_f64(),
        });
    }

    /// A layer that the store promised and cannot give.
    pub(crate) fn lost(&self, outcome: LayerOutcome, text: String) {
        self.layer(outcome);
        {
            let mut seen = self.seen();
            if seen.lost.len() < SHOWN {
                seen.lost.push(text.clone());
            }
        }
        self.warn(text);
    }

    pub(crate) fn imported(&self, name: &str, layers: &HashMap<Digest, u64>, left_out: usize) {
        let (count, bytes) = (layers.len(), layers.values().sum());
        {
            let mut seen = self.seen();
            if seen.promised.len() + count <= LAYERS {
                let layers = layers.iter();
                seen.promised
                    .extend(layers.map(|(blob, size)| (blob.clone(), *size)));
            }
            let line = seen.cache(name);
            line.imported += 1;
            (line.layers, line.bytes, line.left_out) = (count, bytes, left_out);
        }
        self.tell(&Notice::Imported {
            name: name.to_owned(),
            layers: count,
            bytes,
            left_out,
        });
    }

    pub(crate) fn absent(&self, name: &str) {
        self.seen().cache(name).absent += 1;
        self.tell(&Notice::Absent {
            name: name.to_owned(),
        });
    }

    pub(crate) fn published(&self, name: &str, layers: usize, bytes: u64) {
        {
            let mut seen = self.seen();
            let line = seen.cache(name);
            line.published += 1;
            (line.layers, line.bytes, line.left_out) = (layers, bytes, 0);
        }
        self.tell(&Notice::Published {
            name: name.to_owned(),
            layers,
            bytes,
        });
    }

    /// A client fetches a layer.
    pub(crate) fn wanted(&self, blob: &Digest) {
        let mut seen = self.seen();
        if seen.wanted.len() < LAYERS {
            seen.wanted.insert(blob.clone());
        }
    }

    pub(crate) fn set_room(&self, spool_bytes: u64, uploads: u64) {
        self.spool_bytes.set(spool_bytes.cast_signed());
        self.uploads.set(uploads.cast_signed());
    }

    fn tell(&self, notice: &Notice) {
        if let Some(on_notice) = &self.on_notice {
            on_notice(notice);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn cache(&mut self, name: &str) -> &mut CacheLine {
        let name = if self.caches.len() < CACHES || self.caches.contains_key(name) {
            name
        } else {
            "(others)"
        };
        self.caches.entry(name.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests;
