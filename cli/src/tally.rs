//! What has been moved of what there is to move: numbers alone, for whatever
//! shows them.

use std::collections::HashMap;
use std::time::Duration;

use build_cache_host::{Digest, Manifest};

/// The layers of a transfer, and how much of them has been moved.
#[derive(Debug, Default)]
pub struct Tally {
    layers: HashMap<Digest, Layer>,
    total_bytes: u64,
    moved_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Layer {
    size: u64,
    moved: u64,
}

impl Tally {
    /// Adds layers, each blob once.
    pub fn add(&mut self, layers: impl IntoIterator<Item = (Digest, u64)>) {
        for (blob, size) in layers {
            let layer = Layer { size, moved: 0 };
            if self.layers.insert(blob, layer).is_none() {
                self.total_bytes += size;
            }
        }
    }

    /// The layer need not be moved.
    pub fn already_there(&mut self, blob: &Digest) {
        if let Some(layer) = self.layers.get_mut(blob) {
            self.total_bytes -= layer.size - layer.moved;
            layer.size = layer.moved;
        }
    }

    /// More bytes of the layer were moved. Returns how many of them count:
    /// what is moved a second time does not.
    pub fn moved(&mut self, blob: &Digest, bytes: u64) -> u64 {
        let Some(layer) = self.layers.get_mut(blob) else {
            return 0;
        };
        let bytes = bytes.min(layer.size - layer.moved);
        layer.moved += bytes;
        self.moved_bytes += bytes;
        bytes
    }

    /// A layer's size, 0 where it is none of these.
    pub fn size(&self, blob: &Digest) -> u64 {
        self.layers.get(blob).map_or(0, |layer| layer.size)
    }

    /// The bytes moved so far, each once.
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// The bytes that are to be moved in all.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes a second, and how long the rest will take at that rate.
    pub fn pace(&self, elapsed: Duration) -> Option<(u64, Duration)> {
        let rate = self.moved_bytes as f64 / elapsed.as_secs_f64();
        let left = (self.total_bytes - self.moved_bytes) as f64 / rate;
        Some((rate as u64, Duration::try_from_secs_f64(left).ok()?))
    }
}

/// The blobs of a cache with their sizes, each once, and their sum.
pub fn blobs(manifest: &Manifest) -> (HashMap<Digest, u64>, u64) {
    let layers = manifest.layers.iter();
    let blobs: HashMap<_, _> = layers
        .map(|layer| (layer.blob.clone(), layer.size))
        .collect();
    let bytes = blobs.values().sum();
    (blobs, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> (Tally, [Digest; 2]) {
        let blobs = [Digest::of(b"one"), Digest::of(b"two")];
        let mut tally = Tally::default();
        tally.add([
            (blobs[0].clone(), 100),
            (blobs[1].clone(), 50),
            (blobs[0].clone(), 100),
        ]);
        (tally, blobs)
    }

    #[test]
    fn a_blob_counts_once_and_no_byte_twice() {
        let (mut tally, [one, _]) = tally();
        assert_eq!(tally.total_bytes(), 150);
        assert_eq!(tally.moved(&one, 80), 80);
        assert_eq!(tally.moved(&one, 80), 20);
        assert_eq!(tally.moved(&Digest::of(b"of nobody"), 80), 0);
        assert_eq!(tally.moved_bytes(), 100);
    }

    #[test]
    fn what_is_there_is_not_to_be_moved() {
        let (mut tally, [one, two]) = tally();
        tally.already_there(&two);
        tally.already_there(&two);
        tally.moved(&one, 30);
        tally.already_there(&one);
        assert_eq!((tally.moved_bytes(), tally.total_bytes()), (30, 30));
    }

    #[test]
    fn the_rest_takes_as_long_as_the_pace_says() {
        let (mut tally, [one, _]) = tally();
        assert_eq!(tally.pace(Duration::from_secs(1)), None);
        tally.moved(&one, 50);
        let pace = tally.pace(Duration::from_secs(2));
        assert_eq!(pace, Some((25, Duration::from_secs(4))));
    }
}
