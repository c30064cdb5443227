//! The two forms in which BuildKit reads a cache from a directory or a
//! registry, as JSON documents: which one serves, and the way back from either.
//!
//! No input or output happens here, so that a directory and a registry share
//! it: [`Documents::of`] says what to store, and [`assemble`] what it still
//! needs to read.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::document::{
    self, CONFIG_TYPE, CacheManifest, Descriptor, Draft, INDEX_TYPE, MANIFEST_TYPE, NotACache,
    describe,
};
use super::files::MAX_JSON_BYTES;
use super::inline::{self, IMAGE_CONFIG_TYPE};
use super::usable;
use crate::records::{self, RecordsError, go_json};
use crate::{Digest, Manifest, ManifestError};

/// What BuildKit's local and registry importers read of a manifest and of a
/// config, in bytes: exactly as much, and no more (`readBlob` in
/// [`cache/remotecache/import.go`](https://github.com/moby/buildkit/blob/master/cache/remotecache/import.go)).
pub const BUILDKIT_JSON_BYTES: u64 = 1 << 20;

/// The most documents that one cache is read from: an image for each platform,
/// and those that are attached to them.
const MAX_DOCUMENTS: usize = 512;

/// The most bytes of all of them.
const MAX_ALL_BYTES: u64 = 2 * MAX_JSON_BYTES;

/// Docker's names for a manifest and an index.
const DOCKER_MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// In which form a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// BuildKit's own: an OCI image manifest over the layers, and a config of
    /// the type `application/vnd.buildkit.cacheconfig.v0`. Each has at most
    /// [`BUILDKIT_JSON_BYTES`], or BuildKit ignores the cache.
    Usual,
    /// An image with an inline cache, behind an index if the manifest is large.
    /// BuildKit reads it from v0.10 on, whatever its size.
    Inline,
}

/// A JSON document that is stored as a blob, or as a manifest of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its media type.
    pub media_type: &'static str,
    /// The digest of `json`.
    pub digest: Digest,
    /// The bytes.
    pub json: String,
}

/// The documents of a cache. The same cache gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// The form that was chosen.
    pub form: Form,
    /// The config: a blob.
    pub config: Document,
    /// The manifest over the config and the layers.
    pub manifest: Document,
    /// The index with the manifest as its only entry, if there is one.
    pub index: Option<Document>,
}

impl Documents {
    /// The documents in which BuildKit reads `manifest`: its own form, to the
    /// byte what BuildKit would write, as long as BuildKit reads that, and
    /// else the inline form.
    ///
    /// A cache without layers, or one whose inline form would have more than
    /// 64 MiB, stays in the usual form: see [`Self::too_large`].
    ///
    /// # Errors
    /// When the manifest is not valid ([`Manifest::validate`]).
    pub fn of(manifest: &Manifest) -> Result<Self, ManifestError> {
        manifest.validate()?;
        let usual = Self::usual(manifest)?;
        if usual.too_large().is_none() {
            return Ok(usual);
        }
        Ok(Self::inline(manifest)?.unwrap_or(usual))
    }

    /// The documents in the form `form`, whatever their size; the inline form
    /// only where there can be one.
    ///
    /// # Errors
    /// When the manifest is not valid ([`Manifest::validate`]).
    pub fn in_form(manifest: &Manifest, form: Form) -> Result<Option<Self>, ManifestError> {
        manifest.validate()?;
        Ok(match form {
            Form::Usual => Some(Self::usual(manifest)?),
            Form::Inline => Self::inline(manifest)?,
        })
    }

    fn usual(manifest: &Manifest) -> Result<Self, RecordsError> {
        let config = document::config_json(manifest).map_err(RecordsError::Json)?;
        let config = Document::new(config, CONFIG_TYPE);
        let json = document::manifest_json(manifest, config.descriptor());
        Ok(Self {
            form: Form::Usual,
            config,
            manifest: Document::new(json.map_err(RecordsError::Json)?, MANIFEST_TYPE),
            index: None,
        })
    }

