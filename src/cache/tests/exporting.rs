//! Export: what is sent, in which order, and what becomes of trouble.

use std::cell::Cell;

use futures::executor::block_on;

use super::store::{Held, Store};
use super::{digest, layers, open, scripted};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::scripted::{Reply, Scripted};
use crate::transport::{Body, Event, Method, Request, TransportError};

const KIB: u64 = 1024;

/// Blocks of 64 KiB.
const BLOCKS: (&str, &str) = ("block_size", "64KiB");

fn key(number: u32) -> String {
    format!("blobs/{}", digest(number))
}

fn is_put_of(request: &Request, part: &str) -> bool {
    request.method == Method::Put && request.target().contains(part)
}

#[test]
fn a_cold_export_of_40_layers_takes_two_requests_a_layer_and_one_for_the_name() {
    let store = Store::new();
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let summary = block_on(cache.export(layers(&[KIB; 40]))).unwrap();

    assert_eq!((summary.layers_stored, summary.layers_reused), (40, 0));
    assert_eq!(summary.bytes_stored, 40 * KIB);
    assert_eq!((summary.requests, summary.retries), (81, 0));
    assert_eq!(cache.transport.count("HEAD "), 40);
    assert_eq!(cache.transport.count("restype=container"), 0);
}

#[test]
fn a_warm_export_of_40_layers_looks_each_up_and_writes_the_name() {
    let store = Store::new();
    let cache = scripted(&[], |request: &Request| store.answer(request));
    block_on(cache.export(layers(&[KIB; 40]))).unwrap();
    cache.transport.events.borrow_mut().clear();

    let summary = block_on(cache.export(layers(&[KIB; 40]))).unwrap();
    assert_eq!((summary.layers_stored, summary.layers_reused), (0, 40));
    assert_eq!((summary.requests, summary.bytes_stored), (41, 0));
    let events = cache.transport.events.borrow();
    let reused = events
        .iter()
        .filter(|event| matches!(event, Event::LayerReused(_)));
    assert_eq!(reused.count(), 40);
    assert_eq!(
        events.last(),
        Some(&Event::ManifestStored("buildkit".to_owned()))
    );
}

#[test]
fn names_are_written_last_and_each_holds_the_manifest() {
    let store = Store::new();
    let cache = scripted(&[("name", "a;b")], |request: &Request| {
        store.answer(request)
    });
    let manifest = layers(&[KIB, 0, 3]);
    block_on(cache.export(manifest.clone())).unwrap();

    let sent = cache.transport.sent.borrow();
    let first_name = sent
        .iter()
        .position(|sent| sent.contains("manifests%2F"))
        .unwrap();
    let last_layer = sent
        .iter()
        .rposition(|sent| sent.contains("blobs%2F"))
        .unwrap();
    assert!(last_layer < first_name, "{sent:#?}");
    let written = Held::Bytes(manifest.to_json().unwrap());
    for name in ["manifests/a", "manifests/b"] {
        assert_eq!(store.blobs.borrow()[name].0, written);
    }
    assert_eq!(
        store.size_of(&format!("blobs/{}", Digest::OF_NOTHING)),
        Some(0)
    );
}

#[test]
fn no_name_is_written_when_a_layer_fails() {
    let store = Store::new();
    let bad = key(2).replace('/', "%2F");
    let cache = scripted(
        &[("max_retries", "1")],
        |request: &Request| match is_put_of(request, &bad) {
            true => Err(TransportError::Broken("the connection broke".to_owned())),
            false => store.answer(request),
        },
    );
    let outcome = block_on(cache.export(layers(&[KIB; 4])));
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    assert_eq!(cache.transport.count("manifests%2F"), 0);
}

#[test]
fn a_large_layer_goes_in_blocks_whose_bytes_are_the_layers_each_once() {
    let store = Store::new();
    let size = 5 * 64 * KIB + 1;
    let cache = scripted(&[BLOCKS, ("parallelism", "2")], |request: &Request| {
        store.answer(request)
    });
    let summary = block_on(cache.export(layers(&[size, 64 * KIB]))).unwrap();

    assert_eq!(summary.bytes_stored, size + 64 * KIB);
    assert_eq!(store.size_of(&key(0)), Some(size));
    assert_eq!(cache.transport.count("comp=block&"), 6);
    assert_eq!(cache.transport.count("comp=blocklist"), 1);
    assert_eq!(
        cache.transport.count(&format!(
            "PUT /devstoreaccount1/buildkit-cache/{}",
            key(1).replace('/', "%2F")
        )),
        1
    );
    let mut ranges: Vec<_> = cache
        .transport
        .requests
        .borrow()
        .iter()
        .filter(|request| is_put_of(request, "comp=block&"))
        .map(|request| match request.body {
            Body::Layer { offset, length, .. } => (offset, length),
            _ => panic!("a block without bytes of the layer"),
        })
        .collect();
    ranges.sort();
    let end = ranges.iter().fold(0, |end, &(offset, length)| {
        assert_eq!(offset, end);
        end + length
    });
    assert_eq!(end, size);
}

