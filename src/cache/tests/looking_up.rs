//! How it is found out which of many layers the store holds.

use futures::executor::block_on;

use super::store::{Held, Store};
use super::{digest, layers, scripted};
use crate::cache::export::Summary;
use crate::transport::Request;

/// Enough layers for a listing.
const MANY: u32 = 1500;

/// A store that holds layers of one byte.
fn holding(layers: impl Iterator<Item = u32>) -> Store {
    let store = Store::new();
    for number in layers {
        store.hold(&format!("blobs/{}", digest(number)), Held::Layer(1));
    }
    store
}

/// Exports `count` layers of one byte. Gives what it did, how many layers were
/// asked for, and how many pages of listings.
fn export(store: &Store, count: u32) -> (Summary, usize, usize) {
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let summary = block_on(cache.export(layers(&vec![1; count as usize]))).unwrap();
    let asked = cache.transport.count("HEAD ");
    (summary, asked, cache.transport.count("comp=list"))
}

#[test]
fn few_layers_are_asked_for() {
    let store = holding(0..199);
    let (summary, asked, pages) = export(&store, 199);
    assert_eq!((summary.layers_reused, asked, pages), (199, 199, 0));
}

#[test]
fn many_layers_are_listed() {
    let store = holding(0..MANY);
    let (summary, asked, pages) = export(&store, MANY);
    assert_eq!((summary.layers_stored, summary.layers_reused), (0, MANY));
    assert_eq!((asked, pages), (0, 3));
}

#[test]
fn an_empty_container_is_found_so_in_one_request() {
    let (summary, asked, pages) = export(&Store::new(), MANY);
    assert_eq!((summary.layers_stored, asked, pages), (MANY, 0, 1));
}

#[test]
fn what_lacks_among_many_is_sent() {
    let store = holding((0..MANY).filter(|number| number % 50 != 0));
    store.hold(&format!("blobs/{}", digest(77)), Held::Layer(2));
    let (summary, asked, _) = export(&store, MANY);
    assert_eq!((summary.layers_stored, asked), (31, 0));
    assert!((0..MANY).all(|number| store.size_of(&format!("blobs/{}", digest(number))) == Some(1)));
}

#[test]
fn a_container_full_of_other_layers_is_not_listed_for_long() {
    // A hundred thousand others before the second of ours.
    let store = holding((0..1).chain(1_000_000..1_100_000));
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let mut manifest = layers(&[1; 300]);
    for (number, layer) in (1_100_000..).zip(&mut manifest.layers) {
        layer.blob = digest(number);
    }
    let summary = block_on(cache.export(manifest.clone())).unwrap();
    assert_eq!(summary.layers_stored, 300);
    assert_eq!(cache.transport.count("comp=list"), 1);
    assert_eq!(cache.transport.count("HEAD "), 300);
}

#[test]
fn pages_that_are_worth_it_are_read_on_and_the_rest_is_asked() {
    let store = holding((0..MANY).chain(5000..5100));
    store.longest_page.set(Some(150));
    let (summary, asked, pages) = export(&store, MANY);
    assert_eq!(summary.layers_reused, MANY);
    // Nine pages leave 150 layers, which are few.
    assert_eq!((asked, pages), (150, 9));
}

#[test]
fn who_may_not_list_asks() {
    let store = holding(0..MANY);
    store.refuses_to_list.set(true);
    let (summary, asked, pages) = export(&store, MANY);
    assert_eq!(
        (summary.layers_reused, asked, pages),
        (MANY, MANY as usize, 1)
    );
}

#[test]
fn strangers_among_the_layers_settle_nothing() {
    let store = holding(0..MANY);
    store.hold("blobs/sha256:zebra", Held::Bytes(Vec::new()));
    store.hold("blobs/readme", Held::Bytes(Vec::new()));
    let (summary, asked, _) = export(&store, MANY);
    assert_eq!((summary.layers_reused, asked), (MANY, 0));
}
