//! Single layers: finding, storing and touching them.

use std::cell::Cell;

use futures::executor::block_on;

use super::store::{Held, Store};
use super::{digest, scripted};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::scripted::Reply;
use crate::transport::{Event, Method, Request, TransportError};

const KIB: u64 = 1024;

fn key(number: u32) -> String {
    format!("blobs/{}", digest(number))
}

/// A store that holds these layers, of as many bytes as their number.
fn holding(layers: impl IntoIterator<Item = u32>) -> Store {
    let store = Store::new();
    for number in layers {
        store.hold(&key(number), Held::Layer(number.into()));
    }
    store
}

#[test]
fn layers_are_found_in_the_order_asked_for_and_each_is_asked_for_once() {
    let store = holding([1, 2, 3]);
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let asked = [3, 9, 1, 3].map(digest);
    let found = block_on(cache.find(asked.to_vec())).unwrap();
    let sizes: Vec<_> = found.iter().map(|f| f.as_ref().map(|f| f.size)).collect();
    assert_eq!(sizes, [Some(3), None, Some(1), Some(3)]);
    let third = found[0].as_ref().unwrap();
    assert_eq!((third.modified, &*third.etag), (60, "\"3\""));
    assert_eq!(cache.transport.count("HEAD "), 3);
    assert!(block_on(cache.find(Vec::new())).unwrap().is_empty());
}

#[test]
fn many_layers_are_found_by_listing_with_the_same_answers() {
    let store = holding(1..=400);
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let found = block_on(cache.find((1..=400).rev().map(digest).collect())).unwrap();
    for (number, found) in (1..=400).rev().zip(found) {
        let found = found.unwrap();
        assert_eq!((found.size, found.modified), (number, 60));
    }
    assert_eq!(cache.transport.count("HEAD "), 0);
    assert_eq!(cache.transport.count("comp=list"), 1);
}

#[test]
fn a_single_layer_is_sent_unless_it_is_there() {
    let store = Store::default();
    let cache = scripted(&[("block_size", "64KiB")], |request: &Request| {
        store.answer(request)
    });
    // Small and large, into a container that is not there yet.
    for (number, size) in [(1, 10), (2, 200 * KIB)] {
        assert!(block_on(cache.store(digest(number), size)).unwrap());
        assert!(!block_on(cache.store(digest(number), size)).unwrap());
        assert_eq!(store.size_of(&key(number)), Some(size));
    }
    assert_eq!(cache.transport.count("comp=block&"), 4);
    assert_eq!(cache.transport.count("manifests"), 0);
    let events = cache.transport.events.borrow();
    let of_the_first = [
        Event::LayerStarted(digest(1)),
        Event::LayerStored(digest(1)),
        Event::LayerReused(digest(1)),
    ];
    assert_eq!(events[..3], of_the_first);
}

#[test]
fn a_layer_without_bytes_is_the_digest_of_nothing_and_no_other() {
    let store = Store::new();
    let cache = scripted(&[], |request: &Request| store.answer(request));
    assert!(block_on(cache.store(Digest::OF_NOTHING, 0)).unwrap());
    for (layer, size) in [(digest(1), 0), (Digest::OF_NOTHING, 1)] {
        let stored = block_on(cache.store(layer, size));
        assert!(matches!(stored, Err(Error::Other(_))), "{stored:?}");
    }
    assert_eq!(cache.transport.count("PUT "), 1);
}

#[test]
fn a_layer_whose_content_breaks_off_is_not_committed() {
    let store = Store::new();
    let parts = Cell::new(0);
    let cache = scripted(&[("block_size", "64KiB")], |request: &Request| {
        if request.target().contains("comp=block&") && parts.replace(parts.get() + 1) == 2 {
            return Err(TransportError::Content("it is gone".to_owned()));
        }
        store.answer(request)
    });
    let stored = block_on(cache.store(digest(1), 300 * KIB));
    assert!(matches!(stored, Err(Error::Content(_))), "{stored:?}");
    assert_eq!(store.size_of(&key(1)), None);
    assert_eq!(cache.transport.count("comp=blocklist"), 0);
}

#[test]
fn touching_changes_the_time_and_the_version_and_keeps_the_metadata() {
    let store = holding([1, 2]);
    let theirs = vec![("x-ms-meta-owner".to_owned(), "them".to_owned())];
    store.metadata.borrow_mut().insert(key(1), theirs.clone());
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let before = block_on(cache.find([1, 2].map(digest).to_vec())).unwrap();

    store.clock.set(5000);
    let touched = block_on(cache.touch([1, 7, 1].map(digest).to_vec())).unwrap();
    assert_eq!(touched, [true, false, true]);
    assert_eq!(store.metadata.borrow()[&key(1)], theirs);
    let after = block_on(cache.find([1, 2].map(digest).to_vec())).unwrap();
    let (first, untouched) = (after[0].as_ref().unwrap(), &after[1]);
    assert_eq!((first.modified, first.size), (5000, 1));
    assert_ne!(first.etag, before[0].as_ref().unwrap().etag);
    assert_eq!(*untouched, before[1]);
    assert_eq!(cache.transport.count("comp=metadata"), 1);
}

#[test]
fn a_layer_that_changes_while_it_is_touched_is_as_new_unless_it_is_gone() {
    for (is_removed, touched) in [(false, true), (true, false)] {
        let store = holding([1]);
        let cache = scripted(&[], |request: &Request| {
            if request.target().contains("comp=metadata") {
                match is_removed {
                    true => store.lose(&key(1)),
                    false => store.hold(&key(1), Held::Layer(1)),
                }
            }
            store.answer(request)
        });
        let answer = block_on(cache.touch(vec![digest(1)])).unwrap();
        assert_eq!(answer, [touched]);
    }
}

#[test]
fn what_cannot_be_touched_is_told_from_what_is_gone() {
    for (status, code, expected) in [
        (409, "BlobArchived", Some(false)),
        (412, "LeaseIdMissing", None),
        (403, "AuthorizationPermissionMismatch", None),
    ] {
        let store = holding([1]);
        let cache = scripted(&[], |request: &Request| match request.method {
            Method::Put => Ok(Reply::error(status, code)),
            _ => store.answer(request),
        });
        let touched = block_on(cache.touch(vec![digest(1)]));
        assert_eq!(touched.ok().map(|all| all[0]), expected, "{code}");
    }
}