    fn inline(manifest: &Manifest) -> Result<Option<Self>, RecordsError> {
        let Some(config) = inline::config_json(manifest, MAX_JSON_BYTES as usize)? else {
            return Ok(None);
        };
        let config = Document::new(config, IMAGE_CONFIG_TYPE);
        let json = inline::manifest_json(manifest, config.descriptor())?;
        let manifest = Document::new(json, MANIFEST_TYPE);
        let index = (manifest.size() > BUILDKIT_JSON_BYTES).then(|| index_of(&manifest));
        Ok(Some(Self {
            form: Form::Inline,
            config,
            manifest,
            index: index.transpose().map_err(RecordsError::Json)?,
        }))
    }

    /// The document that a tag names: the index, or else the manifest.
    pub fn top(&self) -> &Document {
        self.index.as_ref().unwrap_or(&self.manifest)
    }

    /// All of them, in an order in which each comes after those that it names.
    pub fn iter(&self) -> impl Iterator<Item = &Document> {
        [&self.config, &self.manifest]
            .into_iter()
            .chain(&self.index)
    }

    /// `manifest` or `config`, and its size in bytes, where BuildKit will not
    /// read it.
    pub fn too_large(&self) -> Option<(&'static str, u64)> {
        let limited = match self.form {
            Form::Usual => [("manifest", &self.manifest), ("config", &self.config)],
            // The same twice: all but the top is read without a limit.
            Form::Inline => [("manifest", self.top()); 2],
        };
        let mut sizes = limited.into_iter().map(|(what, of)| (what, of.size()));
        sizes.find(|(_, size)| *size > BUILDKIT_JSON_BYTES)
    }
}

impl Document {
    fn new(json: String, media_type: &'static str) -> Self {
        Self {
            media_type,
            digest: Digest::of(json.as_bytes()),
            json,
        }
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.json.len() as u64
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor {
            size: self.size(),
            digest: self.digest.clone(),
            ..describe("", self.media_type)
        }
    }
}

#[derive(Serialize)]
struct OneImage {
    #[serde(rename = "schemaVersion")]
    schema_version: u8,
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    manifests: [Descriptor; 1],
}

fn index_of(manifest: &Document) -> serde_json::Result<Document> {
    let json = go_json::to_string(&OneImage {
        schema_version: 2,
        media_type: INDEX_TYPE,
        manifests: [manifest.descriptor()],
    })?;
    Ok(Document::new(json, INDEX_TYPE))
}

/// What [`assemble`] made of the documents it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assembly {
    /// The cache. BuildKit could use it ([`Manifest::validate_for_buildkit`]).
    Whole(Manifest),
    /// These documents are needed first, all of them.
    Needs(Vec<DocumentRef>),
}

/// A document that another one names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRef {
    /// Its media type, as the other one says.
    pub media_type: String,
    /// Its digest, by which it is to be found and checked.
    pub digest: Digest,
    /// Its size in bytes, as the other one says; to be checked.
    pub size: u64,
    /// Whether it is a manifest or an index, which registries keep apart from
    /// blobs.
    pub is_manifest: bool,
}

/// Why documents are not a cache.
#[derive(Debug, thiserror::Error)]
pub enum NotAssembled {
    /// It is something else, such as an image without a cache.
    #[error("this is not a build cache but {found}")]
    NotACache {
        /// What it is.
        found: String,
    },
    /// A document is not what it should be.
    #[error("{}: {reason}", .document.as_ref().map_or("the manifest".to_owned(), |digest| format!("the document {digest}")))]
    Damaged {
        /// Which one; none for the top document.
        document: Option<Digest>,
        /// What is wrong with it.
        reason: String,
    },
    /// There is more of it than any cache has.
    #[error(
        "its index names {documents} documents with {bytes} bytes; at most {MAX_DOCUMENTS} with {MAX_ALL_BYTES} bytes are read"
    )]
    TooMuch {
        /// How many documents.
        documents: usize,
        /// All of their bytes.
        bytes: u64,
    },
    /// The cache is not one that BuildKit could use.
    #[error("the cache cannot be used: {0}")]
    Manifest(#[from] ManifestError),
}