#[test]
fn uploads_share_one_budget() {
    let store = Store::new();
    let cache = scripted(&[BLOCKS, ("parallelism", "3")], |request: &Request| {
        store.answer(request)
    });
    block_on(cache.export(layers(&[4000 * KIB, 4000 * KIB]))).unwrap();
    // Three parts, and the question for the second layer.
    assert_eq!(cache.transport.most_at_once.get(), 3 + 1);
}

#[test]
fn four_times_as_many_small_layers_are_sent_at_once() {
    let store = Store::new();
    let cache = scripted(&[("parallelism", "3")], |request: &Request| {
        store.answer(request)
    });
    block_on(cache.export(layers(&[512 * KIB; 190]))).unwrap();
    // Twelve layers, and as many questions at most.
    let most = cache.transport.most_at_once.get();
    assert!((12 + 1..=12 + 12).contains(&most), "{most}");
}

#[test]
fn a_block_that_fails_is_sent_again_alone() {
    let store = Store::new();
    let failures = Cell::new(1);
    let cache = scripted(&[BLOCKS], |request: &Request| {
        let is_third = matches!(request.body, Body::Layer { offset, .. } if offset == 2 * 64 * KIB);
        match is_third && failures.replace(0) == 1 {
            true => Err(TransportError::Broken("the connection broke".to_owned())),
            false => store.answer(request),
        }
    });
    let summary = block_on(cache.export(layers(&[5 * 64 * KIB]))).unwrap();
    assert_eq!(summary.retries, 1);
    assert_eq!(cache.transport.count("comp=block&"), 6);
    assert_eq!(summary.bytes_stored, 5 * 64 * KIB, "counted once");
}

#[test]
fn a_missing_container_is_made_once_and_only_then_asked_about() {
    let store = Store::default();
    let cache = scripted(&[("name", "a;b")], |request: &Request| {
        store.answer(request)
    });
    block_on(cache.export(layers(&[KIB; 40]))).unwrap();
    assert_eq!(cache.transport.count("restype=container"), 1);
    assert_eq!(cache.transport.sent.borrow().len(), 40 + 1 + 40 + 2);
}

#[test]
fn a_container_that_goes_missing_in_between_is_made_by_the_first_write_that_finds_out() {
    // The lookups say nothing of the container, as where a proxy answers them.
    let store = Store::default();
    let cache = scripted(&[], |request: &Request| match request.method {
        Method::Head => Ok(Reply::error(404, "BlobNotFound")),
        _ => store.answer(request),
    });
    let summary = block_on(cache.export(layers(&[KIB; 5]))).unwrap();
    assert_eq!(summary.layers_stored, 5);
    assert_eq!(cache.transport.count("restype=container"), 1);
}

#[test]
fn a_container_that_someone_else_makes_at_the_same_time_will_do() {
    let store = Store::default();
    let cache = scripted(&[], |request: &Request| {
        if request.target().contains("restype=container") {
            store.has_container.set(true);
        }
        store.answer(request)
    });
    block_on(cache.export(layers(&[KIB]))).unwrap();
    assert_eq!(cache.transport.count("restype=container"), 1);
}

#[test]
fn a_layer_that_appears_in_mid_upload_is_reused() {
    for extra in [&[][..], &[BLOCKS]] {
        let store = Store::new();
        let cache = scripted(extra, |request: &Request| {
            if request.headers.get("if-none-match").is_some() {
                store.hold(&key(0), Held::Layer(100 * KIB));
            }
            store.answer(request)
        });
        let summary = block_on(cache.export(layers(&[100 * KIB]))).unwrap();
        assert_eq!((summary.layers_stored, summary.layers_reused), (0, 1));
        assert!(
            cache
                .transport
                .events
                .borrow()
                .contains(&Event::LayerReused(digest(0)))
        );
        assert!(store.size_of("manifests/buildkit").is_some());
    }
}

#[test]
fn a_damaged_layer_is_replaced_and_the_user_warned() {
    for extra in [&[][..], &[BLOCKS]] {
        let store = Store::new();
        store.hold(&key(0), Held::Layer(7));
        let cache = scripted(extra, |request: &Request| store.answer(request));
        let summary = block_on(cache.export(layers(&[100 * KIB]))).unwrap();
        assert_eq!(summary.layers_stored, 1);
        assert_eq!(store.size_of(&key(0)), Some(100 * KIB));
        let events = cache.transport.events.borrow();
        assert!(matches!(&events[0], Event::Warning(text) if text.contains("7 bytes")));
    }
}

