//! The interface `names`.

use super::convert::{manifest_from, manifest_to};
use crate::bindings::exports::build_cache::plugin::names::{
    CacheBorrow, CallId, Error, Guest, Manifest, NamedManifest, Precondition,
};
use crate::transport::call;
use crate::{Component, OpenCache, cache};

impl Guest for Component {
    fn configured(cache: CacheBorrow<'_>) -> Vec<String> {
        let cache = &cache.get::<OpenCache>().0;
        cache.configured_names().to_vec()
    }

    async fn load(
        cache: CacheBorrow<'_>,
        call: CallId,
        name: String,
    ) -> Result<Option<NamedManifest>, Error> {
        let cache = &cache.get::<OpenCache>().0;
        let loaded = call::within(call, cache.load_name(&name)).await?;
        Ok(loaded.map(|named| NamedManifest {
            manifest: manifest_to(named.manifest),
            version: named.version,
        }))
    }

    async fn publish(
        cache: CacheBorrow<'_>,
        call: CallId,
        names: Vec<String>,
        manifest: Manifest,
        precondition: Precondition,
        touch_older_than: Option<u64>,
    ) -> Result<(), Error> {
        let cache = &cache.get::<OpenCache>().0;
        let precondition = match precondition {
            Precondition::Any => cache::Precondition::Any,
            Precondition::Absent => cache::Precondition::Absent,
            Precondition::Unchanged(version) => cache::Precondition::Unchanged(version),
        };
        let manifest = manifest_from(manifest)?;
        let published = cache.publish(names, manifest, precondition, touch_older_than);
        Ok(call::within(call, published).await?)
    }
}
