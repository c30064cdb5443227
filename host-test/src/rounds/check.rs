//! What must hold of a store and of a directory, whatever went wrong before.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use blob_store::RunningStore;
use build_cache_host::oci_layout::Layout;
use build_cache_host::{Digest, Manifest};

use crate::failure::ensure;
use crate::sample::Sample;
use crate::{Failure, Outcome};

/// What a directory holds beside its layers: how its names stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(Option<Vec<u8>>);

impl Snapshot {
    /// How the directory stands now.
    pub fn of(dir: &Path) -> Self {
        Self(std::fs::read(dir.join("index.json")).ok())
    }
}

/// Checks that every layer blob in a container is what its key says.
///
/// # Errors
/// One is not.
pub fn layers_are_right(store: &RunningStore, container: &str) -> Outcome {
    for (key, blob) in blobs(store, container)? {
        if let Some(digest) = key.strip_prefix("blobs/") {
            let found = Digest::of(&blob).to_string();
            ensure!(
                found == digest,
                "the store has {found} under the name of {digest}"
            );
        }
    }
    Ok(())
}

/// Checks that every manifest in a container is one of these caches' and,
/// unless the store itself forgets, that all its layers are there. Gives the
/// cache that stands under each name.
///
/// # Errors
/// One is not, or lacks a layer.
pub fn manifests_are_whole<'a>(
    store: &RunningStore,
    container: &str,
    caches: &[&'a Sample],
    store_forgets: bool,
) -> Outcome<BTreeMap<String, &'a Sample>> {
    let blobs = blobs(store, container)?;
    let mut names = BTreeMap::new();
    for (key, json) in &blobs {
        let Some(name) = key.strip_prefix("manifests/") else {
            continue;
        };
        let digests = digests_in(json, name)?;
        let is_this = |cache: &&&Sample| sorted(cache.digests()) == sorted(digests.clone());
        let Some(cache) = caches.iter().find(is_this) else {
            return Err(Failure::Broken(format!(
                "the manifest `{name}` is no cache that was pushed: {digests:?}"
            )));
        };
        for layer in &cache.manifest.layers {
            let stored = blobs.get(&format!("blobs/{}", layer.blob));
            let is_there = stored.is_some_and(|blob| blob.len() as u64 == layer.size);
            ensure!(
                is_there || store_forgets,
                "the manifest `{name}` stands without its layer {}",
                layer.blob
            );
        }
        names.insert(name.to_owned(), *cache);
    }
    Ok(names)
}

/// Everything in a container.
fn blobs(store: &RunningStore, container: &str) -> Outcome<HashMap<String, bytes::Bytes>> {
    let failed = |error: blob_store::Error| Failure::Broken(error.to_string());
    let mut blobs = HashMap::new();
    for key in store.keys(container).map_err(failed)? {
        if let Some(blob) = store.blob(container, &key).map_err(failed)? {
            blobs.insert(key, blob);
        }
    }
    Ok(blobs)
}

/// The layers that a stored manifest names.
fn digests_in(json: &[u8], name: &str) -> Outcome<Vec<Digest>> {
    let broken = |why: &str| Failure::Broken(format!("the manifest `{name}` in the store {why}"));
    let manifest: serde_json::Value =
        serde_json::from_slice(json).map_err(|error| broken(&format!("is no JSON: {error}")))?;
    let layers = manifest["layers"]
        .as_array()
        .ok_or_else(|| broken("has no layers"))?;
    let digest = |layer: &serde_json::Value| layer["blob"].as_str()?.parse().ok();
    let digests: Option<_> = layers.iter().map(digest).collect();
    digests.ok_or_else(|| broken("names no digests"))
}

fn sorted(mut digests: Vec<Digest>) -> Vec<Digest> {
    digests.sort();
    digests
}

/// Checks a directory that may have been written to: every blob with a name is
/// what the name says. Nothing half-written is left but in `ingest`, and there
/// too only where the writer was killed.
///
/// # Errors
/// Something is otherwise.
pub fn directory_is_clean(dir: &Path, writer_was_killed: bool) -> Outcome {
    for path in files(&dir.join("blobs/sha256"))? {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let bytes = std::fs::read(&path).map_err(|error| Failure::Broken(error.to_string()))?;
        let found = Digest::of(&bytes);
        ensure!(
            name.as_deref() == Some(&found.hex()),
            "the directory has {found} as {name:?}"
        );
    }
    let unfinished = files(&dir.join("ingest"))?;
    ensure!(
        writer_was_killed || unfinished.is_empty(),
        "files are left unfinished: {unfinished:?}"
    );
    Ok(())
}

/// The files in a folder; none where there is no folder.
fn files(folder: &Path) -> Outcome<Vec<std::path::PathBuf>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Checks that a directory holds a whole cache under a tag, and gives it.
///
/// # Errors
/// It does not.
pub async fn cache_in(dir: &Path, tag: &str) -> Outcome<Manifest> {
    let broken = |error| Failure::Broken(format!("the directory that was written: {error}"));
    let layout = Layout::open(dir).await.map_err(broken)?;
    let manifest = layout.read(Some(tag)).await.map_err(broken)?;
    layout.verify(&manifest).await.map_err(broken)?;
    Ok(manifest)
}

/// Whether one cache is another, or what is left of it without some layers.
pub fn is_part_of(found: &Manifest, whole: &Manifest) -> bool {
    let described: HashMap<_, _> = whole.layers.iter().map(|l| (&l.blob, l)).collect();
    found.layers.iter().all(|layer| {
        let same = described.get(&layer.blob);
        same.is_some_and(|same| {
            (same.size, &same.diff_id, &same.media_type)
                == (layer.size, &layer.diff_id, &layer.media_type)
        })
    })
}
