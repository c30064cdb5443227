//! Pushing.

use blob_store::{Action, Fault, OperationKind};
use build_cache_host::Digest;

use crate::world::{CONTAINER, World, blob, buildkit, key_of, layers, tags, text};

#[test]
fn a_cache_that_was_pushed_comes_back_as_buildkit_wrote_it() {
    let world = World::new();
    let (cache, back) = (buildkit("local-max"), world.path("back"));
    let pushed = world.push(&cache, "name=app");
    assert_eq!(pushed["layers_stored"], 10);
    assert_eq!(pushed["names"], serde_json::json!(["app"]));

    let pulled = world.pull(&back, "name=app");
    assert_eq!(pulled["layers_fetched"], 10);
    let (_, manifest) = &tags(&cache)[0];
    let expected = ["latest", "app"].map(|tag| (tag.to_owned(), manifest.clone()));
    assert_eq!(tags(&back), expected);
    for file in layers(&cache).into_iter().chain([blob(&cache, manifest)]) {
        let other = back.join(file.strip_prefix(&cache).expect("a part"));
        assert!(std::fs::read(&file).expect("a blob") == std::fs::read(other).expect("a blob"));
    }
}

#[test]
fn what_the_store_has_is_not_sent_again() {
    let world = World::new();
    let cache = buildkit("local-max");
    world.push(&cache, "name=app");
    world.store.reset_stats();
    let again = world.push(&cache, "name=app");
    assert_eq!(
        (&again["layers_stored"], &again["layers_reused"]),
        (&0.into(), &10.into())
    );
    assert_eq!(again["bytes_stored"], 0);
    assert_eq!(again["requests"], world.store.stats().requests());
}

#[test]
fn a_cache_goes_under_every_name() {
    let world = World::new();
    let pushed = world.push(&buildkit("local-max"), "name=main;branch");
    assert_eq!(pushed["names"].as_array().expect("names").len(), 2);
    let keys = world.store.keys(CONTAINER).expect("keys");
    assert!(keys.contains(&"manifests/main".into()) && keys.contains(&"manifests/branch".into()));
}

#[test]
fn mode_min_sends_what_the_final_result_needs() {
    let world = World::new();
    let pushed = world.push(&buildkit("local-max"), "name=app,mode=min");
    let min = layers(&buildkit("local-min-fresh")).len();
    assert_eq!(pushed["layers_stored"], min);
    let max = world.push(&buildkit("local-max"), "name=app,mode=max");
    assert_eq!(
        (&max["layers_reused"], &max["layers"]),
        (&min.into(), &10.into())
    );
}

#[test]
fn a_tag_picks_the_cache() {
    let world = World::new();
    let cache = buildkit("local-max-tag-v1");
    let to = world.cache("name=app");
    world.run(&["push", "--to", &to, text(&cache)]).succeeded();
    world
        .run(&["push", "--tag", "v1", "--to", &to, text(&cache)])
        .succeeded();
    let ran = world.run(&["push", "--tag", "v2", "--to", &to, text(&cache)]);
    ran.failed(1, &["`v2`", "`v1`"]);
}

#[test]
fn the_key_may_come_from_a_file_or_a_variable() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    let file = world.path("key");
    std::fs::write(&file, format!("{}\n", world.store.key())).expect("a file");
    let to = world.cache_without_key(&format!("secret_access_key_file={}", text(&file)));
    world.run(&["push", "--to", &to, text(&cache)]).succeeded();

    let to = world.cache_without_key("name=app");
    let mut command = world.command(&["push", "--to", &to, text(&cache)]);
    command.env("AZURE_STORAGE_KEY", world.store.key());
    world.run_command(command).succeeded();

    world
        .run(&["push", "--to", &to, text(&cache)])
        .failed(1, &["key"]);
}

#[test]
fn a_wrong_key_is_told_as_such() {
    let world = World::new();
    let wrong = "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgd3Jvbmc=";
    let to = world.cache_without_key(&format!("secret_access_key={wrong}"));
    let ran = world.run(&["push", "-v", "--to", &to, text(&buildkit("local-max"))]);
    assert!(!ran.stderr.contains(wrong));
    ran.failed(1, &["not signed in", "403"]);
}

#[test]
fn a_layer_of_other_bytes_is_never_stored() {
    let world = World::new();
    let cache = world.copy_of("local-max");
    let layer = layers(&cache).swap_remove(0);
    let mut bytes = std::fs::read(&layer).expect("a layer");
    bytes[0] ^= 1;
    std::fs::write(&layer, &bytes).expect("written");

    let to = world.cache("name=app");
    let ran = world.run(&["push", "-v", "--to", &to, text(&cache)]);
    ran.failed(1, &[text(&layer), "digest", "build again"]);
    let keys = world.store.keys(CONTAINER).expect("keys");
    assert!(!keys.contains(&key_of(&layer)), "{keys:?}");
    assert!(!keys.contains(&"manifests/app".into()), "{keys:?}");
}

