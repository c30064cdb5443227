//! How it ends.

use std::time::Duration;

use build_cache_host::Digest;

use crate::world::World;

const LAYER: &[u8] = b"a layer";

#[tokio::test]
async fn what_is_on_its_way_is_finished() {
    let world = World::new().await;
    world.store.set_delay(Duration::from_millis(300));
    let blob = world.upload(LAYER).await;
    let unfinished = world.gateway.finish(Duration::from_secs(10)).await;
    assert!(unfinished.is_empty());
    assert!(world.store.get(&blob).is_some());
    let again = world.http.get(format!("{}/v2/", world.url)).send().await;
    again.expect_err("nobody listens");
}

#[tokio::test]
async fn requests_that_run_are_answered() {
    let world = World::new().await;
    world.upload(LAYER).await;
    world.gateway.flush().await;
    world.store.set_delay(Duration::from_millis(300));
    let (answer, unfinished) = tokio::join!(world.put_cache("main", &[LAYER]), async {
        // The config's upload and the manifest's request are under way by then.
        tokio::time::sleep(Duration::from_millis(150)).await;
        world.gateway.finish(Duration::from_secs(10)).await
    });
    assert_eq!(answer.status(), 201);
    assert!(unfinished.is_empty());
    assert!(world.store.manifest("app/main").is_some());
}

#[tokio::test]
async fn what_is_not_stored_within_the_grace_is_named() {
    let world = World::new().await;
    world.store.set_delay(Duration::from_secs(60));
    let blob = world.upload(LAYER).await;
    let unfinished = world.gateway.finish(Duration::from_millis(200)).await;
    assert_eq!(unfinished.layers, [blob]);
    assert!(world.store.get(&Digest::of(LAYER)).is_none());
}
