//! Publishing: what is looked at before a name is written, and on what terms it
//! is.

use std::cell::Cell;
use std::time::Duration;

use futures::executor::block_on;

use super::store::{Held, Store};
use super::{digest, layers, scripted};
use crate::cache::Precondition;
use crate::cache::manifest::Manifest;
use crate::error::Error;
use crate::transport::{Method, Request, TransportError};

const ANY: Precondition = Precondition::Any;

fn key(number: u32) -> String {
    format!("blobs/{}", digest(number))
}

/// A store that holds the layers of a manifest.
fn holding(manifest: &Manifest) -> Store {
    let store = Store::new();
    for layer in &manifest.layers {
        store.hold(&format!("blobs/{}", layer.blob), Held::Layer(layer.size));
    }
    store
}

/// Publishes a manifest under names, on a store.
fn publish(
    store: &Store,
    names: &[&str],
    manifest: &Manifest,
    precondition: Precondition,
) -> Result<(), Error> {
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    block_on(cache.publish(names, manifest.clone(), precondition, None))
}

fn version(store: &Store, name: &str) -> String {
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let named = block_on(cache.load_name(name)).unwrap().unwrap();
    named.version
}

fn is_conflict(outcome: &Result<(), Error>) -> bool {
    matches!(outcome, Err(Error::Conflict(_)))
}

#[test]
fn a_manifest_is_written_as_an_export_writes_it_under_names_that_are_not_split() {
    let manifest = layers(&[10, 20, 0]);
    let store = holding(&manifest);
    let names = ["a;b", "ü漢", "feature/x"];
    publish(&store, &names, &manifest, ANY).unwrap();
    let written = Held::Bytes(manifest.to_json().unwrap());
    for name in names {
        assert_eq!(
            store.blobs.borrow()[&format!("manifests/{name}")].0,
            written
        );
    }
    let cache = scripted(&[("name", "x;y")], |request: &Request| {
        store.answer(request)
    });
    assert_eq!(cache.configured_names(), ["x", "y"]);
    let named = block_on(cache.load_name("a;b")).unwrap().unwrap();
    assert_eq!(named.manifest, manifest);
    assert!(block_on(cache.load_name("a")).unwrap().is_none());
    // No layer was looked for.
    assert_eq!(cache.transport.count("blobs"), 0);
}

#[test]
fn nothing_is_written_while_a_layer_is_missing_or_has_another_size() {
    let manifest = layers(&[10, 20, 30, 40]);
    let store = holding(&manifest);
    store.lose(&key(1));
    store.hold(&key(3), Held::Layer(39));
    for precondition in [ANY, Precondition::Absent] {
        let published = publish(&store, &["a", "b"], &manifest, precondition);
        assert_eq!(
            published,
            Err(Error::MissingLayers(vec![digest(1), digest(3)]))
        );
    }
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let names = vec!["a".to_owned()];
    let _ = block_on(cache.publish(names, manifest, ANY, Some(0)));
    assert_eq!(cache.transport.count("PUT "), 0);
}

#[test]
fn a_manifest_that_cannot_be_is_not_even_looked_up() {
    let mut manifest = layers(&[10]);
    manifest.layers[0].parent = Some(0);
    let store = Store::new();
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let published = block_on(cache.publish(vec!["a".to_owned()], manifest, ANY, None));
    assert!(matches!(published, Err(Error::Other(_))), "{published:?}");
    assert!(cache.transport.sent.borrow().is_empty());
}

#[test]
fn layers_that_are_old_are_touched_before_a_name_is_written() {
    let manifest = layers(&[10, 20, 30]);
    let store = holding(&manifest);
    store.clock.set(3000);
    store.hold(&key(1), Held::Layer(20));
    store.clock.set(4000);
    let cache = scripted(&[], |request: &Request| store.answer(request));
    cache.transport.pass(Duration::from_secs(4000));
    let names = || vec!["a".to_owned()];
    block_on(cache.publish(names(), manifest.clone(), ANY, Some(1001))).unwrap();
    let found = block_on(cache.find([0, 1, 2].map(digest).to_vec())).unwrap();
    let times = found.iter().flatten().map(|found| found.modified);
    assert_eq!(times.collect::<Vec<_>>(), [4000, 3000, 4000]);
    let sent = cache.transport.sent.borrow().clone();
    let last_touch = sent.iter().rposition(|sent| sent.contains("comp=metadata"));
    let name = sent.iter().position(|sent| sent.contains("manifests"));
    assert!(last_touch < name, "{sent:#?}");
    drop(sent);
    cache.transport.sent.borrow_mut().clear();
    block_on(cache.publish(names(), manifest, ANY, None)).unwrap();
    assert_eq!(cache.transport.count("comp=metadata"), 0);
}

