//! The one error type of this crate. Its texts are for the person who reads
//! them: what was tried, on what, what came back, what to do.

use std::io;
use std::path::PathBuf;

use crate::bindings::build_cache::plugin::types;
use crate::oci_layout::LayoutError;
use crate::text::Scrubber;
use crate::{Digest, InvalidDigest, ManifestError, SpecError, shown};

/// Why something failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not a component, or not a cache backend.
    #[error("{plugin} is not a cache backend that this host can run: {reason}")]
    NotABackend {
        /// The plugin's file.
        plugin: String,
        /// What is wrong with it, and what is needed.
        reason: String,
    },
    /// The plugin broke: it trapped, ran out of what it was granted, or
    /// answered what no backend may answer.
    #[error("the plugin {plugin} failed: {reason}")]
    PluginFailed {
        /// The plugin's file.
        plugin: String,
        /// How it ended.
        reason: String,
    },
    /// The backend asks for an authority that it is not granted.
    #[error(
        "the plugin {plugin} wants to reach {authority}, which it was not granted: neither its \
         description nor an attribute or a variable that it sees names this server, or the server \
         is on this machine, on a private network or internal to a cloud, and no attribute names \
         it as the store's address, or this host allows others only. The cache was not opened"
    )]
    Denied {
        /// The plugin's file.
        plugin: String,
        /// What it asked for.
        authority: String,
    },
    /// The host could not be set up.
    #[error("cannot set up the plugin host: {0}")]
    Setup(String),
    /// No plugin is registered for this type.
    #[error("no plugin for type `{wanted}`{}", known_types(.known))]
    UnknownType {
        /// The type that was asked for.
        wanted: String,
        /// The types that there are.
        known: Vec<String>,
    },
    /// The manifest that was to be stored does not hold together.
    #[error("the cache's manifest cannot be used: {0}")]
    InvalidManifest(#[from] ManifestError),
    /// A local cache directory could not be read or written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// `--cache-to` or `--cache-from` syntax that does not parse.
    #[error(transparent)]
    Spec(#[from] SpecError),

    /// An attribute, or the variable used instead of it, is missing, unknown or
    /// malformed.
    #[error("{kind}`{name}`: {reason}", kind = kind(name))]
    InvalidAttribute {
        /// The attribute, or the variable's name.
        name: String,
        /// Why it is not acceptable, and what is.
        reason: String,
    },
    /// No credential was found, or the store refused the one that was.
    #[error("not signed in: {0}")]
    Unauthenticated(String),
    /// The credential is good, but may not do this.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The store could not be reached, or kept failing.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What the store holds is damaged.
    #[error("the store holds damaged data: {0}")]
    Corrupt(String),
    /// The store has lost a layer that a manifest names.
    #[error("the store no longer has the layer {0}")]
    LayerLost(Digest),
    /// The bytes that the store gave for a layer are not that layer.
    #[error("the store's copy of layer {blob} is damaged: {reason}")]
    LayerDamaged {
        /// The layer.
        blob: Digest,
        /// What its bytes are instead.
        reason: String,
    },
    /// The content that was lent to the backend could not be read.
    #[error("cannot read the local content: {0}")]
    Content(String),
    /// The store, or the plugin, has no way to do this.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The manifest's layers that the store does not have at their size. No name
    /// was written.
    #[error("{}", missing_layers(.0))]
    MissingLayers(Vec<Digest>),
    /// A name was not as the precondition of [`Cache::publish`](crate::Cache)
    /// said: another writer was there first.
    #[error("changed in the meantime: {0}")]
    Conflict(String),
    /// Anything else that a backend reports.
    #[error("{0}")]
    Other(String),
}

/// An attribute is called one; a variable is known by its capitals.
fn kind(name: &str) -> &'static str {
    match name.bytes().any(|b| b.is_ascii_lowercase()) {
        true => "attribute ",
        false => "",
    }
}

/// How many missing layers an error names.
const LAYERS_NAMED: usize = 3;

