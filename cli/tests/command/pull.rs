//! Pulling.

use blob_store::{Action, Fault, OperationKind};

use crate::world::{CONTAINER, World, blob, buildkit, key_of, layers, tags, text};

#[test]
fn a_name_that_does_not_exist_is_an_empty_cache_and_is_said() {
    let world = World::new();
    let dir = world.path("cache");
    let ran = world
        .run(&["pull", "--from", &world.cache("name=app"), text(&dir)])
        .succeeded();
    assert!(ran.stderr.contains("no cache `app`"), "{ran:?}");
    assert!(dir.is_dir());
    assert_eq!(
        world.pull(&dir, "name=app")["caches"],
        serde_json::json!([])
    );
}

#[test]
fn a_name_that_does_not_exist_leaves_the_directory_as_it_was() {
    let world = World::new();
    let dir = world.path("cache");
    world.push(&buildkit("local-max"), "name=main");
    world.pull(&dir, "name=main");
    let before = tags(&dir);
    world.pull(&dir, "name=branch");
    assert_eq!(tags(&dir), before);
}

#[test]
fn the_first_name_gets_the_tag_and_each_its_own() {
    let world = World::new();
    let dir = world.path("cache");
    world.push(&buildkit("local-max"), "name=main");
    world.push(&buildkit("local-min-fresh"), "name=branch");
    world.pull(&dir, "name=gone;branch;main");
    let tags_of = |dir| {
        tags(dir)
            .into_iter()
            .map(|(tag, _)| tag)
            .collect::<Vec<_>>()
    };
    assert_eq!(tags_of(&dir), ["latest", "branch", "main"]);
    let all = tags(&dir);
    assert!(all[0].1 == all[1].1 && all[1].1 != all[2].1);

    let dir = world.path("tagged");
    let from = world.cache("name=main");
    world
        .run(&["pull", "--tag", "v1", "--from", &from, text(&dir)])
        .succeeded();
    assert_eq!(tags_of(&dir), ["v1", "main"]);
}

#[test]
fn layers_that_are_there_and_whole_are_not_fetched_again() {
    let world = World::new();
    let dir = world.path("cache");
    world.push(&buildkit("local-max"), "name=app");
    world.pull(&dir, "name=app");

    world.store.reset_stats();
    let again = world.pull(&dir, "name=app");
    assert_eq!(
        (&again["layers_fetched"], &again["layers_reused"]),
        (&0.into(), &10.into())
    );
    assert_eq!(
        world.store.stats().of(OperationKind::GetBlob),
        1,
        "the manifest alone"
    );

    let [damaged, short, ..] = &layers(&dir)[..] else {
        panic!("layers")
    };
    let mut bytes = std::fs::read(damaged).expect("a layer");
    bytes[1] ^= 1;
    std::fs::write(damaged, &bytes).expect("written");
    std::fs::write(short, b"short").expect("written");
    assert_eq!(world.pull(&dir, "name=app")["layers_fetched"], 2);
    assert_eq!(world.pull(&dir, "name=app")["layers_fetched"], 0);
}

#[test]
fn a_lost_layer_costs_its_records_and_not_the_pull() {
    let world = World::new();
    let dir = world.path("cache");
    world.push(&buildkit("local-max"), "name=app");
    let lost = layers(&buildkit("local-max")).swap_remove(2);
    assert!(
        world
            .store
            .delete_blob(CONTAINER, &key_of(&lost))
            .expect("the store")
    );

    let pulled = world.pull(&dir, "name=app");
    let warnings = pulled["warnings"].as_array().expect("warnings");
    assert!(
        warnings
            .iter()
            .any(|w| w.as_str().expect("text").contains("lost layers of `app`"))
    );
    let left = layers(&dir);
    assert!(!left.is_empty() && left.len() < 10);
    assert!(
        left.iter()
            .all(|layer| layer.exists() && layer.file_name() != lost.file_name())
    );
    // What is left is a cache like any other.
    world.push(&dir, "name=other");
}

#[test]
fn a_layer_that_the_store_spoiled_gets_no_name() {
    let world = World::new();
    let dir = world.path("cache");
    world.push(&buildkit("local-max"), "name=app");
    let spoiled = layers(&buildkit("local-max")).swap_remove(0);
    let mut bytes = std::fs::read(&spoiled).expect("a layer");
    bytes[0] ^= 1;
    world
        .store
        .put_blob(CONTAINER, &key_of(&spoiled), &bytes)
        .expect("stored");

    let pulled = world.pull(&dir, "name=app");
    assert!(
        pulled["warnings"].to_string().contains("damaged"),
        "{pulled}"
    );
    let name = spoiled.file_name().expect("a name");
    assert!(!dir.join("blobs/sha256").join(name).exists());
    assert!(
        layers(&dir)
            .iter()
            .all(|layer| layer.exists() && layer.file_name() != Some(name))
    );
    assert_eq!(
        std::fs::read_dir(dir.join("ingest"))
            .expect("a folder")
            .count(),
        0
    );
}

