//! Manifests: what a tag leads to. A manifest that comes in becomes a cache under
//! its name once all its layers are durable; one that goes out promises only what
//! the store can give.

use std::collections::HashMap;
use std::sync::Arc;

use build_cache_host::{Digest, Error, Manifest};
use futures::StreamExt;
use http::Request;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use serde_json::json;

use crate::convert;
use crate::documents::Document;
use crate::gateway::{Inner, Written};
use crate::intake;
use crate::reference::{Reference, Repository, Tag};
use crate::refusal::{Code, Refusal};
use crate::reply::{self, Reply};
use crate::route::Query;
use crate::source::Source;
use crate::uploads::refused;

/// How many names' manifests are remembered as they were written.
const REMEMBERED: usize = 1000;
/// How many tags are listed at once where the client does not say.
const TAGS: usize = 1000;

/// A manifest that a client pushed.
struct Push {
    name: String,
    manifest: Manifest,
    /// The documents that it names.
    needs: Vec<Digest>,
    digest: Digest,
    document: Document,
}

impl Inner {
    /// Gives a manifest.
    pub async fn get_manifest(
        self: &Arc<Self>,
        repository: &Repository,
        reference: &Reference,
        is_head: bool,
    ) -> Result<Reply, Refusal> {
        let digest = match reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(tag) => {
                let name = self.name(repository, tag)?;
                let found = self.manifest_of(&name).await;
                found.ok_or_else(|| unknown(&format!("{repository}:{tag}"), &name))?
            }
        };
        let Some(document) = self.documents.get(&digest) else {
            return Err(Refusal::new(
                Code::ManifestUnknown,
                format!(
                    "there is no manifest {digest}: ask for it by its tag, since stores keep a manifest by its name alone"
                ),
            ));
        };
        let Document { bytes, media_type } = document;
        Ok(reply::manifest(&digest, &media_type, bytes, is_head))
    }

    /// Takes a manifest.
    pub async fn put_manifest(
        self: &Arc<Self>,
        repository: &Repository,
        reference: &Reference,
        request: &mut Request<Incoming>,
    ) -> Result<Reply, Refusal> {
        self.target()?;
        let limits = &self.options.limits;
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.map(str::to_owned);
        let body = request.body_mut();
        let collected = intake::collect(body, limits.manifest_bytes, limits.patience).await;
        let body = collected.map_err(|error| refused(&error))?;
        let digest = Digest::of(&body);
        let document = Document {
            media_type: convert::media_type(content_type.as_deref(), &body),
            bytes: body.clone(),
        };
        let location = format!("/v2/{repository}/manifests/{digest}");
        match reference {
            Reference::Digest(wanted) if *wanted != digest => {
                return Err(Refusal::new(
                    Code::DigestInvalid,
                    format!("the manifest has the digest {digest}, not {wanted}"),
                ));
            }
            Reference::Digest(_) => {
                convert::may_be_part(&body)?;
                self.documents.put(digest.clone(), document);
            }
            Reference::Tag(tag) => {
                let name = self.name(repository, tag)?;
                let read = convert::read(&body, |digest| {
                    self.documents.get(digest).map(|document| document.bytes)
                })?;
                let push = Push {
                    name,
                    manifest: read.manifest,
                    needs: read.needs,
                    digest: digest.clone(),
                    document,
                };
                self.push(push).await?;
            }
        }
        Ok(reply::created(&location, &digest))
    }

    /// Stores a cache, or promises to.
    async fn push(self: &Arc<Self>, push: Push) -> Result<(), Refusal> {
        if !self.options.write_behind {
            return self.publish(&push).await;
        }
        // Until it is written, whoever asks gets it from memory. Of two that
        // are on their way under one name, the later one counts.
        self.documents
            .put(push.digest.clone(), push.document.clone());
        let turn = {
            let mut behind = self.behind();
            let turn = behind.get(&push.name).map_or(0, |(_, turn)| turn + 1);
            behind.insert(push.name.clone(), (push.digest.clone(), turn));
            turn
        };
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let published = inner.publish(&push).await;
            if let Err(refusal) = &published {
                let (name, why) = (&push.name, &refusal.message);
                inner
                    .stats
                    .warn(format!("the cache {name} was not stored: {why}"));
            }
            let mut behind = inner.behind();
            let is_latest = behind
                .get(&push.name)
                .is_some_and(|(_, latest)| *latest == turn);
            // One that could not be stored stays, to be named at the end.
            if is_latest && published.is_ok() {
                behind.remove(&push.name);
            }
            drop(behind);
            inner.behind_changed.send_replace(());
        });
        Ok(())
    }

    /// Stores a cache: first all that is on its way, then the name.
    async fn publish(self: &Arc<Self>, push: &Push) -> Result<(), Refusal> {
        match self.try_publish(push).await {
            Err(refusal) if self.options.ignore_errors => {
                let (name, why) = (&push.name, &refusal.message);
                self.stats.warn(format!(
                    "the cache {name} was not stored, which ignore-error=true allows: {why}"
                ));
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn try_publish(self: &Arc<Self>, push: &Push) -> Result<(), Refusal> {
        let target = self.target()?;
        let layers = sizes(&push.manifest);
        for blob in layers.keys() {
            if let Some(document) = self.documents.get(blob) {
                self.store_document(blob, &document.bytes).await?;
            }
        }
        let settled = target.pending.settle(layers.keys().cloned()).await;
        settled.map_err(|error| Refusal::from_store(&error))?;
        let store = &target.source.store;
        if let Err(error) = store.publish(&push.name, &push.manifest).await {
            if let Error::MissingLayers(missing) = &error {
                target.source.learn_absent(missing);
            }
            return Err(Refusal::from_store(&error));
        }
        self.remember(push);
        let bytes = layers.values().sum();
        self.stats.published(&push.name, layers.len(), bytes);
        Ok(())
    }

    /// Remembers the manifest as it was written, so that it can be given back to
    /// the byte.
    fn remember(&self, push: &Push) {
        let Ok(canonical) = convert::write(&push.manifest) else {
            return;
        };
        self.documents
            .put(push.digest.clone(), push.document.clone());
        if !canonical.is_usual || !convert::is_readable(push.document.bytes.len()) {
            // BuildKit gets it in another form.
            self.written().remove(&push.name);
            return;
        }
        let written = Written {
            canonical: canonical.top,
            given: push.digest.clone(),
            needs: push.needs.clone(),
        };
        let mut remembered = self.written();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(push.name.clone(), written);
    }

    /// The manifest of a name, made ready to be given.
    async fn manifest_of(self: &Arc<Self>, name: &str) -> Option<Digest> {
        let behind = self.behind().get(name).map(|(digest, _)| digest.clone());
        if let Some(digest) = behind.filter(|digest| self.documents.get(digest).is_some()) {
            return Some(digest);
        }
        for source in &self.from {
            match source.store.load(name).await {
                Ok(Some(loaded)) => match self.prepare(source, name, loaded.manifest).await {
                    Ok(Some(digest)) => return Some(digest),
                    Ok(None) => {}
                    Err(why) => self.stats.warn(format!(
                        "{}: the cache {name} cannot be used: {why}",
                        source.label
                    )),
                },
                Ok(None) => {}
                Err(error) => self.stats.warn(format!(
                    "{}: the cache {name} cannot be loaded: {error}",
                    source.label
                )),
            }
        }
        self.stats.absent(name);
        None
    }

    /// Takes out what the store cannot give, and keeps the documents. None where
    /// nothing is left.
    async fn prepare(
        &self,
        source: &Source,
        name: &str,
        manifest: Manifest,
    ) -> Result<Option<Digest>, String> {
        let layers = sizes(&manifest);
        let blobs: Vec<_> = layers.keys().cloned().collect();
        let found = source.find_all(&blobs).await;
        let found = found.map_err(|error| error.to_string())?;
        let missing: Vec<_> = layers
            .iter()
            .filter(|(blob, size)| {
                let stored = found.get(*blob).and_then(Option::as_ref);
                stored.is_none_or(|stored| stored.size != **size)
            })
            .map(|(blob, _)| blob.clone())
            .collect();
        let pruned = manifest
            .without_layers(&missing)
            .map_err(|error| error.to_string())?;
        let left_out = layers.len() - sizes(&pruned.manifest).len();
        if left_out > 0 {
            self.stats.warn(format!(
                "{}: the cache {name} is given without {left_out} of its {} layers: the store has lost or spoiled {} of them",
                source.label,
                layers.len(),
                missing.len(),
            ));
        }
        if !layers.is_empty() && pruned.manifest.layers.is_empty() {
            return Ok(None);
        }
        let written = convert::write(&pruned.manifest).map_err(|error| error.to_string())?;
        self.stats
            .imported(name, &sizes(&pruned.manifest), left_out);
        if let Some(given) = self.as_given(name, &written.top) {
            return Ok(Some(given));
        }
        for (digest, document) in written.documents {
            self.documents.put(digest, document);
        }
        Ok(Some(written.top))
    }

    /// What a client wrote for this very cache, if all of it is still here.
    fn as_given(&self, name: &str, canonical: &Digest) -> Option<Digest> {
        let written = self.written().get(name).cloned();
        let written = written.filter(|written| written.canonical == *canonical)?;
        let is_here = |digest: &Digest| self.documents.get(digest).is_some();
        let is_whole = is_here(&written.given) && written.needs.iter().all(is_here);
        is_whole.then_some(written.given)
    }

    /// The tags of a repository.
    pub async fn tags(&self, repository: &Repository, query: &Query) -> Result<Reply, Refusal> {
        let mut tags: Vec<String> = Vec::new();
        for source in &self.from {
            let names = source.store.names().await;
            let mut names = names.map_err(|error| Refusal::from_store(&error))?;
            while let Some(name) = names.next().await {
                let name = name.map_err(|error| Refusal::from_store(&error))?;
                let tag = self.options.names.tag(repository, &name);
                tags.extend(tag.map(|tag| tag.as_str().to_owned()));
            }
        }
        tags.sort();
        tags.dedup();
        if let Some(last) = &query.last {
            tags.retain(|tag| tag > last);
        }
        tags.truncate(query.n.unwrap_or(TAGS));
        let list = json!({ "name": repository.as_str(), "tags": tags });
        Ok(reply::text("application/json", list.to_string()))
    }

    fn name(&self, repository: &Repository, tag: &Tag) -> Result<String, Refusal> {
        let name = self.options.names.name(repository, tag);
        name.map_err(|error| Refusal::new(Code::NameInvalid, error.to_string()))
    }
}

/// The layers of a cache, each once, with their sizes.
fn sizes(manifest: &Manifest) -> HashMap<Digest, u64> {
    let layers = manifest.layers.iter();
    layers
        .map(|layer| (layer.blob.clone(), layer.size))
        .collect()
}

fn unknown(reference: &str, name: &str) -> Refusal {
    Refusal::new(
        Code::ManifestUnknown,
        format!("there is no cache {reference}: the store has no `{name}` that could be used"),
    )
    .with_detail(json!({ "name": name }))
}
