//! What other writers leave under a layer's key: blocks that were never made a
//! blob, and the blob itself, while it is being sent.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use build_cache_host::{Content, Digest, Event};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use host_test::conformance::{Subject, check_holds};
use host_test::sample::Sample;
use host_test::store::BackDoor;

use crate::setup::run;

/// The size of a block, in bytes.
const BLOCK: u64 = 1 << 16;

/// The sizes of a layer in one request and of one in blocks.
const SIZES: [u64; 2] = [1000, 5 * BLOCK];

/// The length of the ids that BuildKit's SDK gives to blocks, in bytes:
/// a UUID and a number, as text.
const BUILDKITS_ID: usize = 64;

async fn blocks_that_wait_do_no_harm(subject: &Subject) {
    let subject = subject.clone().with("block_size", &BLOCK.to_string());
    let back_door = subject.back_door().expect("a back door");
    for id_length in [BUILDKITS_ID, 48, 8] {
        let sample = Sample::of_sizes(SIZES);
        for blob in sample.digests() {
            for number in 0..3 {
                let id = BASE64.encode(format!("{number:0>id_length$}"));
                let junk = Bytes::from_static(b"not the layer");
                let key = back_door.layer_key(&blob);
                let left = back_door.store().leave_block(&key, &id, junk).await;
                left.expect("a block that waits");
            }
        }
        let cache = subject.open(&["app"], sample.clone()).await.expect("open");
        let summary = cache.export(&sample.manifest).await.expect("an export");
        assert_eq!(summary.layers_stored, 2);
        check_holds(&cache, &sample.manifest).await.expect("whole");
    }
}

async fn a_blob_that_appears_in_mid_upload_does_no_harm(subject: &Subject) {
    let subject = subject.clone().with("block_size", &BLOCK.to_string());
    let back_door = subject.back_door().expect("a back door");
    for size in SIZES {
        let sample = Sample::of_sizes([size]);
        let content = Overtaken {
            sample: sample.clone(),
            back_door: back_door.clone(),
        };
        let opened = subject.open_and_hear(&["app"], content).await;
        let (cache, heard) = opened.expect("open");
        let summary = cache.export(&sample.manifest).await.expect("an export");
        assert_eq!((summary.layers_stored, summary.layers_reused), (0, 1));
        let reused = Event::LayerReused(sample.digests()[0].clone());
        assert!(heard.events().contains(&reused), "{:?}", heard.events());
        check_holds(&cache, &sample.manifest).await.expect("whole");
    }
}

/// Content that stores the whole layer itself as soon as it is read.
struct Overtaken {
    sample: Sample,
    back_door: BackDoor,
}

impl Content for Overtaken {
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let size = self.sample.size();
        let whole = Bytes::from(self.sample.bytes(blob, 0, size));
        let (back_door, blob) = (self.back_door.clone(), blob.clone());
        let bytes = self.sample.read(&blob, offset, length);
        stream::once(async move {
            let stored = back_door.put_layer(&blob, whole).await;
            stored.map_err(io::Error::other)?;
            io::Result::Ok(bytes)
        })
        .try_flatten()
        .boxed()
    }
}

mod azurite {
    use crate::setup::{azblob_on_azurite as subject, run};

    #[test]
    fn blocks_that_wait_do_no_harm() {
        run(async { super::blocks_that_wait_do_no_harm(&subject().await).await });
    }

    #[test]
    fn a_blob_that_appears_in_mid_upload_does_no_harm() {
        run(async {
            super::a_blob_that_appears_in_mid_upload_does_no_harm(&subject().await).await;
        });
    }
}

mod blob_store {
    use crate::setup::{azblob_on, blob_store};

    #[test]
    fn blocks_that_wait_do_no_harm() {
        super::run(async {
            super::blocks_that_wait_do_no_harm(&azblob_on(&blob_store()).await).await;
        });
    }

    #[test]
    fn a_blob_that_appears_in_mid_upload_does_no_harm() {
        super::run(async {
            let subject = azblob_on(&blob_store()).await;
            super::a_blob_that_appears_in_mid_upload_does_no_harm(&subject).await;
        });
    }
}