/// Reads a cache from its top document, whichever form it is in, and from
/// `documents`, which are those that an earlier call for the same `top` needed.
///
/// Read are all forms that BuildKit writes: its image manifest, its index and
/// Docker's manifest list; the inline form; and images that were built with
/// `--cache-to type=inline`, for one platform or several, whose caches become
/// one. Start with no documents. After at most five calls the cache is whole,
/// as long as everything that was needed is given.
///
/// The caller fetches the documents, and compares their sizes and digests.
///
/// # Errors
/// When it is not a cache, or a damaged one, or BuildKit could not use it.
pub fn assemble(
    top: &[u8],
    documents: &HashMap<Digest, Vec<u8>>,
) -> Result<Assembly, NotAssembled> {
    Ok(match draft(top, documents)? {
        Drafting::Needs(needs) => Assembly::Needs(needs),
        Drafting::Whole(draft) => Assembly::Whole(usable::of_draft(draft, &|_| true)?.manifest),
    })
}

/// What [`draft`] came to.
pub(super) enum Drafting {
    /// The cache, which may have layers that cannot be used.
    Whole(Draft),
    /// These documents are needed first, all of them.
    Needs(Vec<DocumentRef>),
}

/// Reads a cache as [`assemble`] does, and leaves in it the layers that cannot
/// be used.
pub(super) fn draft(
    top: &[u8],
    documents: &HashMap<Digest, Vec<u8>>,
) -> Result<Drafting, NotAssembled> {
    let mut reading = Reading {
        documents,
        needs: HashMap::new(),
        bytes: 0,
        configs: HashSet::new(),
        caches: Vec::new(),
    };
    reading.manifest(top, None, 0)?;
    let Reading { needs, caches, .. } = reading;
    let mut needs: Vec<_> = needs
        .into_values()
        .filter(|(_, is_there)| !is_there)
        .collect();
    if !needs.is_empty() {
        needs.sort_by(|(a, _), (b, _)| a.digest.cmp(&b.digest));
        return Ok(Drafting::Needs(
            needs.into_iter().map(|(of, _)| of).collect(),
        ));
    }
    let mut caches = caches;
    match caches.len() {
        0 => Err(not_a_cache(&NotACache::Index)),
        1 => Ok(Drafting::Whole(caches.remove(0))),
        _ => {
            let usable = caches.into_iter().map(|draft| {
                let usable = usable::of_draft(draft, &|_| true)?;
                Ok::<_, NotAssembled>(usable.manifest)
            });
            let usable = usable.collect::<Result<_, _>>()?;
            let cache = records::joined(usable).map_err(ManifestError::Records)?;
            Ok(Drafting::Whole(Draft::from(cache)))
        }
    }
}

/// A manifest of an image.
#[derive(Deserialize)]
struct Image {
    config: Descriptor,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Images {
    manifests: Option<Vec<Descriptor>>,
}

/// How deep indexes may name indexes.
const MAX_DEPTH: usize = 3;

struct Reading<'a> {
    documents: &'a HashMap<Digest, Vec<u8>>,
    /// What was asked for so far, and whether it was there.
    needs: HashMap<Digest, (DocumentRef, bool)>,
    bytes: u64,
    /// The configs that were read: two images with one config have one cache.
    configs: HashSet<Digest>,
    caches: Vec<Draft>,
}

