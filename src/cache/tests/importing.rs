//! Import and read.

use futures::executor::block_on;

use super::store::{Held, Store};
use super::{digest, layers, scripted};
use crate::cache::Reading;
use crate::cache::import::Imported;
use crate::error::Error;
use crate::transport::scripted::Reply;
use crate::transport::{Event, Request};

/// A store that holds a cache of these layers under these names.
fn holding(sizes: &[u64], names: &str) -> Store {
    let store = Store::new();
    let cache = scripted(&[("name", names)], |request: &Request| {
        store.answer(request)
    });
    block_on(cache.export(layers(sizes))).unwrap();
    drop(cache);
    store
}

#[test]
fn a_name_that_does_not_exist_is_an_empty_cache() {
    for has_container in [true, false] {
        let store = Store::default();
        store.has_container.set(has_container);
        let cache = scripted(&[], |request: &Request| store.answer(request));
        assert!(block_on(cache.import()).unwrap().is_empty());
        assert_eq!(cache.transport.sent.borrow().len(), 1);
        assert_eq!(
            store.has_container.get(),
            has_container,
            "an import makes no container"
        );
        // No such cache is not the same as no such container.
        let events = cache.transport.events.borrow();
        match &**events {
            [] => assert!(has_container),
            [Event::Warning(text)] => {
                assert!(
                    !has_container && text.contains("no container `buildkit-cache`"),
                    "{text}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_exported_is_imported_with_one_lookup_a_layer_across_names() {
    let store = holding(&[5, 6, 0, 7], "a;b");
    let cache = scripted(&[("name", "b;none;a")], |request: &Request| {
        store.answer(request)
    });
    let imported = block_on(cache.import()).unwrap();

    let names: Vec<_> = imported.iter().map(|imported| &*imported.name).collect();
    assert_eq!(names, ["b", "a"]);
    for Imported { outcome, .. } in imported {
        let loaded = outcome.unwrap();
        assert_eq!(loaded.manifest, layers(&[5, 6, 0, 7]));
        assert!(loaded.missing.is_empty());
    }
    assert_eq!(cache.transport.sent.borrow().len(), 3 + 4);
}

#[test]
fn layers_that_are_gone_or_of_another_size_are_missing() {
    let store = holding(&[5, 6, 7], "buildkit");
    store
        .blobs
        .borrow_mut()
        .remove(&format!("blobs/{}", digest(0)));
    store.hold(&format!("blobs/{}", digest(2)), Held::Layer(8));
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let mut imported = block_on(cache.import()).unwrap();
    let loaded = imported.remove(0).outcome.unwrap();
    assert_eq!(loaded.missing, [digest(0), digest(2)]);
}

#[test]
fn a_damaged_manifest_concerns_its_own_name() {
    let store = holding(&[5], "good");
    store.hold("manifests/html", Held::Bytes(b"<html>".to_vec()));
    store.hold("manifests/bare", Held::Bytes(br#"{"layers":3}"#.to_vec()));
    let cache = scripted(&[("name", "html;good;bare")], |request: &Request| {
        store.answer(request)
    });
    let imported = block_on(cache.import()).unwrap();
    let [html, good, bare] = imported.as_slice() else {
        panic!("{} names", imported.len())
    };
    assert!(good.outcome.is_ok());
    for (damaged, reason) in [(html, "HTML"), (bare, "an array was expected")] {
        match &damaged.outcome {
            Err(Error::Corrupt(text)) => assert!(text.contains(reason), "{text}"),
            other => panic!("{:?}", other.as_ref().err()),
        }
    }
}

#[test]
fn a_layer_that_the_manifest_does_not_describe_is_missing_and_costs_no_other() {
    let store = holding(&[5, 6], "buildkit");
    let whole = String::from_utf8(layers(&[5, 6]).to_json().unwrap()).unwrap();
    let (before, last) = whole.rsplit_once(",\"annotations\"").unwrap();
    let (_, after) = last.split_once("}}").unwrap();
    let manifest = format!("{before}}}{after}");
    store.hold("manifests/buildkit", Held::Bytes(manifest.into()));

    let cache = scripted(&[], |request: &Request| store.answer(request));
    let loaded = block_on(cache.import()).unwrap().remove(0).outcome.unwrap();
    assert_eq!(loaded.missing, [digest(1)]);
    assert_eq!(loaded.manifest.layers.len(), 2);
    assert_eq!(loaded.manifest.layers[0], layers(&[5]).layers[0]);
    let events = cache.transport.events.borrow();
    assert!(
        matches!(&events[..], [Event::Warning(text)]
            if text.contains(&digest(1).to_string()) && text.contains("annotations")),
        "{events:?}"
    );
    assert_eq!(cache.transport.count("HEAD "), 1, "it is not asked for");
}

#[test]
fn another_server_that_knows_nothing_is_not_an_empty_cache() {
    let not_found = || {
        Reply::foreign(404)
            .with("content-type", "text/html")
            .body("<html>")
    };
    let cache = scripted(&[], |_: &Request| Ok(not_found()));
    let Err(Error::Other(text)) = block_on(cache.import()) else {
        panic!("it passed for an empty cache")
    };
    assert!(
        text.contains("not an answer of Azure Blob Storage"),
        "{text}"
    );
    assert!(block_on(cache.export(layers(&[1]))).is_err());
    assert!(block_on(cache.read(digest(0), 0, None)).is_err());
    assert!(block_on(cache.list(crate::cache::Kind::Blobs)).is_err());
}

#[test]
fn what_concerns_every_name_fails_the_import() {
    let cache = scripted(&[("name", "a;b")], |_: &Request| {
        Ok(Reply::error(403, "AuthorizationPermissionMismatch"))
    });
    let outcome = block_on(cache.import());
    assert!(matches!(outcome, Err(Error::Forbidden(_))));
}

/// What a read finds: the bytes it would stream, or the case.
fn read(store: &Store, offset: u64, length: Option<u64>) -> Result<String, Error> {
    let cache = scripted(&[], |request: &Request| store.answer(request));
    let reading = block_on(cache.read(digest(0), offset, length))?;
    Ok(match reading {
        Reading::Bytes(reply) => {
            let collected = crate::transport::Transport::collect(&cache.transport, reply, 100);
            format!("{} bytes", block_on(collected).unwrap().len())
        }
        Reading::Nothing => "nothing".to_owned(),
        Reading::Absent => "absent".to_owned(),
    })
}

#[test]
fn a_read_gives_the_range_asked_for() {
    let store = holding(&[10], "buildkit");
    for (offset, length, found) in [
        (0, None, "10 bytes"),
        (4, None, "6 bytes"),
        (4, Some(3), "3 bytes"),
        (4, Some(u64::MAX), "6 bytes"),
        (0, Some(10), "10 bytes"),
        (10, None, "nothing"),
        (10, Some(5), "nothing"),
        (3, Some(0), "nothing"),
    ] {
        assert_eq!(
            read(&store, offset, length).unwrap(),
            found,
            "{offset} {length:?}"
        );
    }
    let past = read(&store, 11, None);
    assert!(
        matches!(&past, Err(Error::Corrupt(text)) if text.contains("10 bytes")),
        "{past:?}"
    );
}

#[test]
fn a_read_of_a_layer_that_is_not_there_is_absent() {
    for store in [Store::new(), Store::default()] {
        assert_eq!(read(&store, 0, None).unwrap(), "absent");
        assert_eq!(read(&store, 5, Some(0)).unwrap(), "absent");
    }
}

#[test]
fn an_empty_layer_reads_as_nothing() {
    let store = Store::new();
    store.hold(&format!("blobs/{}", digest(0)), Held::Bytes(Vec::new()));
    assert_eq!(read(&store, 0, None).unwrap(), "0 bytes");
    assert_eq!(read(&store, 0, Some(1)).unwrap(), "nothing");
}
