//! A layer that the store lost makes a cache miss, not a failed build.

use build_cache_host::{BlobInfo, Cache, Digest, Error};
use futures::StreamExt;

use super::{Subject, check_holds, is_same_set, load, read};
use crate::failure::ensure;
use crate::sample::{Sample, unique};
use crate::{Failure, Outcome};

pub(super) async fn a_lost_layer_is_named_and_stored_again(subject: &Subject) -> Outcome {
    let sample = Sample::of_sizes([100, 200, 300, 400]);
    let name = unique("lost");
    subject.store(&name, &sample).await?;
    let lost = [sample.digests()[1].clone(), sample.digests()[3].clone()];
    for blob in &lost {
        lose(subject, blob).await?;
    }

    let cache = subject.open(&[&name], sample.clone()).await?;
    let loaded = load(&cache).await?;
    ensure!(
        is_same_set(&loaded.missing, &lost),
        "the store lost {lost:?}, and the backend says {:?} are missing",
        loaded.missing
    );
    ensure!(
        read(&cache, &lost[0], 0, None).await?.is_none(),
        "a lost layer can be read"
    );
    let summary = cache.export(&sample.manifest).await?;
    ensure!(
        (summary.layers_stored, summary.layers_reused) == (2, 2),
        "two of four layers were lost, and the summary of an export says {summary:?}"
    );
    check_holds(&cache, &sample.manifest).await
}

pub(super) async fn a_layer_of_another_size_is_missing_until_it_is_stored_again(
    subject: &Subject,
) -> Outcome {
    let back_door = subject.back_door()?;
    let sample = Sample::of_sizes([100, 200]);
    let name = unique("another-size");
    subject.store(&name, &sample).await?;
    let changed = &sample.digests()[1];
    back_door
        .put_layer(changed, b"half of it".as_slice())
        .await?;

    let cache = subject.open(&[&name], sample.clone()).await?;
    let loaded = load(&cache).await?;
    ensure!(
        loaded.missing == [changed.clone()],
        "the store holds {changed} at another size, and {:?} are missing",
        loaded.missing
    );
    cache.export(&sample.manifest).await?;
    check_holds(&cache, &sample.manifest).await
}

pub(super) async fn a_layer_that_cannot_be_read_is_missing_until_it_is_stored_again(
    subject: &Subject,
) -> Outcome {
    let back_door = subject.back_door()?;
    let sample = Sample::of_sizes([100, 200, 300]);
    let (name, other) = (unique("archived"), unique("archived"));
    subject.store(&name, &sample).await?;
    let archived = &sample.digests()[1];
    back_door.archive_layer(archived).await?;

    let cache = subject.open(&[&name], sample.clone()).await?;
    let loaded = load(&cache).await?;
    ensure!(
        loaded.missing == [archived.clone()],
        "the store does not give away {archived}, and {:?} are missing",
        loaded.missing
    );
    ensure!(
        read(&cache, archived, 0, None).await?.is_none(),
        "a layer in the archive can be read"
    );
    // Another cache with the same layer is not promised it either.
    let cache = subject.open(&[&other], sample.clone()).await?;
    let summary = cache.export(&sample.manifest).await?;
    ensure!(
        (summary.layers_stored, summary.layers_reused) == (1, 2),
        "one of three layers cannot be read, and the summary of an export says {summary:?}"
    );
    check_holds(&cache, &sample.manifest).await
}

/// Takes a layer away: past the backend, or through its inventory.
async fn lose(subject: &Subject, blob: &Digest) -> Outcome {
    match subject.back_door() {
        Ok(back_door) => back_door.delete_layer(blob).await,
        Err(no_back_door) => {
            let cache = subject.open_to_read(&["any"]).await?;
            let Some(info) = find(&cache, blob).await.map_err(|_| no_back_door)? else {
                return Err(Failure::Broken(format!("{blob} is stored and not listed")));
            };
            ensure!(
                cache.remove_blob(&info).await?,
                "{blob} was listed and cannot be removed"
            );
            Ok(())
        }
    }
}

/// Finds a layer in the listing.
async fn find(cache: &Cache, blob: &Digest) -> Result<Option<BlobInfo>, Error> {
    let mut listing = cache.blobs().await?;
    while let Some(info) = listing.next().await {
        let info = info?;
        if info.blob == *blob {
            return Ok(Some(info));
        }
    }
    Ok(None)
}
