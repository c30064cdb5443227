//! What a host hears while a backend works, for progress displays and logs.

use std::time::Duration;

use crate::Digest;
use crate::bindings::build_cache::plugin::events;
use crate::text::Scrubber;

/// One thing that happened during a call to a [`Cache`](crate::Cache).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The store already holds the layer; nothing was sent.
    LayerReused(Digest),
    /// The layer is being sent.
    LayerStarted(Digest),
    /// The host lent this many more bytes of the layer to the backend. Bytes
    /// that are sent again are counted again.
    LayerRead {
        /// The layer.
        blob: Digest,
        /// How many bytes, since the last such event.
        bytes: u64,
    },
    /// The layer is durable in the store.
    LayerStored(Digest),
    /// The manifest is durable under this name, which is here as it may be
    /// shown: not for comparing.
    ManifestStored(String),
    /// A request failed and will be tried again.
    Retrying {
        /// The request, without its credentials.
        request: String,
        /// What came back.
        reason: String,
        /// How often the request has been sent by now, from 1.
        attempt: u32,
        /// How long the backend waits before the next attempt.
        delay: Duration,
    },
    /// Something that the user should know and that stops nothing.
    Warning(String),
}

impl Event {
    /// Reads what a backend emitted. None if it names a layer by something
    /// that is not a digest, because then there is nothing true to show.
    pub(crate) fn from_backend(event: events::Event, scrub: &Scrubber) -> Option<Self> {
        use events::Event as Wit;
        Some(match event {
            Wit::LayerReused(blob) => Self::LayerReused(blob.parse().ok()?),
            Wit::LayerStarted(blob) => Self::LayerStarted(blob.parse().ok()?),
            Wit::LayerStored(blob) => Self::LayerStored(blob.parse().ok()?),
            Wit::ManifestStored(name) => Self::ManifestStored(scrub.name(&name)),
            Wit::Retrying(retry) => Self::Retrying {
                request: scrub.clean(&retry.request),
                reason: scrub.clean(&retry.reason),
                attempt: retry.attempt,
                delay: Duration::from_millis(retry.delay_milliseconds),
            },
            Wit::Warning(text) => Self::Warning(scrub.clean(&text)),
        })
    }
}
