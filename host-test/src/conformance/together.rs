//! Calls that run side by side.

use futures::future::try_join_all;
use futures::try_join;

use super::{Subject, check_holds, load, read};
use crate::failure::ensure;
use crate::sample::{Sample, unique};
use crate::{Failure, Outcome};

pub(super) async fn overlapping_exports_from_several_instances_all_succeed(
    subject: &Subject,
) -> Outcome {
    let base = Sample::of_sizes([5000, 300_000, 70_000, 10]);
    let name = unique("overlapping");
    let exports = (0..6).map(|number| {
        let sample = base.sharing(4, 1000 + number);
        let name = format!("{name}-{number}");
        async move {
            subject.store(&name, &sample).await?;
            let cache = subject.open_to_read(&[&name]).await?;
            check_holds(&cache, &sample.manifest).await
        }
    });
    try_join_all(exports).await?;
    Ok(())
}

pub(super) async fn calls_of_every_kind_run_side_by_side_in_one_instance(
    subject: &Subject,
) -> Outcome {
    let base = Sample::of_sizes([4000, 200_000, 60_000]);
    let exported = base.sharing(3, 77);
    let name = unique("one-instance");
    let cache = subject.open(&[&name], exported.clone()).await?;
    cache.export(&base.manifest).await?;

    let exports = try_join_all((0..4).map(|_| cache.export(&exported.manifest)));
    let imports = try_join_all((0..8).map(|_| cache.import()));
    let blob = &base.digests()[1];
    let reads = try_join_all((0..16).map(|_| read(&cache, blob, 1000, Some(100_000))));
    let (_, imports, reads) = try_join!(
        async { Ok(exports.await?) },
        async { Ok(imports.await?) },
        reads
    )?;
    for mut imported in imports {
        let one = imported.pop().ok_or_else(|| {
            Failure::Broken(format!("{name} was gone while it was being replaced"))
        })?;
        let loaded = one.outcome?;
        ensure!(
            loaded.missing.is_empty()
                && [&base.manifest, &exported.manifest].contains(&&loaded.manifest),
            "an import beside exports gave {loaded:?}"
        );
    }
    let expected = base.bytes(blob, 1000, 100_000);
    for bytes in reads {
        ensure!(
            bytes.as_ref() == Some(&expected),
            "a read beside exports gave other bytes"
        );
    }
    check_holds(&cache, &exported.manifest).await
}

pub(super) async fn a_layer_can_be_read_many_times_at_once(subject: &Subject) -> Outcome {
    let sample = Sample::of_sizes([1_000_000]);
    let name = unique("many-reads");
    let blob = &sample.digests()[0];
    let cache = subject.open(&[&name], sample.clone()).await?;
    cache.export(&sample.manifest).await?;
    load(&cache).await?;
    let reads = (0..64).map(|number: u64| {
        let (cache, sample) = (&cache, &sample);
        async move {
            let (offset, length) = (number * 10_000, 123_456);
            let bytes = read(cache, blob, offset, Some(length)).await?;
            ensure!(
                bytes == Some(sample.bytes(blob, offset, length)),
                "{length} bytes from {offset} came back as others"
            );
            Ok(())
        }
    });
    try_join_all(reads).await?;
    Ok(())
}
