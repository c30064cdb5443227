//! What is taken in: durable before the manifest is answered, and refused in
//! words where it cannot be.

use std::sync::Arc;
use std::time::Duration;

use build_cache_gateway::Options;
use build_cache_gateway::memory::MemoryStore;
use build_cache_host::Digest;
use serde_json::json;

use crate::world::{MANIFEST_TYPE, Setup, World, cache, refusal};

const LAYERS: [&[u8]; 3] = [b"the base", b"the middle", b"the top"];

fn options(change: impl FnOnce(&mut Options)) -> Setup {
    let mut options = Options::default();
    change(&mut options);
    Setup {
        options,
        ..Setup::default()
    }
}

#[tokio::test]
async fn a_manifest_is_answered_when_all_its_layers_are_durable() {
    let world = World::new().await;
    world.store.set_delay(Duration::from_millis(300));
    for layer in LAYERS {
        world.upload(layer).await;
    }
    assert_eq!(world.store.layers(), 0, "they are on their way");
    let answer = world.put_cache("main", &LAYERS).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(world.store.layers(), 3);
    assert!(world.store.manifest("app/main").is_some());
}

#[tokio::test]
async fn a_layer_that_the_store_lost_meanwhile_is_named() {
    let world = World::new().await;
    world.push_cache("main", &LAYERS).await;
    let lost = Digest::of(LAYERS[1]);
    world.store.lose(&lost);
    let path = format!("/v2/app/blobs/{lost}");
    assert_eq!(world.head(&path).await.status(), 200, "as memory has it");
    let (status, code, message) = refusal(world.put_cache("other", &LAYERS).await).await;
    assert_eq!((status, code.as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
    assert!(message.contains(&lost.to_string()), "{message}");
    assert!(world.store.manifest("app/other").is_none());
    // The next export sends it.
    assert_eq!(world.head(&path).await.status(), 404);
    world.upload(LAYERS[1]).await;
    assert_eq!(world.put_cache("other", &LAYERS).await.status(), 201);
}

#[tokio::test]
async fn a_store_that_is_down_refuses_with_its_own_words() {
    let world = World::new().await;
    world.upload(cache(&LAYERS[..1]).0.as_bytes()).await;
    world.store.fail(Some("the store is on fire"));
    world.upload(LAYERS[0]).await;
    let (status, code, message) = refusal(world.put_manifest("main", &LAYERS[..1]).await).await;
    assert_eq!((status, code.as_str()), (503, "UNAVAILABLE"));
    assert!(message.contains("the store is on fire"), "{message}");
    // Whoever begins now need not send what cannot be stored.
    let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
    let (status, _, message) = refusal(begun).await;
    assert_eq!(status, 503);
    assert!(message.contains("the store is on fire"), "{message}");
    // What was sent is tried again with the next manifest.
    world.store.fail(None);
    assert_eq!(world.put_manifest("main", &LAYERS[..1]).await.status(), 201);
    assert_eq!(world.store.layers(), 1);
}

#[tokio::test]
async fn a_failure_that_is_to_be_ignored_is_a_warning() {
    let setup = options(|options| options.ignore_errors = true);
    let world = World::with(MemoryStore::new(), setup).await;
    world.store.fail(Some("the store is on fire"));
    for _ in 0..2 {
        world.upload(LAYERS[0]).await;
        world.gateway.flush().await;
    }
    assert_eq!(world.put_cache("main", &LAYERS[..1]).await.status(), 201);
    let warnings = world.warnings();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("ignore-error")),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn what_is_no_cache_is_refused_with_what_is() {
    let world = World::new().await;
    let config = json!({ "architecture": "amd64", "os": "linux" }).to_string();
    let config_digest = world.upload(config.as_bytes()).await;
    let image = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest,
            "size": config.len(),
        },
        "layers": [],
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    });
    for (manifest, said) in [
        (image.to_string(), "build caches alone"),
        (index.to_string(), "build caches alone"),
        ("{}".to_owned(), "build caches alone"),
        ("nonsense".to_owned(), "not a manifest"),
        ("[]".to_owned(), "not a manifest"),
        (String::new(), "not a manifest"),
    ] {
        let headers = [("content-type", MANIFEST_TYPE)];
        let answer = world
            .send("PUT", "/v2/app/manifests/main", &headers, manifest.clone())
            .await;
        let (status, code, message) = refusal(answer).await;
        assert_eq!(
            (status, code.as_str()),
            (400, "MANIFEST_INVALID"),
            "{manifest}"
        );
        assert!(message.contains(said), "{message}");
    }
    let (_, manifest) = cache(&LAYERS);
    let answer = world
        .send("PUT", "/v2/app/manifests/main", &[], manifest.clone())
        .await;
    assert_eq!(
        refusal(answer).await.1,
        "MANIFEST_BLOB_UNKNOWN",
        "its config was not sent"
    );
    let other = format!("/v2/app/manifests/{}", Digest::of(b"other"));
    let answer = world.send("PUT", &other, &[], manifest).await;
    assert_eq!(refusal(answer).await.1, "DIGEST_INVALID");
    let answer = world
        .send("DELETE", "/v2/app/manifests/main", &[], "")
        .await;
    assert_eq!(refusal(answer).await, (405, "UNSUPPORTED".to_owned(), "this registry does not do that: it stores and gives build caches, and `build-cache` removes them".to_owned()));
    assert!(world.store.manifest("app/main").is_none());
}

