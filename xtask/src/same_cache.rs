//! Whether two local cache directories hold the same cache, byte for byte.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Two caches that are the same.
#[derive(Debug, PartialEq)]
pub struct Same {
    /// Digest of the manifest, which names all the rest.
    pub manifest: String,
    /// Digest of the config, which holds the solver's records.
    pub config: String,
    /// How many other blobs there are: the layers.
    pub layers: usize,
    /// The size of all blobs, in bytes.
    pub bytes: u64,
}

/// Compares every blob of two cache directories, and what they have as
/// `latest`. The error names the first difference.
pub fn compare(left: &Path, right: &Path) -> Result<Same> {
    let names = blob_names(left)?;
    if let Some(name) = names.symmetric_difference(&blob_names(right)?).next() {
        bail!("only one of the two directories has the blob {name}");
    }
    let mut bytes = 0;
    for name in &names {
        let blob = fs::read(blob_path(left, name))?;
        ensure!(
            blob == fs::read(blob_path(right, name))?,
            "the blob {name} differs"
        );
        bytes += blob.len() as u64;
    }
    let manifest = latest(left)?;
    ensure!(manifest == latest(right)?, "`latest` differs");
    let digest = manifest.trim_start_matches("sha256:");
    let config = json(&blob_path(left, digest))?["config"]["digest"]
        .as_str()
        .context("the manifest names no config")?
        .to_owned();
    Ok(Same {
        manifest,
        config,
        layers: names.len().saturating_sub(2),
        bytes,
    })
}

fn blob_names(cache: &Path) -> Result<BTreeSet<String>> {
    let folder = cache.join("blobs/sha256");
    fs::read_dir(&folder)
        .with_context(|| format!("{} is no cache", cache.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn blob_path(cache: &Path, name: &str) -> std::path::PathBuf {
    cache.join("blobs/sha256").join(name)
}

/// Digest of the manifest under the name `latest`.
fn latest(cache: &Path) -> Result<String> {
    let index = json(&cache.join("index.json"))?;
    let entries = index["manifests"].as_array().map(Vec::as_slice);
    entries
        .unwrap_or_default()
        .iter()
        .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == "latest")
        .and_then(|entry| entry["digest"].as_str())
        .map(str::to_owned)
        .with_context(|| format!("{} has no `latest`", cache.display()))
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    fn fixture(name: &str) -> std::path::PathBuf {
        Project::here()
            .file("host-test/fixtures/buildkit")
            .join(name)
    }

    #[test]
    fn a_cache_is_the_same_as_itself() {
        let cache = fixture("local-max");
        let same = compare(&cache, &cache).unwrap();
        assert_eq!(same.layers, 10);
        assert_ne!(same.manifest, same.config);
    }

    #[test]
    fn a_cache_with_fewer_layers_is_another() {
        let error = compare(&fixture("local-max"), &fixture("local-min-fresh")).unwrap_err();
        assert!(error.to_string().contains("only one"), "{error}");
    }
}
