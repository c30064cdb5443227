//! Names as arguments: manifests that are loaded and published one at a time,
//! on conditions.

use std::time::Duration;

use build_cache_host::{Cache, Error, NamedManifest, Precondition};
use futures::future::join_all;

use super::layers::is_touched;
use super::{Subject, check_holds, check_same, is_same_set};
use crate::failure::ensure;
use crate::sample::{Sample, unique};
use crate::{Failure, NotRun, Outcome};

/// Stores the layers of a sample one by one, and no name.
async fn store_layers(subject: &Subject, sample: &Sample) -> Outcome<Cache> {
    let cache = subject.open(&[&unique("unused")], sample.clone()).await?;
    for layer in &sample.manifest.layers {
        cache.store(&layer.blob, layer.size).await?;
    }
    Ok(cache)
}

/// Publishes a sample whose layers are stored under one name.
async fn publish(
    cache: &Cache,
    name: &str,
    sample: &Sample,
    precondition: Precondition,
) -> Result<(), Error> {
    let names = [name.to_owned()];
    let published = cache.publish(&names, &sample.manifest, precondition, None);
    published.await
}

/// Loads a name that must be there.
async fn loaded(cache: &Cache, name: &str) -> Outcome<NamedManifest> {
    let found = cache.load(name).await?;
    found.ok_or_else(|| Failure::Broken(format!("{name} was published and is not there")))
}

/// Checks that a precondition was said not to hold.
fn check_conflict(outcome: &Result<(), Error>) -> Outcome {
    ensure!(
        matches!(outcome, Err(Error::Conflict(_))),
        "a name was published on a precondition that does not hold: {outcome:?}"
    );
    Ok(())
}

pub(super) async fn what_is_published_can_be_loaded_and_imported(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([400, 70_000]);
    let cache = store_layers(subject, &sample).await?;
    let names = [unique("published"), unique("published")];
    let published = cache.publish(&names, &sample.manifest, Precondition::Any, None);
    published.await?;
    for name in &names {
        let named = loaded(&cache, name).await?;
        check_same(&named.manifest, &sample.manifest)?;
        ensure!(
            !named.version.is_empty(),
            "{name} was loaded without a version"
        );
        check_holds(&subject.open_to_read(&[name]).await?, &sample.manifest).await?;
    }
    // The other way round: what is exported can be loaded.
    let name = unique("exported");
    subject.store(&name, &sample).await?;
    check_same(&loaded(&cache, &name).await?.manifest, &sample.manifest)
}

pub(super) async fn a_manifest_is_not_published_before_its_layers(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([10, 20, 30, 40]);
    let cache = subject.open(&["any"], sample.clone()).await?;
    let blobs = sample.digests();
    for number in [0, 2] {
        let layer = &sample.manifest.layers[number];
        cache.store(&layer.blob, layer.size).await?;
    }
    let names = [unique("too-early"), unique("too-early")];
    let published = cache.publish(&names, &sample.manifest, Precondition::Any, None);
    match published.await {
        Err(Error::MissingLayers(missing)) => ensure!(
            is_same_set(&missing, &[blobs[1].clone(), blobs[3].clone()]),
            "the second and the fourth of {blobs:?} are missing, and {missing:?} are said to be"
        ),
        other => {
            return Err(Failure::Broken(format!(
                "a manifest with missing layers was published: {other:?}"
            )));
        }
    }
    for name in &names {
        let found = cache.load(name).await?;
        ensure!(
            found.is_none(),
            "a manifest with missing layers is there: {found:?}"
        );
    }
    for number in [1, 3] {
        let layer = &sample.manifest.layers[number];
        cache.store(&layer.blob, layer.size).await?;
    }
    let published = cache.publish(&names, &sample.manifest, Precondition::Any, None);
    published.await?;
    check_same(&loaded(&cache, &names[1]).await?.manifest, &sample.manifest)
}

pub(super) async fn a_manifest_is_not_published_over_a_layer_of_another_size(
    subject: &Subject,
) -> Outcome {
    subject.speaks_of_single_layers()?;
    let back_door = subject.back_door()?;
    let sample = Sample::of_sizes([100, 200]);
    let cache = store_layers(subject, &sample).await?;
    let changed = &sample.digests()[1];
    back_door.put_layer(changed, b"less".as_slice()).await?;
    let name = unique("another-size");
    match publish(&cache, &name, &sample, Precondition::Any).await {
        Err(Error::MissingLayers(missing)) if missing == [changed.clone()] => {}
        other => {
            return Err(Failure::Broken(format!(
                "{changed} has another size, and publishing gave {other:?}"
            )));
        }
    }
    ensure!(cache.load(&name).await?.is_none(), "{name} was written");
    Ok(())
}

pub(super) async fn names_as_arguments_are_taken_as_they_are(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let base = unique("verbatim");
    let odd = [
        "a",
        "b",
        "a;b",
        ";",
        "a;",
        "with space",
        " leading and trailing ",
        "100%",
        "%2F",
        "feature/x",
        "ü漢🧱",
        "e\u{301}",
        "\u{e9}",
        "a?b#c",
        "\"q\"=1,2",
        "A",
    ];
    let mut published = Vec::new();
    for odd in odd {
        let name = format!("{base}{odd}");
        let sample = Sample::of_sizes([1]);
        let cache = store_layers(subject, &sample).await?;
        publish(&cache, &name, &sample, Precondition::Absent).await?;
        published.push((name, sample));
    }
    let cache = subject.open_to_read(&["any"]).await?;
    for (name, sample) in &published {
        check_same(&loaded(&cache, name).await?.manifest, &sample.manifest)
            .map_err(|failure| Failure::Broken(format!("`{name}`: {failure}")))?;
    }
    Ok(())
}

