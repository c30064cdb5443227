//! Between the documents of a registry and a cache: what a client's manifest and
//! config say, and what is given to a client.

use std::collections::HashMap;

use build_cache_host::oci_layout::{
    Assembly, BUILDKIT_JSON_BYTES, Documents, Form, NotAssembled, assemble,
};
use build_cache_host::{Digest, Manifest, ManifestError};
use bytes::Bytes;

use crate::documents::Document;
use crate::refusal::{Code, Refusal};

/// What a manifest is that does not say.
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// What this registry takes, for those who bring something else.
const TAKEN: &str = "this registry takes build caches alone: what BuildKit writes with `--cache-to type=registry,ref=…`, or an image with an inline cache";

/// After so many turns, what a manifest needs is there or was not sent.
const TURNS: usize = 6;

/// A cache as a client sent it.
#[derive(Debug)]
pub(crate) struct Read {
    pub manifest: Manifest,
    /// The documents that the client's manifest names.
    pub needs: Vec<Digest>,
}

/// The documents of a cache, as they are given out.
pub(crate) struct Written {
    /// The digest of what stands for the cache.
    pub top: Digest,
    pub documents: Vec<(Digest, Document)>,
    /// Whether BuildKit would write and read this cache in its usual form.
    pub is_usual: bool,
}

/// Reads a client's manifest, in any form that BuildKit reads. `document` gives
/// what it names and the client sent before.
pub(crate) fn read(
    body: &[u8],
    document: impl Fn(&Digest) -> Option<Bytes>,
) -> Result<Read, Refusal> {
    let mut given: HashMap<Digest, Vec<u8>> = HashMap::new();
    for _ in 0..TURNS {
        let needed = match assemble(body, &given).map_err(|error| refused(&error))? {
            Assembly::Whole(manifest) => {
                let needs = given.into_keys().collect();
                return Ok(Read { manifest, needs });
            }
            Assembly::Needs(needed) => needed,
        };
        for needed in needed {
            let bytes = document(&needed.digest).ok_or_else(|| {
                let message = format!(
                    "{}, which the manifest names, was not sent, or too long ago",
                    needed.digest
                );
                Refusal::new(Code::ManifestBlobUnknown, message)
            })?;
            given.insert(needed.digest, bytes.into());
        }
    }
    Err(Refusal::new(
        Code::ManifestInvalid,
        "the manifest names too much",
    ))
}

/// Whether a document may be the manifest of a cache, or a part of one, for
/// clients that send a manifest by its digest before they name it.
pub(crate) fn may_be_part(body: &[u8]) -> Result<(), Refusal> {
    let assembled = assemble(body, &HashMap::new());
    assembled.map(drop).map_err(|error| refused(&error))
}

fn refused(error: &NotAssembled) -> Refusal {
    let message = match error {
        NotAssembled::NotACache { .. } => format!("{error}; {TAKEN}"),
        NotAssembled::Damaged {
            document: None,
            reason,
        } => format!("this is not a manifest: {reason}"),
        other => other.to_string(),
    };
    Refusal::new(Code::ManifestInvalid, message)
}

/// Writes a cache's documents: as BuildKit would, or in a form that it reads
/// where it would not read its own.
pub(crate) fn write(manifest: &Manifest) -> Result<Written, ManifestError> {
    let documents = Documents::of(manifest)?;
    let (top, is_usual) = (
        documents.top().digest.clone(),
        documents.form == Form::Usual,
    );
    let Documents {
        config,
        manifest,
        index,
        ..
    } = documents;
    let documents = [config, manifest].into_iter().chain(index).map(|document| {
        let media_type = document.media_type.to_owned();
        let bytes = document.json.into();
        (document.digest, Document { bytes, media_type })
    });
    Ok(Written {
        top,
        documents: documents.collect(),
        is_usual,
    })
}

/// Whether BuildKit reads a manifest or config of so many bytes.
pub(crate) fn is_readable(bytes: usize) -> bool {
    bytes as u64 <= BUILDKIT_JSON_BYTES
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
