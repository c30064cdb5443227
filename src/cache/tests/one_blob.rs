//! One bad blob costs one step: what is refused of a single blob is a miss of
//! that blob, and what is refused of all is one error.

use std::cell::Cell;

use futures::executor::block_on;

use super::store::{Held, Store};
use super::{digest, layers, scripted};
use crate::cache::{Kind, Reading};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::scripted::{Answer, Reply};
use crate::transport::{Event, Method, Request};

const SIZE: u64 = 100 * 1024;

/// Blocks of 64 KiB.
const BLOCKS: (&str, &str) = ("block_size", "64KiB");

/// Enough layers for a listing.
const MANY: usize = 250;

fn key(number: u32) -> String {
    format!("blobs/{}", digest(number))
}

fn is_of(request: &Request, number: u32) -> bool {
    request.target().contains(&digest(number).to_string())
}

/// A store with a cache of this many layers, under these names.
fn holding(count: usize, names: &str) -> Store {
    let store = Store::new();
    let cache = scripted(&[("name", names)], |request: &Request| {
        store.answer(request)
    });
    block_on(cache.export(layers(&vec![SIZE; count]))).unwrap();
    drop(cache);
    store
}

/// The warnings of a cache, in their order.
fn warnings(events: &[Event]) -> Vec<String> {
    let warnings = events.iter().filter_map(|event| match event {
        Event::Warning(text) => Some(text.clone()),
        _ => None,
    });
    warnings.collect()
}

/// What an import says is missing, and its warnings.
fn missing(script: impl Fn(&Request) -> Answer) -> Result<(Vec<Digest>, Vec<String>), Error> {
    let cache = scripted(&[], script);
    let mut imported = block_on(cache.import())?;
    let missing = imported.remove(0).outcome?.missing;
    Ok((missing, warnings(&cache.transport.events.borrow())))
}

#[test]
fn an_archived_layer_is_missing_with_its_reason_asked_or_listed() {
    for count in [3, MANY] {
        let store = holding(count, "buildkit");
        store.archive(&key(1));
        let (missing, warnings) = missing(|request| store.answer(request)).unwrap();
        assert_eq!(missing, [digest(1)], "{count}");
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}")
        };
        assert!(warning.contains(&digest(1).to_string()), "{warning}");
        assert!(warning.contains("archive tier"), "{warning}");
    }
}

#[test]
fn an_archived_layer_is_removed_and_stored_anew() {
    for (count, extra) in [(3, &[][..]), (3, &[BLOCKS]), (MANY, &[])] {
        let store = holding(count, "buildkit");
        store.archive(&key(1));
        let cache = scripted(extra, |request: &Request| store.answer(request));
        let summary = block_on(cache.export(layers(&vec![SIZE; count]))).unwrap();
        assert_eq!(summary.layers_stored, 1);
        assert_eq!(summary.layers_reused as usize, count - 1);
        assert!(store.marked.borrow().is_empty());
        assert_eq!(store.size_of(&key(1)), Some(SIZE));
        assert_eq!(cache.transport.count("DELETE "), 1);
        let warnings = warnings(&cache.transport.events.borrow());
        assert!(warnings[0].contains("Replacing it"), "{warnings:?}");
    }
}

#[test]
fn a_layer_that_is_archived_in_mid_upload_is_removed_and_stored_anew() {
    for extra in [&[][..], &[BLOCKS]] {
        let store = Store::new();
        let archived = Cell::new(false);
        let cache = scripted(extra, |request: &Request| {
            if request.method == Method::Put && !archived.replace(true) {
                store.hold(&key(0), Held::Layer(SIZE));
                store.archive(&key(0));
            }
            store.answer(request)
        });
        let summary = block_on(cache.export(layers(&[SIZE]))).unwrap();
        assert_eq!(summary.layers_stored, 1);
        assert_eq!(store.size_of(&key(0)), Some(SIZE));
    }
}

/// What an export that must fail says, and that it has written no name, but
/// all layers except the one.
fn cannot_be_stored(
    store: &Store,
    extra: &[(&str, &str)],
    script: impl Fn(&Request) -> Answer,
) -> String {
    let cache = scripted(extra, script);
    let Err(Error::Corrupt(text)) = block_on(cache.export(layers(&[SIZE; 4]))) else {
        panic!("the cache was stored")
    };
    assert!(text.contains(&digest(1).to_string()), "{text}");
    assert_eq!(cache.transport.count("manifests%2F"), 0);
    let events = cache.transport.events.borrow();
    for number in [0, 2, 3] {
        let blob = digest(number);
        let is_durable = events.contains(&Event::LayerReused(blob))
            || events.contains(&Event::LayerStored(blob));
        assert!(is_durable && store.size_of(&key(number)) == Some(SIZE));
    }
    let is_promised = events.contains(&Event::LayerReused(digest(1)))
        || events.contains(&Event::LayerStored(digest(1)));
    assert!(!is_promised);
    text
}

