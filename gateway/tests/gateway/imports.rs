//! What is given out: whole, byte for byte, and nothing that cannot be delivered.

use std::sync::Arc;

use build_cache_gateway::memory::MemoryStore;
use build_cache_host::Digest;

use crate::world::{Setup, World, digest_of, header, json_of, refusal};

const LAYERS: [&[u8]; 3] = [b"the base", b"the middle", b"the top"];

fn digests(layers: &[&[u8]]) -> Vec<String> {
    layers
        .iter()
        .map(|layer| Digest::of(layer).to_string())
        .collect()
}

#[tokio::test]
async fn a_name_that_is_not_there_is_a_miss_and_no_warning() {
    let world = World::new().await;
    let answer = world.get("/v2/app/manifests/main").await;
    let (status, code, message) = refusal(answer).await;
    assert_eq!((status, code.as_str()), (404, "MANIFEST_UNKNOWN"));
    assert!(message.contains("app/main"), "{message}");
    assert_eq!(world.head("/v2/app/manifests/main").await.status(), 404);
    let unknown = format!("/v2/app/manifests/{}", Digest::of(b"x"));
    assert_eq!(world.get(&unknown).await.status(), 404);
    assert_eq!(world.warnings(), [""; 0]);
    assert_eq!(world.gateway.summary().caches["app/main"].absent, 2);
}

#[tokio::test]
async fn what_the_store_lost_is_not_promised() {
    let first = World::new().await;
    first.push_cache("main", &LAYERS).await;
    assert_eq!(first.promised("main").await, Some(digests(&LAYERS)));

    first.store.lose(&Digest::of(LAYERS[1]));
    let world = first.again().await;
    assert_eq!(world.promised("main").await, Some(digests(&LAYERS[..1])));
    let warnings = world.warnings();
    assert!(
        warnings[0].contains("without 2 of its 3 layers"),
        "{warnings:?}"
    );

    first.store.lose(&Digest::of(LAYERS[0]));
    let world = first.again().await;
    assert_eq!(world.promised("main").await, None, "nothing is left");
}

#[tokio::test]
async fn what_another_size_has_is_not_promised() {
    let first = World::new().await;
    first.push_cache("main", &LAYERS).await;
    first.store.spoil(&Digest::of(LAYERS[2]), &b"cut"[..]);
    let world = first.again().await;
    assert_eq!(world.promised("main").await, Some(digests(&LAYERS[..2])));
}

#[tokio::test]
async fn a_spoiled_layer_never_arrives_whole_and_the_next_push_heals_it() {
    let large: Vec<u8> = (0..9_000_000_u32).map(|at| (at % 241) as u8).collect();
    let layers: [&[u8]; 2] = [LAYERS[0], &large];
    let first = World::new().await;
    first.push_cache("main", &layers).await;
    let blob = Digest::of(&large);
    let mut spoiled = large.clone();
    spoiled[5_000_000] ^= 1;
    first.store.spoil(&blob, spoiled);

    let world = first.again().await;
    assert_eq!(
        world.promised("main").await,
        Some(digests(&layers)),
        "nobody knows yet"
    );
    let path = format!("/v2/app/blobs/{blob}");
    let answer = world.get(&path).await;
    assert_eq!(answer.status(), 200);
    answer.bytes().await.expect_err("it breaks off");
    assert_eq!(world.promised("main").await, Some(digests(&layers[..1])));
    assert_eq!(world.get(&path).await.status(), 404);
    let rest = world
        .send("GET", &path, &[("range", "bytes=100-")], "")
        .await;
    assert_eq!(rest.status(), 404);
    let warnings = world.warnings();
    assert!(
        warnings.iter().any(|warning| warning.contains("damaged")),
        "{warnings:?}"
    );

    // A client that pushes is told that it is not there, and sends it.
    assert_eq!(world.head(&path).await.status(), 404);
    world.push_cache("main", &layers).await;
    assert!(world.store.get(&blob).is_some_and(|bytes| bytes == large));
    assert_eq!(world.promised("main").await, Some(digests(&layers)));
    assert!(world.get(&path).await.bytes().await.expect("whole") == large);
}

#[tokio::test]
async fn a_small_spoiled_layer_is_not_found() {
    let first = World::new().await;
    first.push_cache("main", &LAYERS).await;
    let blob = Digest::of(LAYERS[0]);
    first.store.spoil(&blob, &b"the bAse"[..]);
    let world = first.again().await;
    let answer = world.get(&format!("/v2/app/blobs/{blob}")).await;
    let (status, code, message) = refusal(answer).await;
    assert_eq!((status, code.as_str()), (404, "BLOB_UNKNOWN"));
    assert!(message.contains("damaged"), "{message}");
}

