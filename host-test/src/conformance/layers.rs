//! Single layers: found, stored, read and touched one call at a time.

use std::io;
use std::sync::Arc;

use build_cache_host::{Content, Digest, Error, Event, StoreOutcome, StoredLayer};
use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream::{self, BoxStream, StreamExt};
use futures::try_join;

use super::{Heard, Subject, check_layers, read};
use crate::failure::ensure;
use crate::sample::{Sample, unique};
use crate::{Failure, NotRun, Outcome};

pub(super) async fn single_layers_are_stored_found_and_read(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([1, 5000, 1_300_000, 0]);
    let cache = subject.open(&[&unique("single")], sample.clone()).await?;
    let blobs = sample.digests();
    for layer in &sample.manifest.layers {
        let outcome = cache.store(&layer.blob, layer.size).await?;
        // Every sample's empty layer is the same one.
        ensure!(
            outcome == StoreOutcome::Stored || layer.size == 0,
            "the new layer {} was {outcome:?}",
            layer.blob
        );
    }
    let other = subject.open_to_read(&[&unique("single")]).await?;
    for (layer, found) in sample.manifest.layers.iter().zip(other.find(&blobs).await?) {
        ensure!(
            found.as_ref().is_some_and(|found| found.size == layer.size),
            "{} was stored with {} bytes and found as {found:?}",
            layer.blob,
            layer.size
        );
    }
    check_layers(&other, &sample.manifest).await?;
    // Not one name was written.
    let imported = cache.import().await?;
    ensure!(imported.is_empty(), "layers alone made {imported:?}");
    Ok(())
}

pub(super) async fn a_single_layer_that_is_there_is_not_sent_again(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([700]);
    let blob = &sample.digests()[0];
    let cache = subject.open(&["any"], sample.clone()).await?;
    cache.store(blob, 700).await?;
    // Nothing is lent this time: a backend that reads fails.
    let (cache, heard) = subject.open_and_hear(&["any"], Sample::default()).await?;
    let outcome = cache.store(blob, 700).await?;
    ensure!(
        outcome == StoreOutcome::Reused,
        "a layer that is there was {outcome:?}"
    );
    let events = heard.events();
    ensure!(
        events.contains(&Event::LayerReused(blob.clone())),
        "of a layer that was reused, the events are {events:?}"
    );
    Ok(())
}

pub(super) async fn layers_are_found_in_the_order_asked_for(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    // Enough for a backend to list rather than to ask.
    let stored = Sample::of_sizes((1..=300).collect::<Vec<_>>());
    subject.store(&unique("found"), &stored).await?;
    let nowhere = Sample::of_sizes([9, 9]).digests();
    let mut asked = stored.digests();
    asked.reverse();
    asked.insert(7, nowhere[0].clone());
    asked.push(asked[3].clone());
    asked.push(nowhere[1].clone());
    let cache = subject.open_to_read(&["any"]).await?;
    let found = cache.find(&asked).await?;
    for (blob, found) in asked.iter().zip(&found) {
        let mut layers = stored.manifest.layers.iter();
        let size = layers.find(|l| l.blob == *blob).map(|l| l.size);
        ensure!(
            found.as_ref().map(|found| found.size) == size,
            "{blob} has {size:?} bytes and was found as {found:?}"
        );
    }
    ensure!(
        cache.find(&[]).await?.is_empty(),
        "a search for nothing found something"
    );
    Ok(())
}

pub(super) async fn a_single_layer_of_another_size_is_replaced(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let back_door = subject.back_door()?;
    let sample = Sample::of_sizes([4000]);
    let blob = &sample.digests()[0];
    back_door.put_layer(blob, b"half of it".as_slice()).await?;
    let cache = subject.open(&["any"], sample.clone()).await?;
    let outcome = cache.store(blob, 4000).await?;
    ensure!(
        outcome == StoreOutcome::Stored,
        "a layer that was there at another size was {outcome:?}"
    );
    check_layers(&cache, &sample.manifest).await
}

/// Content that ends each read with an error, as a host does to cancel a store.
struct Cancelled(Sample);

impl Content for Cancelled {
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let half = self.0.read(blob, offset, length / 2);
        half.chain(stream::once(async {
            Err(io::Error::other("the client has gone away"))
        }))
        .boxed()
    }
}

