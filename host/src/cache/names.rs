//! Names and their manifests, for hosts that choose names themselves rather than
//! by the attribute `name`. A name goes to the plugin as it is: it is never
//! split, trimmed or cleaned here.

use std::time::Duration;

use super::{Cache, manifest_to_wit};
use crate::bindings::exports::build_cache::plugin::names as wit;
use crate::instance::{Job, Publication};
use crate::{Error, Manifest};

/// A manifest, and the version in which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedManifest {
    /// The manifest, with digests, parents and records checked.
    pub manifest: Manifest,
    /// For [`Precondition::Unchanged`]; empty where the store has no versions.
    pub version: String,
}

/// What must be true of a name before [`Cache::publish`] writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: the last writer wins.
    #[default]
    Any,
    /// The name does not exist.
    Absent,
    /// The name still has the version that [`Cache::load`] gave.
    Unchanged(String),
}

impl Cache {
    /// The names that the attributes give, in their order.
    ///
    /// # Errors
    /// [`Error::Unsupported`] from a plugin of contract 0.1.
    pub async fn configured_names(&self) -> Result<Vec<String>, Error> {
        let names = self.call(Job::ConfiguredNames).await?;
        self.answers.names(names, self.instance.listing_bytes)
    }

    /// Loads one manifest, without looking for its layers: see
    /// [`Cache::find`]. None where the store has no such name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the manifest cannot be used,
    /// [`Error::Unsupported`] from a plugin of contract 0.1.
    pub async fn load(&self, name: &str) -> Result<Option<NamedManifest>, Error> {
        let name = name.to_owned();
        let Some(named) = self.call(|reply| Job::Load(name, reply)).await? else {
            return Ok(None);
        };
        Ok(Some(NamedManifest {
            manifest: self.answers.manifest(named.manifest)?,
            version: self.answers.version(named.version)?,
        }))
    }

    /// Writes a manifest whose layers are stored already under each of the names.
    /// The plugin looks for every layer at its size first, touches those that were
    /// last written or touched more than `touch_older_than` ago (none touches
    /// nothing), and then writes the names. With a precondition they are written
    /// one after the other in their order; with [`Precondition::Any`] perhaps side
    /// by side.
    ///
    /// # Errors
    /// - [`Error::InvalidManifest`] where the manifest does not hold together.
    /// - [`Error::MissingLayers`] where layers are not there: no name was written.
    /// - [`Error::Conflict`] where the precondition did not hold: the names before
    ///   the one that the text gives have been written.
    /// - [`Error::Unsupported`] where the store cannot do what was asked for: no
    ///   name was written. Also from a plugin of contract 0.1.
    pub async fn publish(
        &self,
        names: &[String],
        manifest: &Manifest,
        precondition: Precondition,
        touch_older_than: Option<Duration>,
    ) -> Result<(), Error> {
        manifest.validate()?;
        let publication = Publication {
            names: names.to_vec(),
            manifest: manifest_to_wit(manifest),
            precondition: match precondition {
                Precondition::Any => wit::Precondition::Any,
                Precondition::Absent => wit::Precondition::Absent,
                Precondition::Unchanged(version) => wit::Precondition::Unchanged(version),
            },
            touch_older_than: touch_older_than.map(|age| age.as_secs()),
        };
        let published = self.call(|reply| Job::Publish(publication, reply)).await;
        if let Err(Error::MissingLayers(missing)) = &published {
            self.answers.check_missing(missing, manifest)?;
        }
        published
    }
}