pub(super) async fn a_name_that_nobody_published_is_none(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let cache = subject.open_to_read(&["any"]).await?;
    let found = cache.load(&unique("nobody")).await?;
    ensure!(found.is_none(), "a name that nobody wrote is {found:?}");
    Ok(())
}

pub(super) async fn the_configured_names_are_those_of_the_attributes(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let cache = subject.open_to_read(&["main", "feature/x", "ü"]).await?;
    let names = cache.configured_names().await?;
    ensure!(
        names == ["main", "feature/x", "ü"],
        "the attribute gives three names, and the backend {names:?}"
    );
    Ok(())
}

pub(super) async fn a_name_is_published_only_where_it_is_absent(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let (first, second) = (Sample::of_sizes([11]), Sample::of_sizes([12]));
    let name = unique("absent");
    let cache = store_layers(subject, &first).await?;
    publish(&cache, &name, &first, Precondition::Absent).await?;
    let cache = store_layers(subject, &second).await?;
    check_conflict(&publish(&cache, &name, &second, Precondition::Absent).await)?;
    check_same(&loaded(&cache, &name).await?.manifest, &first.manifest)
}

pub(super) async fn a_name_is_published_only_over_the_version_that_was_loaded(
    subject: &Subject,
) -> Outcome {
    subject.speaks_of_single_layers()?;
    let samples = [[21], [22], [23]].map(Sample::of_sizes);
    let name = unique("unchanged");
    let cache = store_layers(subject, &samples[0]).await?;
    publish(&cache, &name, &samples[0], Precondition::Any).await?;
    let first = loaded(&cache, &name).await?.version;

    let cache = store_layers(subject, &samples[1]).await?;
    let on_first = || Precondition::Unchanged(first.clone());
    publish(&cache, &name, &samples[1], on_first()).await?;
    let second = loaded(&cache, &name).await?;
    check_same(&second.manifest, &samples[1].manifest)?;
    ensure!(
        second.version != first,
        "{name} was written again and kept its version"
    );

    let cache = store_layers(subject, &samples[2]).await?;
    check_conflict(&publish(&cache, &name, &samples[2], on_first()).await)?;
    check_same(&loaded(&cache, &name).await?.manifest, &samples[1].manifest)?;
    // What is not there has no version.
    let nowhere = unique("nowhere");
    check_conflict(&publish(&cache, &nowhere, &samples[2], on_first()).await)?;
    ensure!(cache.load(&nowhere).await?.is_none(), "{nowhere} is there");
    Ok(())
}

pub(super) async fn of_writers_on_one_version_only_one_succeeds(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let base = Sample::of_sizes([31]);
    let name = unique("raced");
    let cache = store_layers(subject, &base).await?;
    publish(&cache, &name, &base, Precondition::Any).await?;
    let version = loaded(&cache, &name).await?.version;
    let mut writers = Vec::new();
    for number in 0..4 {
        let sample = base.sharing(1, 100 + number);
        writers.push((store_layers(subject, &sample).await?, sample));
    }
    let races = writers.iter().map(|(cache, sample)| {
        let precondition = Precondition::Unchanged(version.clone());
        publish(cache, &name, sample, precondition)
    });
    let outcomes = join_all(races).await;
    let mut won = writers.iter().zip(&outcomes).filter(|(_, o)| o.is_ok());
    let winner = match (won.next(), won.next()) {
        (Some(((_, sample), _)), None) => sample,
        _ => {
            return Err(Failure::Broken(format!(
                "of four writers on one version, one must succeed: {outcomes:?}"
            )));
        }
    };
    for lost in outcomes.iter().filter(|outcome| outcome.is_err()) {
        check_conflict(lost)?;
    }
    check_same(&loaded(&cache, &name).await?.manifest, &winner.manifest)
}

pub(super) async fn publishing_touches_layers_that_are_old(subject: &Subject) -> Outcome {
    subject.speaks_of_single_layers()?;
    let sample = Sample::of_sizes([50, 60]);
    let cache = store_layers(subject, &sample).await?;
    let blobs = sample.digests();
    let before = cache.find(&blobs).await?;
    let names = [unique("old-layers")];
    let at_age = |age| cache.publish(&names, &sample.manifest, Precondition::Any, Some(age));
    // Stored a moment ago, they are not old.
    at_age(Duration::from_secs(3600)).await?;
    let after = cache.find(&blobs).await?;
    ensure!(
        before == after,
        "new layers were touched: {before:?} became {after:?}"
    );
    // Whatever its age, it is at least 0.
    match at_age(Duration::ZERO).await {
        Err(Error::Unsupported(_)) => return Err(NotRun::NoTouch.into()),
        published => published?,
    }
    let after = cache.find(&blobs).await?;
    let mut pairs = before.iter().zip(&after);
    ensure!(
        pairs.all(|(before, after)| is_touched(before.as_ref(), after.as_ref())),
        "publishing made {after:?} of {before:?}"
    );
    check_same(&loaded(&cache, &names[0]).await?.manifest, &sample.manifest)
}