#[tokio::test]
async fn a_cache_with_wrong_records_is_refused() {
    let world = World::new().await;
    let (config, manifest) = cache(&LAYERS[..1]);
    let wrong = config.replace("\"layer\":0", "\"layer\":7");
    assert_ne!(config, wrong);
    let manifest = manifest.replace(
        &Digest::of(config.as_bytes()).to_string(),
        &Digest::of(wrong.as_bytes()).to_string(),
    );
    world.upload(wrong.as_bytes()).await;
    world.upload(LAYERS[0]).await;
    let answer = world
        .send("PUT", "/v2/app/manifests/main", &[], manifest)
        .await;
    let (_, code, message) = refusal(answer).await;
    assert_eq!(code, "MANIFEST_INVALID");
    assert!(message.contains("record 0"), "{message}");
}

#[tokio::test]
async fn nothing_is_pushed_where_there_is_only_something_to_read() {
    let first = World::new().await;
    first.push_cache("main", &LAYERS).await;
    let setup = Setup {
        read_only: true,
        ..Setup::default()
    };
    let world = World::with(Arc::clone(&first.store), setup).await;
    assert_eq!(world.promised("main").await.expect("a cache").len(), 3);
    let there = format!("/v2/app/blobs/{}", Digest::of(LAYERS[0]));
    assert_eq!(world.head(&there).await.status(), 200);
    for (method, path) in [
        ("POST", "/v2/app/blobs/uploads/"),
        ("PUT", "/v2/app/manifests/main"),
        ("PATCH", "/v2/app/blobs/uploads/x"),
        ("PUT", "/v2/app/blobs/uploads/x"),
    ] {
        let (status, code, message) = refusal(world.send(method, path, &[], "").await).await;
        assert_eq!((status, code.as_str()), (403, "DENIED"), "{method} {path}");
        assert!(message.contains("--to"), "{message}");
    }
}

#[tokio::test]
async fn of_two_that_race_for_a_name_one_wins_whole() {
    let world = World::new().await;
    let layers: Vec<Vec<u8>> = (0..8_u8).map(|n| vec![n; 1000]).collect();
    for layer in &layers {
        world.upload(layer).await;
    }
    let pushes = layers.iter().map(|layer| async {
        let layers: [&[u8]; 1] = [layer];
        assert_eq!(world.put_cache("main", &layers).await.status(), 201);
    });
    futures::future::join_all(pushes).await;
    let promised = world.promised("main").await.expect("a cache");
    let stored = world.store.manifest("app/main").expect("a cache");
    assert_eq!(promised, [stored.layers[0].blob.to_string()]);
}

#[tokio::test]
async fn write_behind_answers_early_and_tells_at_the_end() {
    let setup = options(|options| options.write_behind = true);
    let world = World::with(MemoryStore::new(), setup).await;
    world.store.set_delay(Duration::from_millis(300));
    world.push_cache("main", &LAYERS).await;
    assert!(world.store.manifest("app/main").is_none());
    assert_eq!(world.promised("main").await.expect("from memory").len(), 3);
    world.gateway.flush().await;
    assert!(world.store.manifest("app/main").is_some());
    assert!(
        world
            .gateway
            .finish(Duration::from_secs(5))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn what_write_behind_could_not_store_is_named() {
    let setup = options(|options| options.write_behind = true);
    let world = World::with(MemoryStore::new(), setup).await;
    world.upload(cache(&LAYERS[..1]).0.as_bytes()).await;
    world.store.fail(Some("the store is on fire"));
    world.upload(LAYERS[0]).await;
    assert_eq!(world.put_manifest("main", &LAYERS[..1]).await.status(), 201);
    let unfinished = world.gateway.finish(Duration::from_secs(2)).await;
    assert_eq!(unfinished.names, ["app/main"]);
    assert!(!unfinished.layers.is_empty());
}