#[tokio::test]
async fn a_layer_that_vanishes_after_it_was_promised_is_left_out_next_time() {
    let first = World::new().await;
    first.push_cache("main", &LAYERS).await;
    let world = first.again().await;
    assert_eq!(world.promised("main").await, Some(digests(&LAYERS)));
    let blob = Digest::of(LAYERS[2]);
    world.store.lose(&blob);
    let answer = world.get(&format!("/v2/app/blobs/{blob}")).await;
    assert_eq!(refusal(answer).await.1, "BLOB_UNKNOWN");
    assert_eq!(world.promised("main").await, Some(digests(&LAYERS[..2])));
    assert_eq!(world.gateway.summary().layers_lost, 1);
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_up_where_it_broke() {
    let large: Vec<u8> = (0..6_000_000_u32).map(|at| (at % 239) as u8).collect();
    let first = World::new().await;
    first.push_cache("main", &[&large]).await;
    let world = first.again().await;
    world.store.break_reads(3, 1_000_000);
    let answer = world
        .get(&format!("/v2/app/blobs/{}", Digest::of(&large)))
        .await;
    assert_eq!(header(&answer, "content-length"), "6000000");
    assert!(answer.bytes().await.expect("whole") == large);
    assert_eq!(
        world.gateway.summary().bytes_fetched,
        6_000_000,
        "no byte twice"
    );
}

#[tokio::test]
async fn ranges_of_layers_are_given() {
    let first = World::new().await;
    first.push_cache("main", &LAYERS).await;
    let world = first.again().await;
    let path = format!("/v2/app/blobs/{}", Digest::of(LAYERS[0]));
    let cases = [
        ("bytes=0-2", 206, "the", "bytes 0-2/8"),
        ("bytes=4-", 206, "base", "bytes 4-7/8"),
        ("bytes=-4", 206, "base", "bytes 4-7/8"),
        ("bytes=8-", 416, "", "bytes */8"),
        ("bytes=2-1", 200, "the base", ""),
    ];
    for (range, status, body, content_range) in cases {
        let answer = world.send("GET", &path, &[("range", range)], "").await;
        assert_eq!(answer.status(), status, "{range}");
        assert_eq!(header(&answer, "content-range"), content_range, "{range}");
        assert_eq!(answer.text().await.expect("a body"), body, "{range}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_makes_misses_with_warnings() {
    let first = World::new().await;
    first.push_cache("main", &LAYERS).await;
    let world = first.again().await;
    world.store.fail(Some("the store is on fire"));
    assert_eq!(world.head("/v2/app/manifests/main").await.status(), 404);
    let warnings = world.warnings();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("the store is on fire")),
        "{warnings:?}"
    );
    let path = format!("/v2/app/blobs/{}", Digest::of(LAYERS[0]));
    let (status, code, message) = refusal(world.get(&path).await).await;
    assert_eq!((status, code.as_str()), (503, "UNAVAILABLE"));
    assert!(message.contains("the store is on fire"), "{message}");
    world.store.fail(None);
    assert_eq!(world.promised("main").await, Some(digests(&LAYERS)));
}

#[tokio::test]
async fn several_stores_are_asked_in_turn() {
    let (one, two) = (World::new().await, World::new().await);
    one.push_cache("main", &LAYERS[..1]).await;
    two.push_cache("main", &LAYERS).await;
    two.push_cache("other", &LAYERS).await;
    let setup = Setup {
        from: vec![Arc::clone(&one.store), Arc::clone(&two.store)],
        ..Setup::default()
    };
    let world = World::with(MemoryStore::new(), setup).await;
    assert_eq!(
        world.promised("main").await,
        Some(digests(&LAYERS[..1])),
        "the first counts"
    );
    assert_eq!(world.promised("other").await, Some(digests(&LAYERS)));
    let path = format!("/v2/app/blobs/{}", Digest::of(LAYERS[2]));
    assert_eq!(
        world.get(&path).await.bytes().await.expect("a body"),
        LAYERS[2]
    );
    // The store that is pushed to does not have it, so that it has to be sent.
    assert_eq!(world.head(&path).await.status(), 404);
    let refused = world.put_cache("main", &LAYERS).await;
    assert_eq!(refusal(refused).await.1, "MANIFEST_BLOB_UNKNOWN");
    world.push_cache("main", &LAYERS).await;
    assert_eq!(world.promised("main").await, Some(digests(&LAYERS)));
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let world = World::new().await;
    for tag in ["main", "latest", "Feature_.2FX", "z"] {
        world.push_cache(tag, &LAYERS[..1]).await;
    }
    let list = async |query: &str| {
        let answer = world.get(&format!("/v2/app/tags/list{query}")).await;
        assert_eq!(answer.status(), 200);
        let list = json_of(answer).await;
        assert_eq!(list["name"], "app");
        let tags = list["tags"].as_array().expect("tags").iter();
        let tags: Vec<_> = tags
            .map(|tag| tag.as_str().expect("a tag").to_owned())
            .collect();
        tags.join(" ")
    };
    assert_eq!(list("").await, "Feature_.2FX latest main z");
    assert_eq!(list("?n=2").await, "Feature_.2FX latest");
    assert_eq!(list("?n=2&last=latest").await, "main z");
    assert_eq!(list("?n=0").await, "");
    assert!(world.store.manifest("app/Feature/X").is_some());
    assert!(
        world.store.manifest("app").is_some(),
        "`latest` is the repository itself"
    );
}

#[tokio::test]
async fn a_manifest_comes_back_as_it_was_written() {
    let world = World::new().await;
    let pushed = world.push_cache("main", &LAYERS).await;
    let answer = world.get("/v2/app/manifests/main").await;
    assert_eq!(digest_of(&answer), pushed);
    let by_digest = world.get(&format!("/v2/app/manifests/{pushed}")).await;
    assert_eq!(
        by_digest.bytes().await.expect("a body"),
        answer.bytes().await.expect("a body")
    );
}
