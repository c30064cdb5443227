//! What a plugin answered, checked against what a backend may answer: digests
//! that are some, indices that lead somewhere, text without control characters,
//! figures that are possible. Names are not checked: they are compared, stored
//! and sent back as they are, and cleaned where they are shown.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;

use crate::bindings::build_cache::plugin::types;
use crate::bindings::exports::build_cache::plugin::backend;
use crate::text::Scrubber;
use crate::{Digest, Error, InvalidDigest, Layer, Loaded, Manifest};

/// Checks the answers of one plugin.
#[derive(Clone)]
pub(crate) struct Answers {
    /// The plugin's file.
    plugin: String,
    scrubber: Arc<Scrubber>,
}

impl Answers {
    pub(crate) fn new(plugin: &str, scrubber: Arc<Scrubber>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            scrubber,
        }
    }

    /// A manifest that was loaded, as far as it holds together.
    pub(crate) fn loaded(&self, loaded: backend::Loaded) -> Result<Loaded, Error> {
        let missing = loaded.missing.iter().map(|blob| self.digest(blob));
        let missing = missing.collect::<Result<_, _>>()?;
        let manifest = self.manifest(loaded.manifest)?;
        Ok(Loaded { manifest, missing })
    }

    /// A manifest, as far as it holds together.
    pub(crate) fn manifest(&self, manifest: types::Manifest) -> Result<Manifest, Error> {
        let layers = manifest.layers.into_iter().map(|layer| {
            Ok(Layer {
                blob: self.digest(&layer.blob)?,
                size: layer.size,
                media_type: self.plain("media type", layer.media_type)?,
                diff_id: self.digest(&layer.diff_id)?,
                created_at: layer
                    .created_at
                    .map(|time| self.plain("time", time))
                    .transpose()?,
                parent: layer.parent,
            })
        });
        let manifest = Manifest {
            layers: layers.collect::<Result<_, Error>>()?,
            records: manifest.records,
        };
        manifest.validate().map_err(|error| self.corrupt(&error))?;
        Ok(manifest)
    }

    /// As many answers as there were questions.
    pub(crate) fn one_for_each<T>(&self, asked: usize, answers: Vec<T>) -> Result<Vec<T>, Error> {
        match answers.len() == asked {
            true => Ok(answers),
            false => Err(self.impossible(format!(
                "it was asked about {asked} layers and answered for {}",
                answers.len()
            ))),
        }
    }

    /// A version: opaque, but short and without control characters, as it is
    /// sent back and may be shown.
    pub(crate) fn version(&self, version: String) -> Result<String, Error> {
        /// No store's version comes near it, in bytes.
        const LONGEST: usize = 1024;
        if version.len() > LONGEST || version.chars().any(char::is_control) {
            return Err(self.impossible(format!(
                "it gave a version of {} bytes that is too long or not plain text",
                version.len()
            )));
        }
        Ok(version)
    }

    /// Names that take no more than `limit` bytes, as they are.
    pub(crate) fn names(&self, names: Vec<String>, limit: usize) -> Result<Vec<String>, Error> {
        /// What a name takes beside its text, in bytes.
        const NAME_BYTES: usize = 32;
        let bytes: usize = names.iter().map(|name| NAME_BYTES + name.len()).sum();
        match bytes <= limit {
            true => Ok(names),
            false => Err(self.impossible(format!("its names take more than {limit} bytes"))),
        }
    }

    /// Refuses missing layers that the published manifest does not have.
    pub(crate) fn check_missing(
        &self,
        missing: &[Digest],
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let layers: HashSet<_> = manifest.layers.iter().map(|layer| &layer.blob).collect();
        if missing.is_empty() {
            return Err(self.impossible("it reports missing layers and names none".to_owned()));
        }
        match missing.iter().find(|blob| !layers.contains(blob)) {
            Some(blob) => Err(self.impossible(format!(
                "it reports that {blob} is missing, which is not a layer of the manifest"
            ))),
            None => Ok(()),
        }
    }

    /// A digest that is one.
    pub(crate) fn digest(&self, text: &str) -> Result<Digest, Error> {
        text.parse()
            .map_err(|error: InvalidDigest| self.corrupt(&error))
    }

    /// Refuses figures that an export of this manifest cannot come to.
    pub(crate) fn check_summary(
        &self,
        summary: &backend::ExportSummary,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let layers = u64::from(summary.layers_stored) + u64::from(summary.layers_reused);
        let sizes = manifest.layers.iter().map(|layer| u128::from(layer.size));
        let (there, bytes) = (manifest.layers.len(), sizes.sum::<u128>());
        if layers > there as u64 || u128::from(summary.bytes_stored) > bytes {
            return Err(self.impossible(format!(
                "it says that it dealt with {layers} layers and stored {} bytes, where there are \
                 {there} layers of {bytes} bytes",
                summary.bytes_stored
            )));
        }
        Ok(())
    }

    /// The plugin answered what no backend may.
    pub(crate) fn impossible(&self, reason: String) -> Error {
        Error::PluginFailed {
            plugin: self.plugin.clone(),
            reason,
        }
    }

    /// Text that is compared and shown as it is.
    fn plain(&self, what: &str, text: String) -> Result<String, Error> {
        // Of characters alone: a secret may be a part of a media type.
        if Scrubber::default().clean(&text) == text {
            Ok(text)
        } else {
            Err(self.corrupt(&format!("`{text}` is not a {what}")))
        }
    }

    /// Either the store is damaged, or the plugin that reads it.
    fn corrupt(&self, error: &dyn Display) -> Error {
        let (plugin, error) = (&self.plugin, self.scrubber.clean(&error.to_string()));
        Error::Corrupt(format!(
            "what the plugin {plugin} read from it cannot be used: {error}"
        ))
    }
}