#[test]
fn a_layer_that_can_be_neither_read_nor_removed_is_promised_by_no_name() {
    let refusals = [
        (403, "AuthorizationPermissionMismatch"),
        (409, "BlobImmutableDueToPolicy"),
        (412, "LeaseIdMissing"),
    ];
    for (status, code) in refusals {
        for extra in [&[][..], &[BLOCKS]] {
            let store = Store::new();
            store.hold(&key(1), Held::Layer(SIZE));
            store.archive(&key(1));
            let text = cannot_be_stored(&store, extra, |request| match request.method {
                Method::Delete => Ok(Reply::error(status, code)),
                _ => store.answer(request),
            });
            assert!(
                text.contains("archive tier") && text.contains(code),
                "{text}"
            );
        }
    }
}

#[test]
fn a_layer_of_another_size_that_cannot_be_replaced_is_promised_by_no_name() {
    for (status, code) in [
        (409, "BlobImmutableDueToPolicy"),
        (409, "BlobUsesCustomerSpecifiedEncryption"),
        (412, "LeaseIdMissing"),
        (403, "UnauthorizedBlobOverwrite"),
    ] {
        for extra in [&[][..], &[BLOCKS]] {
            let store = Store::new();
            store.hold(&key(1), Held::Layer(7));
            let text = cannot_be_stored(&store, extra, |request| {
                match request.method == Method::Put && is_of(request, 1) {
                    true => Ok(Reply::error(status, code)),
                    false => store.answer(request),
                }
            });
            assert!(text.contains("7 bytes") && text.contains(code), "{text}");
        }
    }
}

#[test]
fn a_directory_with_a_layers_name_is_left_alone_and_promised_by_no_name() {
    let store = Store::new();
    store.make_directory(&key(1));
    let text = cannot_be_stored(&store, &[], |request| {
        assert_ne!(request.method, Method::Delete);
        store.answer(request)
    });
    assert!(text.contains("a directory has its name"), "{text}");
    let store = holding(3, "buildkit");
    store.make_directory(&key(1));
    let (missing, _) = missing(|request| store.answer(request)).unwrap();
    assert_eq!(missing, [digest(1)]);
}

#[test]
fn a_refusal_of_one_layer_is_a_miss_of_that_layer_whatever_it_is() {
    for (status, code) in [
        (409, "BlobUsesCustomerSpecifiedEncryption"),
        (409, "BlobBeingRehydrated"),
        (409, ""),
        (403, "AuthorizationPermissionMismatch"),
        (403, "AuthorizationFailure"),
        (403, ""),
        (400, "InvalidMetadata"),
    ] {
        for count in [1, 2, 5] {
            let store = holding(count, "buildkit");
            let refused = digest(u32::try_from(count - 1).unwrap());
            let found = missing(
                |request| match request.target().contains(&refused.to_string()) {
                    true => Ok(Reply::error(status, code)),
                    false => store.answer(request),
                },
            );
            let (missing, warnings) = found.unwrap();
            assert_eq!(missing, [refused], "{status} {code}");
            let text = warnings.join("; ");
            assert!(
                text.contains(code) && text.contains(&refused.to_string()),
                "{text}"
            );
        }
    }
}

#[test]
fn a_layer_that_the_store_does_not_show_is_written_over() {
    let store = holding(3, "buildkit");
    let cache = scripted(&[], |request: &Request| {
        match request.method == Method::Head && is_of(request, 1) {
            true => Ok(Reply::error(409, "BlobUsesCustomerSpecifiedEncryption")),
            false => store.answer(request),
        }
    });
    let summary = block_on(cache.export(layers(&[SIZE; 3]))).unwrap();
    assert_eq!((summary.layers_stored, summary.layers_reused), (1, 2));
}

#[test]
fn an_answer_without_a_length_costs_the_layer_that_it_is_of() {
    let store = holding(3, "buildkit");
    let (missing, warnings) =
        missing(
            |request| match request.method == Method::Head && is_of(request, 1) {
                true => Ok(Reply::azure(200)),
                false => store.answer(request),
            },
        )
        .unwrap();
    assert_eq!(missing, [digest(1)]);
    assert!(warnings[0].contains("length"), "{warnings:?}");
}

#[test]
fn what_is_refused_of_every_layer_is_one_error_and_few_requests() {
    let store = holding(199, "buildkit");
    for (status, code) in [
        (403, "AuthorizationPermissionMismatch"),
        (403, "AuthenticationFailed"),
        (401, "InvalidAuthenticationInfo"),
    ] {
        let refused = Cell::new(0);
        let outcome = missing(|request| match request.method {
            Method::Head => {
                refused.set(refused.get() + 1);
                Ok(Reply::error(status, code))
            }
            _ => store.answer(request),
        });
        assert!(
            matches!(
                outcome,
                Err(Error::Forbidden(_) | Error::Unauthenticated(_))
            ),
            "{code}: {outcome:?}"
        );
        assert!(refused.get() <= 80, "{} requests", refused.get());
    }
}