#[test]
fn a_layer_that_was_damaged_on_the_way_is_fetched_once_more() {
    let world = World::new();
    let dir = world.path("cache");
    world.push(&buildkit("local-max"), "name=app");
    let layer = layers(&buildkit("local-max")).swap_remove(0);
    let corrupt = Fault::new(Action::Corrupt { at: 5 }).on(OperationKind::GetBlob);
    let corrupt = corrupt.key(key_of(&layer)).times(1);
    world.store.faults().push(corrupt);

    let pulled = world.pull(&dir, "name=app");
    assert_eq!(
        (&pulled["layers_fetched"], &pulled["layers_lost"]),
        (&10.into(), &0.into())
    );
    let warnings = pulled["warnings"].to_string();
    let name = layer.file_name().expect("a name").to_str().expect("text");
    assert!(
        warnings.contains(name) && warnings.contains("once more"),
        "{warnings}"
    );
    assert!(layers(&dir).iter().all(|layer| layer.exists()));
}

#[test]
fn strict_makes_what_the_store_lost_or_spoiled_an_error_and_leaves_the_tags() {
    let world = World::new();
    let dir = world.path("cache");
    world.push(&buildkit("local-max"), "name=app");
    let layer = layers(&buildkit("local-max")).swap_remove(0);
    let name = layer.file_name().expect("a name").to_str().expect("text");
    let from = world.cache("name=app");
    let pull = || world.run(&["pull", "--strict", "--from", &from, text(&dir)]);
    std::fs::create_dir(&dir).expect("a folder");
    std::fs::write(dir.join("index.json"), r#"{"manifests":[]}"#).expect("an index");
    let before = std::fs::read(dir.join("index.json")).expect("an index");

    let mut bytes = std::fs::read(&layer).expect("a layer");
    bytes[0] ^= 1;
    let put = world.store.put_blob(CONTAINER, &key_of(&layer), &bytes);
    put.expect("stored");
    pull().failed(1, &["--strict", "damaged", name, "once more"]);
    let deleted = world.store.delete_blob(CONTAINER, &key_of(&layer));
    assert!(deleted.expect("the store"));
    pull().failed(1, &["--strict", "no longer has the layer", name]);
    assert_eq!(
        std::fs::read(dir.join("index.json")).expect("an index"),
        before
    );
}

#[test]
fn a_manifest_that_is_none_is_an_error_that_names_it() {
    let world = World::new();
    world.push(&buildkit("local-max"), "name=good");
    world
        .store
        .put_blob(CONTAINER, "manifests/bad", b"<html>")
        .expect("stored");
    let dir = world.path("cache");
    let ran = world.run(&["pull", "--from", &world.cache("name=bad"), text(&dir)]);
    ran.failed(1, &["`bad`", "damaged"]);

    let pulled = world.pull(&dir, "name=bad;good");
    assert!(pulled["warnings"].to_string().contains("`bad`"), "{pulled}");
    assert_eq!(tags(&dir)[0].0, "latest");
}

#[test]
fn a_broken_connection_is_taken_up_again() {
    let world = World::new();
    let dir = world.path("cache");
    world.push(&buildkit("local-max"), "name=app");
    let cut = Fault::new(Action::CutResponse { after: 1000 })
        .on(OperationKind::GetBlob)
        .key("blobs/");
    world.store.faults().push(cut.times(2));
    assert_eq!(world.pull(&dir, "name=app")["layers_fetched"], 10);
}

#[test]
fn a_pull_that_fails_is_a_failure_unless_errors_are_ignored() {
    let world = World::new();
    let dir = world.path("cache");
    world
        .store
        .faults()
        .push(Fault::new(Action::refuse_with(500, "InternalError")));
    let from = world.cache("name=app");
    world
        .run(&["pull", "--from", &from, text(&dir)])
        .failed(1, &["500"]);
    assert!(!dir.exists());
    let from = format!("{from},ignore-error=true");
    let ran = world
        .run(&["pull", "--from", &from, text(&dir)])
        .succeeded();
    assert!(
        ran.stderr.contains("warning: the cache was not pulled"),
        "{ran:?}"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let world = World::new();
    world.push(&buildkit("local-max"), "name=app");
    let file = world.path("file");
    std::fs::write(&file, b"").expect("a file");
    let ran = world.run(&[
        "pull",
        "--from",
        &world.cache("name=app"),
        text(&file.join("cache")),
    ]);
    ran.failed(1, &[text(&file)]);
}

#[test]
fn a_cache_that_is_too_large_for_buildkit_is_pulled_in_a_form_that_it_reads() {
    let world = World::new();
    let large = world.cache_of_many_records(9000);
    world.push(&large, "name=app");
    let stored = |name: &str| {
        let key = format!("manifests/{name}");
        let blob = world.store.blob(CONTAINER, &key).expect("the store");
        blob.expect("a manifest").to_vec()
    };
    assert!(stored("app").len() > 1 << 20);

    let dir = world.path("cache");
    let pulled = world.pull(&dir, "name=app");
    assert_eq!(pulled["warnings"], serde_json::json!([]));
    let (_, digest) = &tags(&dir)[0];
    let manifest = std::fs::read(blob(&dir, digest)).expect("a manifest");
    assert!(manifest.len() < 1 << 20, "BuildKit reads it");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.image.config.v1+json"
    );
    // Pushed from there, it is the same to the byte.
    world.push(&dir, "name=again");
    assert_eq!(stored("again"), stored("app"));
}

#[test]
fn the_cache_in_an_image_is_pushed_like_any_other() {
    let world = World::new();
    let pushed = world.push(&buildkit("image-inline"), "name=app");
    assert_eq!(pushed["layers"], 4, "{pushed}");
    let dir = world.path("cache");
    let pulled = world.pull(&dir, "name=app");
    assert_eq!(pulled["layers_fetched"], 4, "{pulled}");
    assert_eq!(layers(&dir).len(), 4);
}
