//! BuildKit's own caches, through the backend and back, byte for byte.

use std::fs;
use std::path::Path;

use build_cache_host::oci_layout::{Check, Layout, LayoutWriter};
use build_cache_host::{Cache, Fetch, FetchOptions};
use host_test::conformance::{Subject, load};
use host_test::fixtures::buildkit;
use serde_json::Value;
use tempfile::TempDir;

use crate::setup::run;

/// The local caches that have the form that BuildKit writes by default.
const DEFAULT_FORM: [&str; 6] = [
    "local-max",
    "local-max-tag-v1",
    "local-max-uncompressed-force",
    "local-max-zstd-force",
    "local-max-zstd-fresh",
    "local-min-fresh",
];

/// The others.
const OTHER_FORMS: [&str; 2] = [
    "local-max-image-manifest-false",
    "local-max-oci-mediatypes-false",
];

/// What BuildKit stored with azblob, and what it wrote locally of the same
/// build.
const AZBLOB: [(&str, &str); 3] = [
    ("azblob-max", "local-max"),
    ("azblob-min-fresh", "local-min-fresh"),
    ("azblob-max-after-zstd", "local-max-zstd-fresh"),
];

/// Pushes a directory and pulls it into a fresh one.
async fn push_and_pull(subject: &Subject, name: &str) -> TempDir {
    let layout = Layout::open(buildkit(name)).await.expect("a cache");
    let manifest = layout.read(None).await.expect("a manifest");
    let cache = subject.open(&[name], layout.content()).await.expect("open");
    cache.export(&manifest).await.expect("an export");
    pull(&subject.open_to_read(&[name]).await.expect("open")).await
}

/// Fetches the one name of a cache into a fresh directory.
async fn pull(cache: &Cache) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let manifest = load(cache).await.expect("a manifest").manifest;
    let writer = LayoutWriter::create(dir.path()).await.expect("a writer");
    let fetch = Fetch::new(cache.clone(), FetchOptions::default());
    let missing = writer.missing(&manifest, Check::Size).await;
    for layer in missing.expect("the missing layers") {
        let incoming = writer.begin(&layer).await.expect("a file");
        let file = incoming.file().expect("a handle");
        fetch
            .layer(&layer.blob, layer.size, file, incoming.path(), &|_| ())
            .await
            .expect("a layer");
        incoming
            .commit(Check::Size)
            .await
            .expect("a layer in place");
    }
    let written = writer.finish(&manifest, &["latest".to_owned()]).await;
    written.expect("a cache");
    dir
}

/// The manifest of the only entry in a cache directory.
fn manifest_of(dir: &Path) -> Vec<u8> {
    let index = fs::read(dir.join("index.json")).expect("an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1));
    blob(dir, &index["manifests"][0]["digest"])
}

/// The cache config of a directory: an image manifest names it as its config,
/// an index lists it among the layers.
fn config_of(dir: &Path) -> String {
    let manifest: Value = serde_json::from_slice(&manifest_of(dir)).expect("JSON");
    let listed = manifest["manifests"].as_array().into_iter().flatten();
    let config = listed
        .chain([&manifest["config"]])
        .find(|entry| entry["mediaType"] == "application/vnd.buildkit.cacheconfig.v0")
        .expect("a config");
    String::from_utf8(blob(dir, &config["digest"])).expect("UTF-8")
}

fn blob(dir: &Path, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().expect("a digest");
    let path = dir.join("blobs").join(digest.replace(':', "/"));
    fs::read(path).expect("a blob")
}

/// Puts what BuildKit stored straight into the store.
async fn seed(subject: &Subject, name: &str) {
    let store = subject.back_door().expect("a back door").store();
    for folder in ["blobs", "manifests"] {
        for entry in fs::read_dir(buildkit(name).join(folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let key = format!("{folder}/{}", entry.file_name().display());
            let bytes = fs::read(entry.path()).expect("a file");
            store.put(&key, bytes.into()).await.expect("a blob");
        }
    }
}

async fn every_local_form_gives_buildkits_own_bytes(subject: &Subject) {
    for name in DEFAULT_FORM.into_iter().chain(OTHER_FORMS) {
        let pulled = push_and_pull(subject, name).await;
        let (pulled, original) = (pulled.path(), buildkit(name));
        assert_eq!(config_of(pulled), config_of(&original), "config of {name}");
        if DEFAULT_FORM.contains(&name) {
            assert!(
                manifest_of(pulled) == manifest_of(&original),
                "the manifest of {name} is another"
            );
        }
    }
}

async fn every_azblob_cache_gives_the_config_of_its_local_twin(subject: &Subject) {
    for (name, twin) in AZBLOB {
        seed(subject, name).await;
        let cache = subject.open_to_read(&["small"]).await.expect("open");
        let pulled = pull(&cache).await;
        assert_eq!(
            config_of(pulled.path()),
            config_of(&buildkit(twin)),
            "config of {name}"
        );
    }
}

async fn every_azblob_manifest_is_written_again_byte_for_byte(subject: &Subject) {
    for (name, _) in AZBLOB {
        seed(subject, name).await;
        let cache = subject.open_to_read(&["small"]).await.expect("open");
        let loaded = load(&cache).await.expect("a cache");
        assert_eq!(loaded.missing, [], "missing of {name}");

        let again = subject.open_to_read(&["again"]).await.expect("open");
        let summary = again.export(&loaded.manifest).await.expect("an export");
        assert_eq!(summary.layers_stored, 0, "every layer of {name} is there");
        let store = subject.back_door().expect("a back door").store();
        let written = store.get("manifests/again").await.expect("an answer");
        let written = written.expect("the manifest").to_vec();
        let buildkits = fs::read_to_string(buildkit(name).join("manifests/small"));
        assert_eq!(
            String::from_utf8(written).expect("UTF-8"),
            buildkits.expect("BuildKit's manifest"),
            "manifest of {name}"
        );
    }
}

macro_rules! on_both_stores {
    ($($name:ident)*) => {
        mod azurite {
            $(
                #[test]
                fn $name() {
                    super::run(async { super::$name(&crate::setup::azblob_on_azurite().await).await });
                }
            )*
        }

        mod blob_store {
            use crate::setup;
            $(
                #[test]
                fn $name() {
                    super::run(async {
                        super::$name(&setup::azblob_on(&setup::blob_store()).await).await;
                    });
                }
            )*
        }
    };
}

on_both_stores! {
    every_local_form_gives_buildkits_own_bytes
    every_azblob_cache_gives_the_config_of_its_local_twin
    every_azblob_manifest_is_written_again_byte_for_byte
}

#[test]
fn mode_min_selects_the_layers_that_buildkit_selects() {
    run(async {
        let read = async |name| {
            let layout = Layout::open(buildkit(name)).await.expect("a cache");
            layout.read(None).await.expect("a manifest")
        };
        let selected = read("local-max").await.for_mode_min().expect("a selection");
        let buildkits = read("local-min-fresh").await;
        let blobs = |manifest: &build_cache_host::Manifest| {
            let mut blobs: Vec<_> = manifest.layers.iter().map(|l| l.blob.clone()).collect();
            blobs.sort();
            blobs
        };
        assert_eq!(blobs(&selected), blobs(&buildkits));
        assert_eq!(selected.layers.len(), 4);
    });
}
