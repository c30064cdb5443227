//! Single layers and names, for hosts that learn of layers one at a time: the
//! interfaces `layers` and `names`, of the same parts as export and import.

use futures::stream::{self, StreamExt, TryStreamExt};
use wasip3::clocks::system_clock;

use crate::bindings::build_cache::plugin::events::{Event, emit};
use crate::bindings::build_cache::plugin::types::{CallId, Error, Manifest};
use crate::bindings::exports::build_cache::plugin::backend::CacheBorrow;
use crate::bindings::exports::build_cache::plugin::layers::{self, Outcome, StoredLayer};
use crate::bindings::exports::build_cache::plugin::names::{self, NamedManifest, Precondition};
use crate::layout::{layer_path, manifest_path, read_manifest, write_manifest};
use crate::server::{self, Condition, Outgoing, Server};
use crate::{Cache, Plugin, blobs, store};

impl layers::Guest for Plugin {
    async fn find(
        cache: CacheBorrow<'_>,
        call: CallId,
        blobs: Vec<String>,
    ) -> Result<Vec<Option<StoredLayer>>, Error> {
        let server = Server::new(&cache.get::<Cache>().0, call);
        find(&server, blobs.iter().map(String::as_str)).await
    }

    async fn store(
        cache: CacheBorrow<'_>,
        call: CallId,
        blob: String,
        size: u64,
    ) -> Result<Outcome, Error> {
        let server = Server::new(&cache.get::<Cache>().0, call);
        let (_, was_sent) = store(&server, &blob, size).await?;
        Ok(match was_sent {
            true => Outcome::Stored,
            false => Outcome::Reused,
        })
    }

    async fn read(
        cache: CacheBorrow<'_>,
        call: CallId,
        blob: String,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Option<Outgoing>, Error> {
        let server = Server::new(&cache.get::<Cache>().0, call);
        let path = layer_path(&blob)?;
        match length {
            // HTTP has no range without bytes.
            Some(0) => Ok(server.find(&path).await?.map(|_| server::nothing())),
            _ => server.read(&path, offset, length).await,
        }
    }

    async fn touch(_: CacheBorrow<'_>, _: CallId, _: Vec<String>) -> Result<Vec<bool>, Error> {
        Err(cannot_touch())
    }
}

impl names::Guest for Plugin {
    fn configured(cache: CacheBorrow<'_>) -> Vec<String> {
        cache.get::<Cache>().0.names.clone()
    }

    async fn load(
        cache: CacheBorrow<'_>,
        call: CallId,
        name: String,
    ) -> Result<Option<NamedManifest>, Error> {
        let server = Server::new(&cache.get::<Cache>().0, call);
        let loaded = load(&server, &name).await?;
        Ok(loaded.map(|(manifest, version)| NamedManifest { manifest, version }))
    }

    async fn publish(
        cache: CacheBorrow<'_>,
        call: CallId,
        names: Vec<String>,
        manifest: Manifest,
        precondition: Precondition,
        touch_older_than: Option<u64>,
    ) -> Result<(), Error> {
        if names.iter().any(String::is_empty) {
            return Err(Error::Other("a name must not be empty".into()));
        }
        let server = Server::new(&cache.get::<Cache>().0, call);
        let layers = blobs(&manifest);
        let found = find(&server, layers.keys().copied()).await?;
        let missing = layers.values().zip(&found);
        let missing: Vec<_> = missing
            .filter(|(layer, found)| !is_stored(found.as_ref(), layer.size))
            .map(|(layer, _)| layer.blob.clone())
            .collect();
        if !missing.is_empty() {
            return Err(Error::MissingLayers(missing));
        }
        let now = u64::try_from(system_clock::now().seconds).unwrap_or(0);
        let is_old = |layer: &StoredLayer| {
            touch_older_than.is_some_and(|age| now.saturating_sub(layer.modified) >= age)
        };
        if found.iter().flatten().any(is_old) {
            return Err(cannot_touch());
        }
        // Every layer is durable; only now may a name say so.
        let bytes = write_manifest(&manifest)?;
        let condition = match precondition {
            Precondition::Any => Condition::None,
            Precondition::Absent => Condition::Absent,
            Precondition::Unchanged(version) => Condition::Is(version),
        };
        for name in names {
            server
                .put_if(&condition, &manifest_path(&name), &bytes)
                .await?;
            emit(call, &Event::ManifestStored(name));
        }
        Ok(())
    }
}

/// Looks for layers, an answer for each in their order.
pub(crate) async fn find(
    server: &Server<'_>,
    blobs: impl Iterator<Item = &str>,
) -> Result<Vec<Option<StoredLayer>>, Error> {
    let looks = blobs.map(async |blob| {
        let found = server.find(&layer_path(blob)?).await?;
        // A layer whose size is not known cannot be compared with anything.
        Ok::<_, Error>(found.and_then(|found| {
            Some(StoredLayer {
                size: found.size?,
                modified: found.modified,
                version: found.version,
            })
        }))
    });
    let looks = stream::iter(looks).buffered(server.config.parallelism);
    looks.try_collect().await
}

/// Whether a layer is there, at its size.
pub(crate) fn is_stored(found: Option<&StoredLayer>, size: u64) -> bool {
    found.is_some_and(|found| found.size == size)
}

/// Loads what is under a name, and its version. None where nothing is there.
pub(crate) async fn load(
    server: &Server<'_>,
    name: &str,
) -> Result<Option<(Manifest, String)>, Error> {
    let path = manifest_path(name);
    let Some((bytes, version)) = server.get(&path).await? else {
        return Ok(None);
    };
    let url = server.url(&path);
    let corrupt =
        |reason| Error::Corrupt(format!("{url} is not a manifest of this cache: {reason}"));
    let manifest = read_manifest(&bytes).map_err(corrupt)?;
    Ok(Some((manifest, version)))
}

fn cannot_touch() -> Error {
    Error::Unsupported(
        "HTTP has no way to make a file newer without sending it again; remove nothing that is \
         younger than your longest build"
            .into(),
    )
}
