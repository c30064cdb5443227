//! How it is found out which of many layers the store holds.

use futures::executor::block_on;

use super::store::{Held, Store};
use super::{digest, layers, nobody, scripted};
use crate::cache::export::Summary;
use crate::transport::scripted::Reply;
use crate::transport::{Method, Request};

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
fn who_may_not_list_asks_in_whatever_way_it_is_said() {
    for refusal in [
        (403, "AuthorizationPermissionMismatch"),
        (403, "AuthorizationFailure"),
        (401, "NoAuthenticationInformation"),
        (404, "ResourceNotFound"),
        (409, "PublicAccessNotPermitted"),
        (400, "InvalidQueryParameterValue"),
        (501, "NotImplemented"),
    ] {
        let store = holding(0..MANY);
        store.refuses_to_list.set(Some(refusal));
        let (summary, asked, pages) = export(&store, MANY);
        assert_eq!(
            (summary.layers_reused, asked, pages),
            (MANY, MANY as usize, 1),
            "{refusal:?}"
        );
    }
}

#[test]
fn a_listing_that_is_no_listing_settles_nothing() {
    let store = holding(0..MANY);
    let cache = scripted(&[], |request: &Request| {
        match request.target().contains("comp=list") {
            true => Ok(Reply::azure(200).body("{}")),
            false => store.answer(request),
        }
    });
    let summary = block_on(cache.export(layers(&vec![1; MANY as usize]))).unwrap();
    assert_eq!(summary.layers_reused, MANY);
    assert_eq!(cache.transport.count("HEAD "), MANY as usize);
}

#[test]
fn to_a_reader_without_a_credential_a_listing_that_finds_nothing_says_nothing() {
    // What Azure says of the listing of a container that is public to read.
    for code in ["ResourceNotFound", "ContainerNotFound", ""] {
        let cache = nobody(|request: &Request| match request.method {
            _ if request.target().contains("comp=list") => Ok(Reply::error(404, code)),
            Method::Head => Ok(Reply::azure(200).with("content-length", "1")),
            _ => Ok(Reply::azure(200).body(layers(&vec![1; 300]).to_json().unwrap())),
        });
        let mut imported = block_on(cache.import()).unwrap();
        let loaded = imported.remove(0).outcome.unwrap();
        assert_eq!(loaded.missing, [], "{code}");
        assert_eq!(cache.transport.count("HEAD "), 300);
    }
}

#[test]
fn an_entry_of_a_listing_that_is_damaged_has_its_blob_asked_for() {
    let store = holding(0..MANY);
    let cache = scripted(&[], |request: &Request| {
        let reply = store.answer(request)?;
        Ok(match request.target().contains("comp=list") {
            true => reply.replacing(
                &format!("<Name>blobs/{}</Name>", digest(7)),
                &format!(
                    "<Name>blobs/{}</Name><Properties><Content-Length>none</Content-Length></Properties>",
                    digest(7)
                ),
            ),
            false => reply,
        })
    });
    let summary = block_on(cache.export(layers(&vec![1; MANY as usize]))).unwrap();
    assert_eq!(summary.layers_reused, MANY);
    assert_eq!(cache.transport.count("HEAD "), 1);
}

#[test]
fn strangers_among_the_layers_settle_nothing() {
    let store = holding(0..MANY);
    store.hold("blobs/sha256:zebra", Held::Bytes(Vec::new()));
    store.hold("blobs/readme", Held::Bytes(Vec::new()));
    let (summary, asked, _) = export(&store, MANY);
    assert_eq!((summary.layers_reused, asked), (MANY, 0));
}
