//! Inventory: listing and removing.

use futures::executor::block_on;

use super::store::{Held, Store};
use super::{digest, scripted};
use crate::cache::{Found, Kind};
use crate::transport::Request;

/// Everything of a kind, part after part.
fn list(store: &Store, extra: &[(&str, &str)], kind: Kind) -> Vec<Found> {
    let cache = scripted(extra, |request: &Request| store.answer(request));
    let mut listing = block_on(cache.list(kind)).unwrap();
    let mut found = listing.take();
    while block_on(cache.list_more(&mut listing)).unwrap() {
        found.extend(listing.take());
    }
    found
}

fn names(found: Vec<Found>) -> Vec<String> {
    found.into_iter().map(|found| found.name).collect()
}

#[test]
fn blobs_and_manifests_are_listed_over_many_parts_and_strangers_left_out() {
    let store = Store::new();
    store.longest_page.set(Some(2));
    for number in 0..5 {
        store.hold(
            &format!("blobs/{}", digest(number)),
            Held::Layer(number.into()),
        );
    }
    for key in [
        "manifests/a",
        "manifests/b/c",
        "blobs/README",
        "blobs/sha256:short",
        "other",
    ] {
        store.hold(key, Held::Bytes(b"{}".to_vec()));
    }
    let blobs = list(&store, &[], Kind::Blobs);
    assert_eq!(blobs[3].size, 3);
    assert_eq!((blobs[3].modified, &*blobs[3].version), (60, "\"4\""));
    let digests: Vec<_> = (0..5).map(|number| digest(number).to_string()).collect();
    assert_eq!(names(blobs), digests);
    assert_eq!(names(list(&store, &[], Kind::Manifests)), ["a", "b/c"]);
}

#[test]
fn prefixes_that_nest_do_not_mix_layers_with_names() {
    let extra = [
        ("manifests_prefix", ""),
        ("blobs_prefix", ""),
        ("prefix", "team"),
    ];
    let store = Store::new();
    store.hold(&format!("team/{}", digest(1)), Held::Layer(1));
    store.hold("team/main", Held::Bytes(Vec::new()));
    store.hold("elsewhere", Held::Bytes(Vec::new()));
    assert_eq!(names(list(&store, &extra, Kind::Manifests)), ["main"]);
    assert_eq!(
        names(list(&store, &extra, Kind::Blobs)),
        [digest(1).to_string()]
    );
}

#[test]
fn a_container_that_does_not_exist_holds_nothing() {
    let store = Store::default();
    assert!(list(&store, &[], Kind::Blobs).is_empty());
    assert!(!store.has_container.get());
}

#[test]
fn only_the_version_that_was_listed_is_removed() {
    let store = Store::new();
    let key = format!("blobs/{}", digest(1));
    store.hold(&key, Held::Layer(1));
    store.hold("manifests/a", Held::Bytes(Vec::new()));
    let listed = list(&store, &[], Kind::Blobs).remove(0);
    store.hold(&key, Held::Layer(1));

    let cache = scripted(&[], |request: &Request| store.answer(request));
    let remove = |version: &str| block_on(cache.remove_blob(digest(1), version)).unwrap();
    assert!(!remove(&listed.version), "it was written again");
    let listed = list(&store, &[], Kind::Blobs).remove(0);
    assert!(remove(&listed.version));
    assert!(!remove(&listed.version), "it is gone");

    let manifest = list(&store, &[], Kind::Manifests).remove(0);
    assert!(block_on(cache.remove_manifest("a", &manifest.version)).unwrap());
    assert!(store.blobs.borrow().is_empty());
}
