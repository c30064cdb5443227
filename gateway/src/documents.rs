//! The manifests and configs that were given out or taken in, by their digests.
//! BuildKit asks for a manifest by the digest that it was told, and for the
//! config that the manifest names, and neither is a blob in the store.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use build_cache_host::Digest;
use bytes::Bytes;

/// A JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub bytes: Bytes,
    pub media_type: String,
}

/// The documents that were used last, up to a number of bytes.
pub(crate) struct Documents {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    documents: HashMap<Digest, (Document, u64)>,
    bytes: usize,
    clock: u64,
}

impl Documents {
    /// Keeps up to `limit` bytes, and always the last one.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// The document, which counts as used now.
    pub fn get(&self, digest: &Digest) -> Option<Document> {
        let mut state = self.state();
        state.clock += 1;
        let clock = state.clock;
        let (document, used) = state.documents.get_mut(digest)?;
        *used = clock;
        Some(document.clone())
    }

    /// Keeps a document.
    pub fn put(&self, digest: Digest, document: Document) {
        let mut state = self.state();
        state.clock += 1;
        let clock = state.clock;
        state.bytes += document.bytes.len();
        if let Some((before, _)) = state.documents.insert(digest, (document, clock)) {
            state.bytes -= before.bytes.len();
        }
        while state.bytes > self.limit && state.documents.len() > 1 {
            let oldest = state.documents.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) else {
                break;
            };
            if let Some((gone, _)) = state.documents.remove(&oldest) {
                state.bytes -= gone.bytes.len();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_that_were_used_last_stay() {
        let documents = Documents::new(10);
        let put = |text: &'static str| {
            let digest = Digest::of(text.as_bytes());
            let document = Document {
                bytes: text.into(),
                media_type: "t".to_owned(),
            };
            documents.put(digest.clone(), document);
            digest
        };
        let (one, two) = (put("one__"), put("two__"));
        assert!(documents.get(&one).is_some());
        put("one__");
        let three = put("three");
        assert!(documents.get(&two).is_none());
        assert!(documents.get(&one).is_some() && documents.get(&three).is_some());
        let large = put("more than ten bytes");
        assert!(documents.get(&large).is_some() && documents.get(&one).is_none());
    }
}
