//! A name is written only after every layer of its manifest is durable.

use std::sync::atomic::{AtomicBool, Ordering};

use build_cache_host::Event;
use futures::try_join;

use super::{Subject, check_same};
use crate::failure::ensure;
use crate::sample::{Sample, unique};
use crate::{Failure, Outcome};

pub(super) async fn a_name_is_written_after_all_its_layers(subject: &Subject) -> Outcome {
    let first = Sample::of_sizes([1000, 200_000]);
    let sample = first.sharing(2, 3000);
    let (name, other) = (unique("order"), unique("order"));
    subject.store(&name, &first).await?;
    let (cache, heard) = subject
        .open_and_hear(&[&name, &other], sample.clone())
        .await?;
    cache.export(&sample.manifest).await?;

    let events = heard.events();
    let first_name = [&name, &other]
        .map(|name| position(&events, &Event::ManifestStored(name.clone())))
        .into_iter()
        .collect::<Outcome<Vec<_>>>()?
        .into_iter()
        .min();
    let blobs = sample.digests();
    let reused = [&blobs[0], &blobs[1]].map(|blob| Event::LayerReused(blob.clone()));
    let started = position(&events, &Event::LayerStarted(blobs[2].clone()))?;
    let stored = Event::LayerStored(blobs[2].clone());
    ensure!(
        started < position(&events, &stored)?,
        "a layer was stored before it was started: {events:?}"
    );
    for event in reused.iter().chain([&stored]) {
        ensure!(
            Some(position(&events, event)?) < first_name,
            "{event:?} came after a name was written: {events:?}"
        );
    }
    Ok(())
}

pub(super) async fn a_reader_never_sees_a_cache_without_its_layers(subject: &Subject) -> Outcome {
    let name = unique("promise");
    let samples = [(); 5].map(|()| Sample::of_sizes([50_000, 200_000, 10, 500]));
    let is_done = AtomicBool::new(false);
    let write = async {
        for sample in &samples {
            subject.store(&name, sample).await?;
        }
        is_done.store(true, Ordering::Relaxed);
        Ok::<_, Failure>(())
    };
    let watch = async {
        let cache = subject.open_to_read(&[&name]).await?;
        loop {
            let was_done = is_done.load(Ordering::Relaxed);
            for one in cache.import().await? {
                let loaded = one.outcome?;
                ensure!(
                    loaded.missing.is_empty(),
                    "a reader saw the name while {:?} were missing",
                    loaded.missing
                );
            }
            if was_done {
                return Ok(());
            }
        }
    };
    try_join!(write, watch)?;
    let last = super::load(&subject.open_to_read(&[&name]).await?).await?;
    check_same(&last.manifest, &samples[4].manifest)
}

/// The place of an event among others, or a failure that names it.
fn position(events: &[Event], wanted: &Event) -> Outcome<usize> {
    events
        .iter()
        .position(|event| event == wanted)
        .ok_or_else(|| Failure::Broken(format!("there was no event {wanted:?}")))
}
