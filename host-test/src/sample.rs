//! Made-up caches: layers of any size whose bytes are made as they are read,
//! so that a gigabyte costs a megabyte.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;

use build_cache_host::{Content, Digest, Layer, Manifest};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sha2::{Digest as _, Sha256};

/// How long the bytes of a layer are before they repeat. An odd number, so
/// that blocks of a layer differ from one another.
const PERIOD: usize = (1 << 20) + 7;

/// The media type of every layer.
const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A made-up cache: its manifest, and the bytes of its layers.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The cache.
    pub manifest: Manifest,
    blobs: HashMap<Digest, Blob>,
}

#[derive(Debug, Clone)]
struct Blob {
    period: Bytes,
    size: u64,
}

impl Sample {
    /// A cache of one chain of layers, the first at the bottom, with sizes in
    /// bytes. No two calls give the same layers (but for empty ones).
    pub fn of_sizes(sizes: impl IntoIterator<Item = u64>) -> Self {
        Self::seeded(random(), sizes)
    }

    /// The same for the same seed: two samples of one seed share the layers at
    /// the bottom as long as their sizes are equal.
    pub fn seeded(mut seed: u64, sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut sample = Self::default();
        for size in sizes {
            sample.push(size, splitmix(&mut seed));
        }
        sample.write_records();
        sample
    }

    /// A cache that has some of this one's layers, and one more on top.
    pub fn sharing(&self, layers: usize, size: u64) -> Self {
        let mut sample = Self {
            manifest: Manifest {
                layers: self.manifest.layers[..layers].to_vec(),
                records: String::new(),
            },
            blobs: self.blobs.clone(),
        };
        sample.push(size, random());
        sample.write_records();
        sample
    }

    /// Adds a layer on top.
    fn push(&mut self, size: u64, seed: u64) {
        let blob = Blob::seeded(size, seed);
        let digest = blob.digest();
        let number = u32::try_from(self.manifest.layers.len()).unwrap_or(u32::MAX);
        self.manifest.layers.push(Layer {
            blob: digest.clone(),
            size,
            media_type: MEDIA_TYPE.to_owned(),
            diff_id: Digest::of(digest.to_string().as_bytes()),
            created_at: Some("2026-11-23T14:14:42.815976394Z".to_owned()),
            parent: number.checked_sub(1),
        });
        self.blobs.insert(digest, blob);
    }

    /// One record a layer, each on the one before.
    fn write_records(&mut self) {
        let record = |(number, layer): (usize, &Layer)| {
            let mut record = serde_json::json!({
                "digest": layer.diff_id,
                "layers": [{"layer": number, "createdAt": "2026-11-23T14:14:42.815976394Z"}],
            });
            if let Some(below) = number.checked_sub(1) {
                record["inputs"] = serde_json::json!([[{"link": below}]]);
            }
            record
        };
        let layers = self.manifest.layers.iter().enumerate();
        self.manifest.records = serde_json::Value::from_iter(layers.map(record)).to_string();
    }

    /// The digests of the layers, in order.
    pub fn digests(&self) -> Vec<Digest> {
        let layers = self.manifest.layers.iter();
        layers.map(|layer| layer.blob.clone()).collect()
    }

    /// The sizes of all layers together, in bytes.
    pub fn size(&self) -> u64 {
        self.manifest.layers.iter().map(|layer| layer.size).sum()
    }

    /// Part of a layer's bytes. Empty for a layer that is none of this cache.
    pub fn bytes(&self, blob: &Digest, offset: u64, length: u64) -> Vec<u8> {
        let chunks = self.blobs.get(blob).map(|blob| blob.chunks(offset, length));
        chunks.into_iter().flatten().flatten().collect()
    }
}

impl Content for Sample {
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        match self.blobs.get(blob) {
            Some(found) if offset + length <= found.size => {
                stream::iter(found.clone().chunks(offset, length).map(Ok)).boxed()
            }
            _ => {
                let text = format!("the sample has no {length} bytes of {blob} from {offset}");
                stream::iter([Err(io::Error::new(io::ErrorKind::NotFound, text))]).boxed()
            }
        }
    }
}

impl Blob {
    fn seeded(size: u64, mut state: u64) -> Self {
        let length = PERIOD.min(usize::try_from(size).unwrap_or(PERIOD));
        let words = std::iter::repeat_with(|| splitmix(&mut state).to_le_bytes());
        let period = words.flatten().take(length).collect();
        Self { period, size }
    }

    /// The bytes of a range, which must lie within.
    fn chunks(&self, offset: u64, length: u64) -> impl Iterator<Item = Bytes> + use<> {
        let period = self.period.clone();
        let (mut at, end) = (offset.min(self.size), self.size.min(offset + length));
        std::iter::from_fn(move || {
            if at == end {
                return None;
            }
            let start = (at % period.len() as u64) as usize;
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let chunk = period.slice(start..period.len().min(start.saturating_add(left)));
            at += chunk.len() as u64;
            Some(chunk)
        })
    }

    fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for chunk in self.chunks(0, self.size) {
            hash.update(&chunk);
        }
        Digest::from_hash(hash.finalize().into())
    }
}

/// A name that nothing else has, for a test's own space in a store.
pub fn unique(name: &str) -> String {
    format!("{name}-{:016x}", random())
}

/// A number that no other call gives.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The generator SplitMix64: quick, and good enough to tell bytes apart.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_layer_are_the_same_each_time_and_have_its_digest() {
        let size = 2 * PERIOD as u64 + 100;
        let sample = Sample::of_sizes([size]);
        let blob = &sample.digests()[0];
        let whole = sample.bytes(blob, 0, size);
        assert_eq!(Digest::of(&whole), *blob);
        let start = PERIOD as u64 - 3;
        let part = sample.bytes(blob, start, 10);
        assert_eq!(part, whole[start as usize..start as usize + 10]);
    }

    #[test]
    fn no_two_samples_share_a_layer() {
        let (one, other) = (Sample::of_sizes([10]), Sample::of_sizes([10]));
        assert_ne!(one.digests(), other.digests());
        one.manifest
            .validate_for_buildkit()
            .expect("a cache for BuildKit");
    }
}