impl<'a> Reading<'a> {
    /// Reads a manifest or an index, the one at the top if `at` is none.
    fn manifest(
        &mut self,
        json: &[u8],
        at: Option<&Digest>,
        depth: usize,
    ) -> Result<(), NotAssembled> {
        match CacheManifest::parse(json) {
            Ok(manifest) => {
                if let Some(config) = self.config(&manifest.config)? {
                    let cache = manifest.with_config(config);
                    let of = Some(&manifest.config.digest);
                    self.caches
                        .push(cache.map_err(|reason| damaged(of, &reason))?);
                }
                Ok(())
            }
            Err(NotACache::Image(config_type)) if inline::is_image_config(&config_type) => {
                let image: Image = go_json::object(json).map_err(|error| damaged(at, &error))?;
                let Some(config) = self.config(&image.config)? else {
                    return Ok(());
                };
                let cache = inline::read(image.layers.as_deref().unwrap_or_default(), config);
                let cache = cache.map_err(|reason| damaged(Some(&image.config.digest), &reason))?;
                // One image of several may well have none.
                if cache.is_none() && at.is_none() {
                    let found = "an image without a cache in its config, \
                                 where `--cache-to type=inline` puts one";
                    return Err(not_a_cache(&found));
                }
                self.caches.extend(cache.map(Draft::from));
                Ok(())
            }
            Err(NotACache::Index) if depth < MAX_DEPTH => {
                let images: Images = go_json::object(json).map_err(|error| damaged(at, &error))?;
                for image in images
                    .manifests
                    .iter()
                    .flatten()
                    .filter(|image| is_manifest(&image.media_type))
                {
                    let already = self.needs.contains_key(&image.digest);
                    if let Some(json) = self.get(image, true)?.filter(|_| !already) {
                        self.manifest(json, Some(&image.digest), depth + 1)?;
                    }
                }
                Ok(())
            }
            // What is attached to an image may be anything.
            Err(NotACache::Image(_) | NotACache::Index) if at.is_some() => Ok(()),
            Err(reason @ (NotACache::Image(_) | NotACache::Index)) => Err(not_a_cache(&reason)),
            Err(reason) => Err(damaged(at, &reason)),
        }
    }

    /// The config that `of` names, if it is there and was not read before.
    fn config(&mut self, of: &Descriptor) -> Result<Option<&'a [u8]>, NotAssembled> {
        let found = self.get(of, false)?;
        Ok(found.filter(|_| self.configs.insert(of.digest.clone())))
    }

    /// The document that `of` names, if it is there; else it is needed.
    fn get(
        &mut self,
        of: &Descriptor,
        is_manifest: bool,
    ) -> Result<Option<&'a [u8]>, NotAssembled> {
        let found = self.documents.get(&of.digest).map(Vec::as_slice);
        if !self.needs.contains_key(&of.digest) {
            self.bytes = self.bytes.saturating_add(of.size);
            let need = DocumentRef {
                media_type: of.media_type.clone(),
                digest: of.digest.clone(),
                size: of.size,
                is_manifest,
            };
            self.needs
                .insert(of.digest.clone(), (need, found.is_some()));
            let documents = self.needs.len();
            if documents > MAX_DOCUMENTS || self.bytes > MAX_ALL_BYTES {
                let bytes = self.bytes;
                return Err(NotAssembled::TooMuch { documents, bytes });
            }
        }
        Ok(found)
    }
}

fn is_manifest(media_type: &str) -> bool {
    [
        MANIFEST_TYPE,
        INDEX_TYPE,
        DOCKER_MANIFEST_TYPE,
        DOCKER_INDEX_TYPE,
    ]
    .contains(&media_type)
}

fn not_a_cache(found: &dyn ToString) -> NotAssembled {
    NotAssembled::NotACache {
        found: found.to_string(),
    }
}

fn damaged(document: Option<&Digest>, reason: &dyn ToString) -> NotAssembled {
    NotAssembled::Damaged {
        document: document.cloned(),
        reason: reason.to_string(),
    }
}