#[test]
fn many_archived_layers_are_counted_and_not_all_named() {
    let store = holding(60, "buildkit");
    (0..60).for_each(|number| store.archive(&key(number)));
    let (missing, warnings) = missing(|request| store.answer(request)).unwrap();
    assert_eq!((missing.len(), warnings.len()), (60, 11));
    assert!(warnings[10].contains("more"), "{}", warnings[10]);
}

#[test]
fn a_name_that_cannot_be_read_costs_no_other_name() {
    for (status, code) in [
        (409, "BlobArchived"),
        (409, "BlobUsesCustomerSpecifiedEncryption"),
        (403, "AuthorizationPermissionMismatch"),
        (400, "InvalidMetadata"),
    ] {
        let store = holding(2, "old;new");
        let cache = scripted(
            &[("name", "old;new;none")],
            |request: &Request| match request.target().contains("manifests%2Fold") {
                true => Ok(Reply::error(status, code)),
                false => store.answer(request),
            },
        );
        let imported = block_on(cache.import()).unwrap();
        let [old, new] = imported.as_slice() else {
            panic!("{} names", imported.len())
        };
        assert!(new.outcome.is_ok());
        let why = old.outcome.as_ref().err().map(ToString::to_string);
        assert!(why.is_some_and(|why| why.contains(code)), "{code}");
    }
}

#[test]
fn a_manifest_whose_checksum_is_damaged_costs_no_other_name() {
    let store = holding(2, "old;new");
    let cache = scripted(
        &[("name", "old;new"), ("max_retries", "1")],
        |request: &Request| {
            let reply = store.answer(request)?;
            Ok(match request.target().contains("manifests%2Fold") {
                true => reply.with("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
                false => reply,
            })
        },
    );
    let imported = block_on(cache.import()).unwrap();
    assert!(imported[0].outcome.is_err() && imported[1].outcome.is_ok());
}

#[test]
fn a_name_in_the_archive_tier_is_replaced() {
    let store = holding(2, "buildkit");
    store.archive("manifests/buildkit");
    let cache = scripted(&[], |request: &Request| store.answer(request));
    block_on(cache.export(layers(&[SIZE; 3]))).unwrap();
    let written = Held::Bytes(layers(&[SIZE; 3]).to_json().unwrap());
    assert_eq!(store.blobs.borrow()["manifests/buildkit"].0, written);
    assert!(store.marked.borrow().is_empty());
}

#[test]
fn a_directory_is_no_cache_and_a_name_that_is_one_is_said_to_be() {
    let store = holding(2, "feature/x");
    store.make_directory("manifests/feature");
    let cache = scripted(&[("name", "feature;main")], |request: &Request| {
        store.answer(request)
    });
    assert!(block_on(cache.import()).unwrap().is_empty());
    let mut listing = block_on(cache.list(Kind::Manifests)).unwrap();
    let names: Vec<_> = listing.take().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["feature/x"]);

    let Err(Error::Other(text)) = block_on(cache.export(layers(&[SIZE; 2]))) else {
        panic!("the name was written")
    };
    for part in ["`feature`", "directory", "`main` all the same"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(store.size_of("manifests/main").is_some());
}

#[test]
fn a_read_that_is_refused_of_one_layer_alone_is_a_miss_with_a_reason() {
    for (status, code, is_miss) in [
        (409, "BlobArchived", true),
        (409, "BlobBeingRehydrated", true),
        (409, "BlobUsesCustomerSpecifiedEncryption", true),
        (403, "AuthorizationPermissionMismatch", true),
        (403, "AuthenticationFailed", false),
    ] {
        let store = holding(2, "buildkit");
        let cache = scripted(&[], |request: &Request| {
            match request.method == Method::Get && is_of(request, 1) {
                true => Ok(Reply::error(status, code)),
                false => store.answer(request),
            }
        });
        assert!(matches!(
            block_on(cache.read(digest(0), 0, None)),
            Ok(Reading::Bytes(_))
        ));
        let reading = block_on(cache.read(digest(1), 0, None));
        assert_eq!(matches!(reading, Ok(Reading::Absent)), is_miss, "{code}");
        let warnings = warnings(&cache.transport.events.borrow());
        assert_eq!(warnings.len(), usize::from(is_miss), "{warnings:?}");
    }
}

#[test]
fn a_read_that_is_refused_of_everything_is_an_error() {
    let cache = scripted(&[], |_: &Request| {
        Ok(Reply::error(403, "AuthorizationPermissionMismatch"))
    });
    let reading = block_on(cache.read(digest(0), 0, None));
    assert!(matches!(reading, Err(Error::Forbidden(_))));

    // It worked before, and now does for nobody.
    let store = holding(2, "buildkit");
    let is_over = Cell::new(false);
    let cache = scripted(&[], |request: &Request| match is_over.get() {
        true => Ok(Reply::error(403, "AuthorizationPermissionMismatch")),
        false => store.answer(request),
    });
    block_on(cache.import()).unwrap();
    is_over.set(true);
    let reading = block_on(cache.read(digest(0), 0, None));
    assert!(matches!(reading, Err(Error::Forbidden(_))));
}
