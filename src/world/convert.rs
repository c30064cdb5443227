//! The contract's types in ours, and back.

use crate::bindings::build_cache::plugin::types;
use crate::cache::manifest::{Layer, Manifest};
use crate::digest::Digest;
use crate::error::Error;

/// A digest that is one.
pub(crate) fn digest_from(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|_| {
        Error::Other(format!(
            "`{text}` is not a digest: it must be `sha256:` and 64 lowercase hex digits"
        ))
    })
}

/// A manifest as the contract has it, in our types.
pub(crate) fn manifest_from(manifest: types::Manifest) -> Result<Manifest, Error> {
    let layers = manifest.layers.into_iter().map(|layer| {
        Ok(Layer {
            blob: digest_from(&layer.blob)?,
            size: layer.size,
            media_type: layer.media_type,
            diff_id: digest_from(&layer.diff_id)?,
            created_at: layer.created_at,
            parent: layer.parent,
        })
    });
    Ok(Manifest {
        layers: layers.collect::<Result<_, Error>>()?,
        records: manifest.records,
    })
}

/// A manifest in our types, as the contract has it.
pub(crate) fn manifest_to(manifest: Manifest) -> types::Manifest {
    let layers = manifest.layers.into_iter();
    types::Manifest {
        layers: layers
            .map(|layer| types::Layer {
                blob: layer.blob.to_string(),
                size: layer.size,
                media_type: layer.media_type,
                diff_id: layer.diff_id.to_string(),
                created_at: layer.created_at,
                parent: layer.parent,
            })
            .collect(),
        records: manifest.records,
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidAttribute { name, reason } => {
                Self::InvalidAttribute(types::AttributeError { name, reason })
            }
            Error::Unauthenticated(text) => Self::Unauthenticated(text),
            Error::Forbidden(text) => Self::Forbidden(text),
            Error::Unavailable(text) => Self::Unavailable(text),
            Error::Corrupt(text) => Self::Corrupt(text),
            Error::Content(text) => Self::Content(text),
            Error::MissingLayers(layers) => {
                Self::MissingLayers(layers.iter().map(Digest::to_string).collect())
            }
            Error::Conflict(text) => Self::Conflict(text),
            Error::Other(text) => Self::Other(text),
        }
    }
}
