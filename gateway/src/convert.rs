//! Between the documents of a registry and a cache: what a client's manifest and
//! config say, and what is given to a client.

use build_cache_host::oci_layout::{
    CONFIG_TYPE, CacheManifest, MANIFEST_TYPE, NotACache, config_json, describe, manifest_json,
};
use build_cache_host::{Digest, Manifest};
use bytes::Bytes;

use crate::documents::Document;
use crate::refusal::{Code, Refusal};

/// The largest manifest and the largest config that BuildKit reads, in bytes: a
/// larger one is no cache to it
/// ([moby/buildkit#3719](https://github.com/moby/buildkit/issues/3719)).
pub(crate) const READ_BYTES: usize = 1 << 20;

/// What this registry takes, for those who bring something else.
const TAKEN: &str = "this registry takes build caches alone: what BuildKit writes with `--cache-to type=registry,ref=…`, as an image manifest, an index or a Docker manifest list";

/// The documents of a cache, as BuildKit would write them.
pub(crate) struct Documents {
    /// What stands for the cache.
    pub top: (Digest, Document),
    /// What it names beside layers.
    pub others: Vec<(Digest, Document)>,
}

/// Reads a client's manifest. `document` gives the config that it names, which
/// the client sent before.
pub(crate) fn read(
    body: &[u8],
    document: impl Fn(&Digest) -> Option<Bytes>,
) -> Result<Manifest, Refusal> {
    let invalid = |reason: String| Refusal::new(Code::ManifestInvalid, reason);
    let parsed = CacheManifest::parse(body).map_err(|error| match error {
        NotACache::Json(error) => invalid(format!("this is not a manifest: {error}")),
        other => invalid(format!("this is not a build cache but {other}; {TAKEN}")),
    })?;
    let config = document(&parsed.config.digest).ok_or_else(|| {
        let message = format!(
            "the cache's config {} was not sent, or too long ago",
            parsed.config.digest
        );
        Refusal::new(Code::ManifestBlobUnknown, message)
    })?;
    let manifest = parsed
        .with_config(&config)
        .map_err(|reason| invalid(format!("the cache's config cannot be used: {reason}")))?;
    manifest
        .validate_for_buildkit()
        .map_err(|error| invalid(format!("the cache cannot be used: {error}")))?;
    Ok(manifest)
}

/// Whether a document may be the manifest of a cache, or a part of one, for
/// clients that send a manifest by its digest before they name it.
pub(crate) fn may_be_part(body: &[u8]) -> Result<(), Refusal> {
    match CacheManifest::parse(body) {
        Ok(_) | Err(NotACache::Image(_)) => Ok(()),
        Err(NotACache::Json(error)) => Err(Refusal::new(
            Code::ManifestInvalid,
            format!("this is not a manifest: {error}"),
        )),
        Err(other) => Err(Refusal::new(
            Code::ManifestInvalid,
            format!("this is not a build cache but {other}; {TAKEN}"),
        )),
    }
}

/// The config that a manifest names.
pub(crate) fn config_of(body: &[u8]) -> Option<Digest> {
    let parsed = CacheManifest::parse(body).ok()?;
    Some(parsed.config.digest)
}

/// Writes a cache's documents.
pub(crate) fn write(manifest: &Manifest) -> Result<Documents, serde_json::Error> {
    let config = config_json(manifest)?;
    let descriptor = describe(&config, CONFIG_TYPE);
    let config_digest = descriptor.digest.clone();
    let top = manifest_json(manifest, descriptor)?;
    Ok(Documents {
        top: document(top, MANIFEST_TYPE),
        others: vec![(config_digest, as_document(config, CONFIG_TYPE))],
    })
}

fn document(json: String, media_type: &str) -> (Digest, Document) {
    (
        Digest::of(json.as_bytes()),
        as_document(json, media_type),
    )
}

fn as_document(json: String, media_type: &str) -> Document {
    Document {
        bytes: json.into(),
        media_type: media_type.to_owned(),
    }
}

/// The media type of a manifest: what the client called it, unless the document
/// itself says otherwise.
pub(crate) fn media_type(content_type: Option<&str>, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "mediaType")]
        media_type: Option<String>,
    }
    let own = serde_json::from_slice::<Typed>(body).ok();
    let own = own.and_then(|typed| typed.media_type);
    let given = content_type.map(|given| given.split(';').next().unwrap_or(given).trim());
    own.or_else(|| given.map(str::to_owned))
        .unwrap_or_else(|| MANIFEST_TYPE.to_owned())
}
