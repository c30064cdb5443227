//! Layers pass a backend by: its memory does not grow with their sizes.

use build_cache_host::Digest;
use futures::TryStreamExt;
use host_test::conformance::Subject;
use host_test::fixtures;
use host_test::sample::Sample;
use sha2::{Digest as _, Sha256};

use crate::setup::{self, run};

const KB: u64 = 1000;
const GB: u64 = 1 << 30;

/// What the guest's own book-keeping of many blocks may take, in bytes.
const SLACK: usize = 256 << 10;

/// Stores a layer and reads it back, and gives the most memory that it took.
async fn peak_memory(subject: &Subject, name: &str, size: u64) -> usize {
    let sample = Sample::of_sizes([size]);
    let blob = &sample.digests()[0];
    let cache = subject.open(&[name], sample.clone()).await.expect("open");
    cache.export(&sample.manifest).await.expect("an export");

    let chunks = cache.read(blob, 0, None).await.expect("a read");
    let hash = chunks
        .expect("the layer")
        .try_fold(Sha256::new(), async |mut hash, chunk| {
            hash.update(&chunk);
            Ok(hash)
        });
    let hash = hash.await.expect("all of the layer");
    assert_eq!(Digest::from_hash(hash.finalize().into()), *blob);
    cache.peak_memory_bytes()
}

async fn check(subject: &Subject) {
    let small = peak_memory(subject, "small", KB).await;
    let large = peak_memory(subject, "large", GB).await;
    assert!(
        large.abs_diff(small) <= SLACK,
        "{small} bytes of memory for a layer of 1 KB, {large} for one of 1 GB"
    );
}

#[test]
fn the_memory_of_azblob_does_not_grow_with_a_layer() {
    run(async { check(&setup::azblob_on(&setup::blob_store()).await).await });
}

#[test]
fn the_memory_of_the_http_backend_does_not_grow_with_a_layer() {
    run(async { check(&setup::http_on(&setup::blob_store()).await).await });
}

#[test]
fn azblob_is_smaller_than_660_kb() {
    let file = fixtures::component("azblob");
    let size = std::fs::metadata(file).expect("the component").len();
    assert!(size < 660 * KB, "it has {size} bytes");
}