#[test]
fn a_layer_that_appears_damaged_in_mid_upload_is_replaced_too() {
    let store = Store::new();
    let appeared = Cell::new(false);
    let cache = scripted(&[], |request: &Request| {
        if request.method == Method::Put && !appeared.replace(true) {
            store.hold(&key(0), Held::Layer(7));
        }
        store.answer(request)
    });
    block_on(cache.export(layers(&[KIB]))).unwrap();
    assert_eq!(store.size_of(&key(0)), Some(KIB));
}

#[test]
fn blocks_of_another_id_length_are_swept_away_by_sending_the_layer_whole() {
    let store = Store::new();
    let cache = scripted(&[BLOCKS], |request: &Request| {
        match is_put_of(request, "comp=block&") {
            true => Ok(Reply::error(400, "InvalidBlobOrBlock")),
            false => store.answer(request),
        }
    });
    let summary = block_on(cache.export(layers(&[300 * KIB]))).unwrap();
    assert_eq!(summary.layers_stored, 1);
    assert_eq!(store.size_of(&key(0)), Some(300 * KIB));
}

#[test]
fn blocks_that_another_writer_swept_away_are_made_up_for() {
    // Another writer commits the layer, and so drops our blocks.
    let store = Store::new();
    let cache = scripted(&[BLOCKS], |request: &Request| {
        if is_put_of(request, "comp=blocklist") {
            store.blocks.borrow_mut().clear();
            store.hold(&key(0), Held::Layer(100 * KIB));
            return Ok(Reply::error(400, "InvalidBlockList"));
        }
        store.answer(request)
    });
    let summary = block_on(cache.export(layers(&[100 * KIB]))).unwrap();
    assert_eq!(summary.layers_reused, 1);

    // Or they are simply gone.
    let store = Store::new();
    let cache = scripted(&[BLOCKS], |request: &Request| {
        if is_put_of(request, "comp=blocklist") {
            store.blocks.borrow_mut().clear();
        }
        store.answer(request)
    });
    let summary = block_on(cache.export(layers(&[100 * KIB]))).unwrap();
    assert_eq!(summary.layers_stored, 1);
    assert_eq!(store.size_of(&key(0)), Some(100 * KIB));
}

#[test]
fn a_layer_too_large_to_be_sent_whole_says_what_is_in_the_way() {
    let size = 6000 * 1024 * KIB;
    let cache = scripted(
        &[("block_size", "4000MiB")],
        |request: &Request| match request.method {
            Method::Head => Ok(Reply::error(404, "BlobNotFound")),
            _ => Ok(Reply::error(400, "InvalidBlobOrBlock")),
        },
    );
    let Err(Error::Other(text)) = block_on(cache.export(layers(&[size]))) else {
        panic!("the layer was stored")
    };
    assert!(text.contains("another writer"), "{text}");
}

#[test]
fn blocks_grow_where_50000_would_not_do() {
    let size = 50_000 * 64 * KIB + 1;
    let store = Store::new();
    let cache = scripted(&[BLOCKS], |request: &Request| store.answer(request));
    block_on(cache.export(layers(&[size]))).unwrap();
    assert_eq!(store.size_of(&key(0)), Some(size));
    assert!(cache.transport.count("comp=block&") <= 50_000);
}

#[test]
fn a_digest_that_comes_twice_is_sent_once() {
    let store = Store::new();
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let mut manifest = layers(&[KIB, KIB]);
    manifest.layers[1].blob = manifest.layers[0].blob;
    let summary = block_on(cache.export(manifest.clone())).unwrap();
    assert_eq!((summary.layers_stored, summary.requests), (1, 3));

    manifest.layers[1].size = 5;
    assert!(matches!(
        block_on(cache.export(manifest.clone())),
        Err(Error::Other(_))
    ));
}

#[test]
fn a_cache_that_buildkit_would_choke_on_sends_nothing() {
    let cache = scripted(&[], |_: &Request| panic!("a request was sent"));
    let mut manifest = layers(&[KIB]);
    manifest.layers[0].media_type.clear();
    let Err(Error::Other(text)) = block_on(cache.export(manifest.clone())) else {
        panic!("it was accepted")
    };
    assert!(text.contains("layer 0 has no media type"), "{text}");
}

#[test]
fn an_empty_cache_is_one_request() {
    let store = Store::new();
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let summary = block_on(cache.export(layers(&[]))).unwrap();
    assert_eq!(summary.requests, 1);
}

#[test]
fn attributes_without_effect_are_warned_of_on_opening() {
    let transport = Scripted::new(|_: &Request| panic!("a request was sent"));
    let cache = open(transport, &[("compression", "zstd")]);
    let events = cache.transport.events.borrow();
    assert!(matches!(&events[..], [Event::Warning(text)] if text.contains("`compression`")));
}