#[test]
fn a_damaged_layer_in_blocks_is_never_stored() {
    let world = World::new();
    let cache = world.cache_of_one_layer(5 << 20);
    let layer = layers(&cache).swap_remove(0);
    let mut bytes = std::fs::read(&layer).expect("a layer");
    bytes[1 << 20] ^= 1;
    std::fs::write(&layer, &bytes).expect("written");

    let to = world.cache("name=app,block_size=1MiB");
    let ran = world.run(&["push", "--to", &to, text(&cache)]);
    ran.failed(1, &[text(&layer), "digest"]);
    assert!(world.store.stats().of(OperationKind::PutBlock) > 0);
    assert_eq!(world.store.keys(CONTAINER).expect("keys"), [""; 0]);

    bytes[1 << 20] ^= 1;
    std::fs::write(&layer, &bytes).expect("written");
    world.run(&["push", "--to", &to, text(&cache)]).succeeded();
    let stored = world
        .store
        .blob(CONTAINER, &key_of(&layer))
        .expect("the store");
    assert!(stored.expect("a layer") == bytes);
}

#[test]
fn a_layer_that_is_not_there_is_named_before_anything_is_sent() {
    let world = World::new();
    let cache = world.copy_of("local-max");
    let layer = layers(&cache).swap_remove(3);
    std::fs::remove_file(&layer).expect("removed");
    let ran = world.run(&["push", "--to", &world.cache("name=app"), text(&cache)]);
    ran.failed(1, &[text(&layer), "missing"]);
    assert_eq!(world.store.stats().requests(), 0);
}

#[test]
fn a_directory_that_is_no_cache_is_told_as_such() {
    let world = World::new();
    let to = world.cache("name=app");
    std::fs::write(world.path("notes.txt"), "something else").expect("a file");
    world
        .run(&["push", "--to", &to, text(world.folder.path())])
        .failed(1, &["not a BuildKit cache"]);
    let nowhere = world.path("nowhere");
    world
        .run(&["push", "--to", &to, text(&nowhere)])
        .failed(1, &[text(&nowhere)]);
}

#[test]
fn ignore_error_makes_every_failure_a_warning() {
    let world = World::new();
    let cache = buildkit("local-max");
    let with = |to: String, dir: &std::path::Path| {
        let to = format!("{to},ignore-error=true");
        let ran = world
            .run(&["push", "--json", "--to", &to, text(dir)])
            .succeeded();
        assert!(
            ran.stderr.contains("warning: the cache was not pushed"),
            "{ran:?}"
        );
        let json = ran.json();
        assert_eq!(json["warnings"].as_array().expect("warnings").len(), 1);
        json["ignored_error"]
            .as_str()
            .expect("a message")
            .to_owned()
    };
    assert!(with("type=nowhere".into(), &cache).contains("nowhere.wasm"));
    assert!(with(world.cache("nmae=app"), &cache).contains("nmae"));
    assert!(with(world.cache("name=app"), &world.path("nowhere")).contains("nowhere"));
    assert!(with(world.cache_without_key("name=app"), &cache).contains("key"));
    world
        .store
        .faults()
        .push(Fault::new(Action::refuse_with(503, "ServerBusy")));
    assert!(with(world.cache("name=app"), &cache).contains("503"));
}

#[test]
fn a_store_that_answers_with_a_web_page_is_a_failure() {
    let world = World::new();
    world
        .store
        .faults()
        .push(Fault::new(Action::ProxyPage { status: 200 }));
    let ran = world.run(&[
        "push",
        "--to",
        &world.cache("name=app"),
        text(&buildkit("local-max")),
    ]);
    ran.failed(1, &["account_url", "a proxy in between"]);
}

#[test]
fn every_event_is_shown_to_those_who_ask() {
    let world = World::new();
    let busy = Fault::new(Action::refuse_with(503, "ServerBusy"));
    world
        .store
        .faults()
        .push(busy.on(OperationKind::PutBlob).times(1));
    let to = world
        .cache("name=app")
        .replace("max_retries=0", "max_retries=3");
    let ran = world
        .run(&[
            "push",
            "--verbose",
            "--to",
            &to,
            text(&buildkit("local-max")),
        ])
        .succeeded();
    for part in [
        "begins",
        "sent sha256:",
        "attempt 1 of PUT",
        "503",
        "stored the cache as `app`",
    ] {
        assert!(ran.stderr.contains(part), "`{part}` is not said: {ran:?}");
    }
}

#[test]
fn a_quiet_push_says_nothing() {
    let world = World::new();
    let to = world.cache("name=app");
    let ran = world
        .run(&["push", "--quiet", "--to", &to, text(&buildkit("local-max"))])
        .succeeded();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn what_buildkit_will_not_read_from_a_directory_is_said_on_both_ways() {
    let world = World::new();
    // The form for large caches is an image's, which has a layer at least.
    let record = |number: u32| format!(r#"{{"digest":"{}"}}"#, Digest::of(&number.to_le_bytes()));
    let records: Vec<_> = (0..15_000).map(record).collect();
    let large = world.cache_of("large", &[], format!("[{}]", records.join(",")));
    let pushed = world.push(&large, "name=app");
    let pulled = world.pull(&world.path("back"), "name=app");
    for way in [pushed, pulled] {
        let warnings = way["warnings"].as_array().expect("warnings");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let warning = warnings[0].as_str().expect("text");
        assert!(
            warning.contains("config has") && warning.contains("1048576"),
            "{warning}"
        );
    }
    let small = world.push(&buildkit("local-max"), "name=app");
    assert_eq!(small["warnings"], serde_json::json!([]));
}
