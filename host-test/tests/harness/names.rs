//! Names are identifiers: compared, stored and removed as they are, whatever they
//! hold, and cleaned only where they are shown.

use blob_store::EMULATOR_KEY;
use futures::TryStreamExt;
use host_test::conformance::Subject;
use host_test::sample::{Sample, unique};

use crate::setup::{azblob_on, azblob_on_azurite, blob_store, run};

/// Names that hold the text of the key that the store is opened with, and so
/// are shown otherwise than they are.
async fn a_name_that_holds_a_secret_works(subject: Subject, key: &str) {
    let names = [
        format!("{}/{key}", unique("whole")),
        format!("{}{}", unique("##[part]"), &key[..40]),
    ];
    let names = names.each_ref().map(String::as_str);
    let sample = Sample::of_sizes([10]);
    let cache = subject.open(&names, sample.clone()).await.expect("a cache");
    cache.export(&sample.manifest).await.expect("exported");

    let imported = cache.import().await.expect("imported");
    let found: Vec<&str> = imported.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(found, names);
    assert!(
        imported.iter().all(|one| one.outcome.is_ok()),
        "{imported:?}"
    );

    let listed = cache.manifests().await.expect("a listing");
    let listed: Vec<_> = listed.try_collect().await.expect("a listing");
    for name in names {
        let info = listed.iter().find(|info| info.name == name);
        let info = info.unwrap_or_else(|| panic!("{name} is not listed"));
        assert!(
            cache.remove_manifest(info).await.expect("an answer"),
            "{name}"
        );
    }
    assert!(cache.import().await.expect("imported").is_empty());
    assert!(!cache.shown_name(names[0]).contains(key));
    assert!(!cache.shown_name(names[1]).contains("##["));
}

#[test]
fn a_name_that_holds_a_secret_is_stored_listed_and_removed() {
    run(async {
        let store = blob_store();
        a_name_that_holds_a_secret_works(azblob_on(&store).await, &store.key()).await;
    });
}

#[test]
fn a_name_that_holds_a_secret_is_stored_listed_and_removed_on_azurite() {
    run(async {
        a_name_that_holds_a_secret_works(azblob_on_azurite().await, EMULATOR_KEY).await;
    });
}
