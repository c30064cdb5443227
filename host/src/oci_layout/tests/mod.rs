//! The fixtures that BuildKit wrote, and directories made from them.

mod inline;
mod reading;
mod writing;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Every directory that BuildKit wrote, and whether it is in the default form.
const LOCAL_CACHES: [(&str, bool); 8] = [
    ("local-max", true),
    ("local-max-image-manifest-false", false),
    ("local-max-oci-mediatypes-false", false),
    ("local-max-tag-v1", true),
    ("local-max-uncompressed-force", true),
    ("local-max-zstd-force", true),
    ("local-max-zstd-fresh", true),
    ("local-min-fresh", true),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../host-test/fixtures/buildkit")
        .join(name)
}

async fn read(dir: &Path) -> Result<Manifest, LayoutError> {
    Layout::open(dir).await?.read(None).await
}

async fn cache(name: &str) -> Manifest {
    read(&fixture(name))
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A directory of one's own with what the fixture `name` holds.
fn copy_of(name: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(blobs(dir.path())).expect("directories");
    fs::copy(fixture(name).join(INDEX_FILE), dir.path().join(INDEX_FILE)).expect("an index");
    for blob in fs::read_dir(blobs(&fixture(name))).expect("blobs") {
        let blob = blob.expect("a blob");
        fs::copy(blob.path(), blobs(dir.path()).join(blob.file_name())).expect("a copy");
    }
    dir
}

fn parse(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// The file of the blob that `descriptor` points to.
fn target(dir: &Path, descriptor: &Value) -> PathBuf {
    blob_path(
        dir,
        &descriptor["digest"]
            .as_str()
            .expect("a digest")
            .parse()
            .expect("a digest"),
    )
}

/// The manifest of the first cache in a directory.
fn manifest_file(dir: &Path) -> PathBuf {
    target(dir, &parse(&dir.join(INDEX_FILE))["manifests"][0])
}

/// The config of the first cache in a directory.
fn config_file(dir: &Path) -> PathBuf {
    let manifest = parse(&manifest_file(dir));
    let last = || {
        manifest["manifests"]
            .as_array()
            .and_then(|all| all.last())
            .cloned()
    };
    target(
        dir,
        &manifest
            .get("config")
            .cloned()
            .or_else(last)
            .expect("a config"),
    )
}

/// `local-min-fresh`, with its config and manifest changed and all digests and
/// sizes right again.
fn changed(change: impl FnOnce(&mut Value, &mut Value)) -> TempDir {
    let dir = copy_of("local-min-fresh");
    let mut manifest = parse(&manifest_file(dir.path()));
    let mut config = parse(&config_file(dir.path()));
    change(&mut config, &mut manifest);
    let put = |document: &Value| {
        let json = document.to_string();
        fs::write(blob_path(dir.path(), &Digest::of(json.as_bytes())), &json).expect("a blob");
        (Digest::of(json.as_bytes()).to_string(), json.len())
    };
    let (digest, size) = put(&config);
    if manifest["config"].is_object() {
        manifest["config"]["digest"] = json!(digest);
        manifest["config"]["size"] = json!(size);
    }
    let (digest, size) = put(&manifest);
    let index = json!({ "manifests": [{ "digest": digest, "size": size }] });
    fs::write(dir.path().join(INDEX_FILE), index.to_string()).expect("an index");
    dir
}
