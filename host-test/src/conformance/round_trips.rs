//! What goes in comes out.

use build_cache_host::Digest;

use super::{Subject, check_holds, check_same};
use crate::failure::ensure;
use crate::sample::{Sample, unique};
use crate::{Failure, Outcome};

pub(super) async fn a_cache_comes_back_as_it_was_stored(subject: &Subject) -> Outcome {
    let sample = Sample::of_sizes([1000, 20_000, 300]);
    let name = unique("whole");
    let cache = subject.open(&[&name], sample.clone()).await?;
    let summary = cache.export(&sample.manifest).await?;
    ensure!(
        (
            summary.layers_stored,
            summary.layers_reused,
            summary.bytes_stored
        ) == (3, 0, 21_300),
        "three new layers of 21,300 bytes were exported, and the summary says {summary:?}"
    );
    ensure!(
        u64::from(summary.requests) <= cache.requests(),
        "the summary says {} requests, and the host has seen {}",
        summary.requests,
        cache.requests()
    );
    check_holds(&subject.open_to_read(&[&name]).await?, &sample.manifest).await
}

pub(super) async fn a_cache_without_layers_comes_back(subject: &Subject) -> Outcome {
    let sample = Sample::of_sizes([]);
    let name = unique("no-layers");
    subject.store(&name, &sample).await?;
    check_holds(&subject.open_to_read(&[&name]).await?, &sample.manifest).await
}

pub(super) async fn parents_times_and_records_come_back_unchanged(subject: &Subject) -> Outcome {
    let mut sample = Sample::of_sizes([10, 11, 12, 13, 14]);
    let layers = &mut sample.manifest.layers;
    // Two bases, two layers on one base, and a layer before its parent.
    layers[1].parent = None;
    layers[2].parent = Some(0);
    layers[3].parent = Some(4);
    layers[4].parent = Some(0);
    layers[2].created_at = None;
    layers[3].created_at = Some("2026-11-23T15:14:42+01:00".to_owned());
    layers[3].media_type = "application/vnd.oci.image.layer.v1.tar+zstd".to_owned();
    layers[4].media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    // Go writes `<`, `>`, `&` and the line separator as escapes; others do not.
    sample.manifest.records = concat!(
        r#"[{"layers":[{"layer":4,"createdAt":"2026-11-23T14:14:42Z"}],"digest":"sha256:a"},"#,
        r#"{"digest":"random:\u003cb\u003e \u0026 <c> & ü 漢 🧱 \u2028 \"\\\/","inputs":"#,
        r#"[[{"selector":"sélecteur <x>","link":0}]]}]"#
    )
    .to_owned();
    let name = unique("unchanged");
    subject.store(&name, &sample).await?;
    check_holds(&subject.open_to_read(&[&name]).await?, &sample.manifest).await
}

pub(super) async fn every_name_gets_the_cache(subject: &Subject) -> Outcome {
    let sample = Sample::of_sizes([100, 200]);
    let names = [unique("main"), unique("branch"), unique("tag")];
    let names = names.each_ref().map(String::as_str);
    let cache = subject.open(&names, sample.clone()).await?;
    cache.export(&sample.manifest).await?;

    let imported = subject.open_to_read(&names).await?.import().await?;
    let found: Vec<_> = imported.iter().map(|one| one.name.as_str()).collect();
    ensure!(
        found == names,
        "the names {names:?} were exported, and {found:?} imported"
    );
    for one in imported {
        check_same(&one.outcome?.manifest, &sample.manifest)?;
    }
    Ok(())
}

/// What names may hold: whatever a branch may, and more.
pub(super) const ODD: &[&str] = &[
    "feature/x",
    "with space",
    "100%",
    "a+b",
    "a?b#c",
    "ü漢🧱",
    "v1.2_x-y~z",
    "a=b&c",
    "(1)",
    "it's",
    "%2F",
    "a:b@c",
    "[x]",
    "{x}",
    "\"q\"",
    "<x>",
    "a|b^c`d",
    "!$*,",
    // What is changed where a text is shown.
    "fix##1",
    "##vso[task.setvariable]x",
    "zero\u{200b}width\u{feff}",
    "right\u{202e}to\u{2066}left",
    "line\u{2028}end",
    "soft\u{ad}hyphen",
    "e\u{301} and \u{e9}",
    "[redacted]",
];

pub(super) async fn names_may_hold_odd_characters(subject: &Subject) -> Outcome {
    let name = unique("odd");
    let long = "long-".repeat(160);
    // Azurite stores a backslash as a slash, and so lists it.
    for odd in ODD.iter().copied().chain(["a\\b", &long]) {
        let name = format!("{name}/{odd}");
        let sample = Sample::of_sizes([1]);
        subject.store(&name, &sample).await?;
        let mut imported = subject.open_to_read(&[&name]).await?.import().await?;
        let found = imported.pop().filter(|found| found.name == name);
        let Some(found) = found else {
            return Err(Failure::Broken(format!(
                "{name:?} was stored and is not there"
            )));
        };
        check_same(&found.outcome?.manifest, &sample.manifest)?;
    }
    Ok(())
}

pub(super) async fn a_name_that_the_store_does_not_have_is_left_out(subject: &Subject) -> Outcome {
    let nothing = subject.open_to_read(&[&unique("nobody")]).await?;
    let imported = nothing.import().await?;
    ensure!(
        imported.is_empty(),
        "a name that nobody stored gave {imported:?}"
    );

    let (there, not_there) = (unique("there"), unique("not-there"));
    subject.store(&there, &Sample::of_sizes([5])).await?;
    let both = subject.open_to_read(&[&not_there, &there]).await?;
    let imported = both.import().await?;
    ensure!(
        imported.len() == 1 && imported[0].name == there,
        "only {there} was stored, and {imported:?} imported"
    );
    Ok(())
}

pub(super) async fn a_name_that_is_written_again_holds_the_new_cache(subject: &Subject) -> Outcome {
    let name = unique("again");
    let first = Sample::of_sizes([100, 200, 300]);
    subject.store(&name, &first).await?;
    let second = first.sharing(1, 50);
    subject.store(&name, &second).await?;
    check_holds(&subject.open_to_read(&[&name]).await?, &second.manifest).await
}

pub(super) async fn an_export_that_is_repeated_sends_no_layer(subject: &Subject) -> Outcome {
    let name = unique("repeated");
    let sample = Sample::of_sizes([1000, 2000]);
    subject.store(&name, &sample).await?;

    // Nothing is lent this time: a backend that reads fails.
    let (cache, heard) = subject.open_and_hear(&[&name], Sample::default()).await?;
    let summary = cache.export(&sample.manifest).await?;
    ensure!(
        (
            summary.layers_stored,
            summary.layers_reused,
            summary.bytes_stored
        ) == (0, 2, 0),
        "everything was there already, and the summary says {summary:?}"
    );
    let reused: Vec<Digest> = heard
        .events()
        .into_iter()
        .filter_map(|event| match event {
            build_cache_host::Event::LayerReused(blob) => Some(blob),
            _ => None,
        })
        .collect();
    ensure!(
        reused.len() == 2 && sample.digests().iter().all(|blob| reused.contains(blob)),
        "two layers were reused, and {reused:?} announced"
    );
    check_holds(&cache, &sample.manifest).await
}