fn missing_layers(layers: &[Digest]) -> String {
    let named: Vec<_> = layers
        .iter()
        .take(LAYERS_NAMED)
        .map(Digest::to_string)
        .collect();
    let more = match layers.len().saturating_sub(LAYERS_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the store does not have {} of the manifest's layers, so no name was written: {}{more}. \
         Store them first",
        layers.len(),
        named.join(", ")
    )
}

fn known_types(known: &[String]) -> String {
    if known.is_empty() {
        "; none is loaded".into()
    } else {
        format!("; there is {}", known.join(", "))
    }
}

impl Error {
    /// The same, where requests went through a proxy: what answered may have
    /// been the proxy.
    pub(crate) fn through(mut self, proxy: Option<&str>) -> Self {
        if let (
            Some(proxy),
            Self::Unauthenticated(text)
            | Self::Forbidden(text)
            | Self::Unavailable(text)
            | Self::Corrupt(text)
            | Self::Other(text),
        ) = (proxy, &mut self)
            && !text.contains(proxy)
        {
            text.push_str(&format!("; requests go through {proxy}"));
        }
        self
    }

    /// Reads what a backend answered. Its text may have several lines.
    pub(crate) fn from_backend(error: types::Error, scrub: &Scrubber) -> Self {
        use types::Error as Wit;
        match error {
            Wit::InvalidAttribute(error) => Self::InvalidAttribute {
                // A name that is not one may hold the rest of the line.
                name: shown::beginning(&error.name, shown::is_word),
                reason: scrub.clean_lines(&error.reason),
            },
            Wit::Unauthenticated(text) => Self::Unauthenticated(scrub.clean_lines(&text)),
            Wit::Forbidden(text) => Self::Forbidden(scrub.clean_lines(&text)),
            Wit::Unavailable(text) => Self::Unavailable(scrub.clean_lines(&text)),
            Wit::Corrupt(text) => Self::Corrupt(scrub.clean_lines(&text)),
            Wit::Content(text) => Self::Content(scrub.clean_lines(&text)),
            Wit::Unsupported(text) => Self::Unsupported(scrub.clean_lines(&text)),
            Wit::Conflict(text) => Self::Conflict(scrub.clean_lines(&text)),
            Wit::MissingLayers(blobs) => {
                let parsed: Result<_, _> = blobs.iter().map(|blob| blob.parse()).collect();
                match parsed {
                    Ok(blobs) => Self::MissingLayers(blobs),
                    Err(error) => Self::Other(format!(
                        "the plugin reports missing layers, one of which has no digest: {}",
                        scrub.clean(&InvalidDigest::to_string(&error))
                    )),
                }
            }
            Wit::Other(text) => Self::Other(scrub.clean_lines(&text)),
        }
    }

    /// The same error for another call. Only what opening a cache can end with
    /// keeps its kind; the rest keeps its text.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::NotABackend { plugin, reason } => Self::NotABackend {
                plugin: plugin.clone(),
                reason: reason.clone(),
            },
            Self::PluginFailed { plugin, reason } => Self::PluginFailed {
                plugin: plugin.clone(),
                reason: reason.clone(),
            },
            Self::Denied { plugin, authority } => Self::Denied {
                plugin: plugin.clone(),
                authority: authority.clone(),
            },
            Self::InvalidAttribute { name, reason } => Self::InvalidAttribute {
                name: name.clone(),
                reason: reason.clone(),
            },
            Self::Setup(text) => Self::Setup(text.clone()),
            Self::Unauthenticated(text) => Self::Unauthenticated(text.clone()),
            Self::Forbidden(text) => Self::Forbidden(text.clone()),
            Self::Unavailable(text) => Self::Unavailable(text.clone()),
            Self::Corrupt(text) => Self::Corrupt(text.clone()),
            Self::Content(text) => Self::Content(text.clone()),
            Self::Unsupported(text) => Self::Unsupported(text.clone()),
            other => Self::Other(other.to_string()),
        }
    }
}