pub(super) async fn a_single_layer_that_breaks_off_is_not_stored(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([6000]);
    let blob = &sample.digests()[0];
    let cancelled = subject.open(&["any"], Cancelled(sample.clone())).await?;
    match cancelled.store(blob, 6000).await {
        Err(Error::Content(text)) if text.contains("the client has gone away") => {}
        other => {
            return Err(Failure::Broken(format!(
                "a store whose content broke off gave {other:?}"
            )));
        }
    }
    let cache = subject.open(&["any"], sample.clone()).await?;
    let found = cache.find(std::slice::from_ref(blob)).await?;
    ensure!(
        found == [None],
        "a layer that broke off was stored: {found:?}"
    );
    cache.store(blob, 6000).await?;
    check_layers(&cache, &sample.manifest).await
}

pub(super) async fn one_layer_can_be_stored_many_times_at_once(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([900_000]);
    let blob = &sample.digests()[0];
    let (one, other) = (
        subject.open(&["any"], sample.clone()).await?,
        subject.open(&["any"], sample.clone()).await?,
    );
    let stores = (0..8).map(|number| {
        let cache = if number % 2 == 0 { &one } else { &other };
        cache.store(blob, 900_000)
    });
    try_join_all(stores).await?;
    check_layers(&one, &sample.manifest).await
}

pub(super) async fn a_touched_layer_is_newer_and_otherwise_the_same(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([100, 200, 300]);
    subject.store(&unique("touched"), &sample).await?;
    let cache = subject.open_to_read(&["any"]).await?;
    let mut blobs = sample.digests();
    let untouched = blobs.remove(2);
    let before = cache.find(&blobs).await?;
    let left_before = cache.find(std::slice::from_ref(&untouched)).await?;
    let gone = Sample::of_sizes([5]).digests().remove(0);
    let asked = [&blobs[0], &gone, &blobs[1], &blobs[0]].map(Digest::clone);
    let touched = match cache.touch(&asked).await {
        Err(Error::Unsupported(_)) => return Err(NotRun::NoTouch.into()),
        touched => touched?,
    };
    ensure!(
        touched == [true, false, true, true],
        "of {asked:?}, only the second is gone, and touching gave {touched:?}"
    );
    for (before, after) in before.iter().zip(cache.find(&blobs).await?) {
        ensure!(
            is_touched(before.as_ref(), after.as_ref()),
            "touching made {after:?} of {before:?}"
        );
    }
    let left = cache.find(&[untouched]).await?;
    ensure!(
        left == left_before,
        "a layer that was not touched went from {left_before:?} to {left:?}"
    );
    check_layers(&cache, &sample.manifest).await
}

/// Whether a layer is another version, no older and as long as before.
pub(super) fn is_touched(before: Option<&StoredLayer>, after: Option<&StoredLayer>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            before.size == after.size
                && before.modified <= after.modified
                && before.version != after.version
        }
        _ => false,
    }
}

pub(super) async fn events_tell_which_call_they_are_of(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([300_000, 200_000]);
    let (cache, rest) = subject.open_and_hear(&["any"], sample.clone()).await?;
    let heard = [Heard::default(), Heard::default()];
    let [one, other] = heard.each_ref().map(|heard| {
        let heard = heard.clone();
        cache.with_events(Arc::new(move |event| heard.add(event)))
    });
    let blobs = sample.digests();
    try_join!(
        one.store(&blobs[0], 300_000),
        other.store(&blobs[1], 200_000)
    )?;
    for (heard, layer) in heard.iter().zip(&sample.manifest.layers) {
        let events = heard.events();
        let mut bytes = 0;
        let is_its_own = events.iter().all(|event| match event {
            Event::LayerStarted(blob) | Event::LayerStored(blob) => *blob == layer.blob,
            Event::LayerRead { blob, bytes: more } => {
                bytes += more;
                *blob == layer.blob
            }
            _ => true,
        });
        ensure!(
            is_its_own
                && bytes >= layer.size
                && events.last() == Some(&Event::LayerStored(layer.blob.clone())),
            "the store of {} was told as {events:?}",
            layer.blob
        );
    }
    let rest = rest.events();
    ensure!(
        rest.is_empty(),
        "events of calls with listeners of their own went elsewhere: {rest:?}"
    );
    let range = read(&cache, &blobs[0], 10, Some(20)).await?;
    ensure!(
        range == Some(sample.bytes(&blobs[0], 10, 20)),
        "a range of a layer that was stored alone came back as {range:?}"
    );
    Ok(())
}
