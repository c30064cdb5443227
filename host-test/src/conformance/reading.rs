//! Reading layers.

use build_cache_host::Digest;
use futures::StreamExt;

use super::{Subject, read};
use crate::Outcome;
use crate::failure::ensure;
use crate::sample::{Sample, unique};

pub(super) async fn any_range_of_a_layer_can_be_read(subject: &Subject) -> Outcome {
    let size = 300_000;
    let sample = Sample::of_sizes([size]);
    let name = unique("ranges");
    let blob = &sample.digests()[0];
    let cache = subject.open(&[&name], sample.clone()).await?;
    cache.export(&sample.manifest).await?;

    let to_the_end = [(0, None), (1, None), (size - 1, None), (size, None)];
    let parts = [(0, 0), (0, 1), (7, 100_000), (size - 1, 1), (size, 0)];
    let past_the_end = [(0, size + 1), (size - 10, 100), (size, 1), (5, u64::MAX)];
    let parts = parts.into_iter().chain(past_the_end);
    let ranges = to_the_end
        .into_iter()
        .chain(parts.map(|(offset, length)| (offset, Some(length))));
    for (offset, length) in ranges {
        let bytes = read(&cache, blob, offset, length).await?;
        let length_there = length.unwrap_or(u64::MAX).min(size - offset);
        let expected = sample.bytes(blob, offset, length_there);
        ensure!(
            bytes.as_ref() == Some(&expected),
            "of {length:?} bytes from {offset}, {} came instead of {}, or others",
            bytes.map_or("none".to_owned(), |bytes| bytes.len().to_string()),
            expected.len()
        );
    }
    Ok(())
}

pub(super) async fn a_layer_that_the_store_does_not_have_is_none(subject: &Subject) -> Outcome {
    let cache = subject.open_to_read(&[&unique("nothing")]).await?;
    let nobody = Digest::of(unique("no layer").as_bytes());
    for (offset, length) in [(0, None), (0, Some(10)), (100, None), (0, Some(0))] {
        let bytes = read(&cache, &nobody, offset, length).await?;
        ensure!(
            bytes.is_none(),
            "a layer that is not there gave {bytes:?} from {offset}"
        );
    }
    Ok(())
}

pub(super) async fn a_stream_that_nobody_reads_to_its_end_does_no_harm(
    subject: &Subject,
) -> Outcome {
    let sample = Sample::of_sizes([3_000_000]);
    let name = unique("abandoned");
    let blob = &sample.digests()[0];
    let cache = subject.open(&[&name], sample.clone()).await?;
    cache.export(&sample.manifest).await?;
    for _ in 0..20 {
        if let Some(mut chunks) = cache.read(blob, 0, None).await? {
            chunks.next().await.transpose()?;
        }
    }
    let bytes = read(&cache, blob, 2_999_990, None).await?;
    ensure!(
        bytes == Some(sample.bytes(blob, 2_999_990, 10)),
        "after streams that were given up, a read gave {bytes:?}"
    );
    Ok(())
}