#[test]
fn a_layer_that_goes_while_it_is_to_be_touched_is_missing() {
    let manifest = layers(&[10, 20]);
    let store = holding(&manifest);
    let cache = scripted(&[], |request: &Request| {
        if request.target().contains("comp=metadata") {
            store.lose(&key(1));
        }
        store.answer(request)
    });
    let names = vec!["a".to_owned()];
    let published = block_on(cache.publish(names, manifest, ANY, Some(0)));
    assert_eq!(published, Err(Error::MissingLayers(vec![digest(1)])));
    assert_eq!(cache.transport.count("manifests"), 0);
}

#[test]
fn a_precondition_that_does_not_hold_ends_with_the_name() {
    let (first, second) = (layers(&[10]), layers(&[10, 20]));
    let store = holding(&second);
    publish(&store, &["b"], &first, Precondition::Absent).unwrap();
    let old = version(&store, "b");
    let published = publish(&store, &["a", "b", "c"], &second, Precondition::Absent);
    assert!(is_conflict(&published), "{published:?}");
    assert!(published.unwrap_err().to_string().contains("`b`"));
    // Those before it are written, those after it are not.
    let is_there = |name: &str| store.size_of(&format!("manifests/{name}")).is_some();
    assert_eq!(["a", "c"].map(is_there), [true, false]);

    let on_old = || Precondition::Unchanged(old.clone());
    publish(&store, &["b"], &second, on_old()).unwrap();
    assert!(is_conflict(&publish(&store, &["b"], &first, on_old())));
    assert!(is_conflict(&publish(
        &store,
        &["nowhere"],
        &first,
        on_old()
    )));
    let written = Held::Bytes(second.to_json().unwrap());
    assert_eq!(store.blobs.borrow()["manifests/b"].0, written);
}

#[test]
fn a_version_that_would_hold_for_all_holds_for_none() {
    let manifest = layers(&[10]);
    let store = holding(&manifest);
    publish(&store, &["a"], &manifest, ANY).unwrap();
    for version in ["", "*", "\u{7f}"] {
        let precondition = Precondition::Unchanged(version.to_owned());
        let published = publish(&store, &["a"], &manifest, precondition);
        assert!(is_conflict(&published), "{published:?}");
    }
}

#[test]
fn a_write_whose_answer_was_lost_is_no_conflict_with_itself() {
    let (manifest, other) = (layers(&[10]), layers(&[10, 20]));
    for (meanwhile, is_ours) in [(None, true), (Some(&other), false)] {
        let store = holding(&other);
        let is_first = Cell::new(true);
        let cache = scripted(&[], |request: &Request| {
            let is_name = request.path.contains("manifests") && request.method == Method::Put;
            let answer = store.answer(request);
            if is_name && is_first.replace(false) {
                if let Some(meanwhile) = meanwhile {
                    let json = meanwhile.to_json().unwrap();
                    store.hold("manifests/a", Held::Bytes(json));
                }
                return Err(TransportError::Broken("the answer was lost".to_owned()));
            }
            answer
        });
        let names = vec!["a".to_owned()];
        let published =
            block_on(cache.publish(names, manifest.clone(), Precondition::Absent, None));
        assert_eq!(published.is_ok(), is_ours, "{published:?}");
        assert_eq!(is_conflict(&published), !is_ours);
    }
}

#[test]
fn a_name_never_leads_out_of_the_manifests_or_to_a_layer() {
    let manifest = layers(&[10]);
    let nested = [("manifests_prefix", ""), ("blobs_prefix", "")];
    let layer = digest(1).to_string();
    for (extra, name) in [
        (&[][..], ""),
        (&[], "."),
        (&[], "../blobs/x"),
        (&[], "a/../.."),
        (&[], "a\nb"),
        (&nested, &layer),
        (&nested, "../x"),
    ] {
        let store = holding(&manifest);
        let cache = scripted(extra, |request: &Request| store.answer(request));
        let names = vec!["good".to_owned(), name.to_owned()];
        let published = block_on(cache.publish(names, manifest.clone(), ANY, None));
        assert!(matches!(published, Err(Error::Other(_))), "{name:?}");
        let loaded = block_on(cache.load_name(name));
        assert!(matches!(loaded, Err(Error::Other(_))), "{name:?}");
        assert!(cache.transport.sent.borrow().is_empty(), "{name:?}");
    }
}
