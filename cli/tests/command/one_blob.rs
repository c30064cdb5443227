//! One bad blob costs one step: what a push and a pull say and how they end,
//! where one layer or one name cannot be used, here or in the store.

use std::fs;
use std::path::Path;

use blob_store::{Action, Fault, OperationKind};
use build_cache_host::Digest;
use serde_json::{Value, json};

use crate::world::{CONTAINER, World, blob, buildkit, key_of, layers, tags, text};

/// A layer that others lie on, of ten layers in all.
fn some_layer(dir: &Path) -> std::path::PathBuf {
    layers(dir).swap_remove(2)
}

fn warnings(report: &Value) -> String {
    report["warnings"].to_string()
}

/// Changes the manifest and the config of the cache in a directory, and puts
/// digests and sizes right again.
fn change(dir: &Path, change: impl FnOnce(&mut Value, &mut Value)) {
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&fs::read(path).expect("a blob")).expect("JSON")
    };
    let index_file = dir.join("index.json");
    let mut index = read(&index_file);
    let at = |descriptor: &Value| blob(dir, descriptor["digest"].as_str().expect("a digest"));
    let mut manifest = read(&at(&index["manifests"][0]));
    let mut config = read(&at(&manifest["config"]));
    change(&mut manifest, &mut config);
    let put = |descriptor: &mut Value, document: &Value| {
        let json = document.to_string();
        let digest = Digest::of(json.as_bytes()).to_string();
        fs::write(blob(dir, &digest), &json).expect("written");
        descriptor["digest"] = json!(digest);
        descriptor["size"] = json!(json.len());
    };
    put(&mut manifest["config"], &config);
    put(&mut index["manifests"][0], &manifest);
    fs::write(index_file, index.to_string()).expect("written");
}

#[test]
fn an_archived_layer_costs_a_pull_its_step_and_a_push_stores_it_again() {
    let world = World::new();
    let (cache, dir) = (buildkit("local-max"), world.path("cache"));
    world.push(&cache, "name=app");
    let layer = some_layer(&cache);
    let moved = world.store.set_tier(CONTAINER, &key_of(&layer), "Archive");
    moved.expect("archived");

    let pulled = world.pull(&dir, "name=app");
    assert!(pulled["layers_lost"].as_u64() >= Some(1), "{pulled}");
    let name = layer.file_name().expect("a name").to_str().expect("text");
    for part in ["archive tier", name, "lost layers of `app`"] {
        assert!(warnings(&pulled).contains(part), "{pulled}");
    }
    assert!(!layers(&dir).is_empty());

    let pushed = world.push(&cache, "name=app");
    assert_eq!(
        (&pushed["layers_stored"], &pushed["layers_reused"]),
        (&1.into(), &9.into())
    );
    assert_eq!(
        world.pull(&world.path("again"), "name=app")["layers_fetched"],
        10
    );
}

#[test]
fn a_layer_that_the_store_can_neither_use_nor_replace_is_left_out_of_a_push() {
    let world = World::new();
    let (cache, dir) = (buildkit("local-max"), world.path("cache"));
    let layer = some_layer(&cache);
    world
        .store
        .create_container(CONTAINER)
        .expect("a container");
    let other = world.store.put_blob(CONTAINER, &key_of(&layer), b"other");
    other.expect("stored");
    let immutable = Fault::new(Action::refuse_with(409, "BlobImmutableDueToPolicy"));
    let immutable = immutable.on(OperationKind::PutBlob).key(key_of(&layer));
    world.store.faults().push(immutable);

    let pushed = world.push(&cache, "name=app");
    let left_out = pushed["layers_left_out"].as_u64().expect("a count");
    assert!((1..10).contains(&left_out), "{pushed}");
    assert_eq!(pushed["names"], json!(["app"]));
    assert_eq!(pushed["layers_stored"].as_u64(), Some(10 - left_out));
    assert_eq!(pushed["requests"], world.store.stats().requests());
    for part in ["BlobImmutableDueToPolicy", "left out"] {
        assert!(warnings(&pushed).contains(part), "{pushed}");
    }
    // What was promised is there.
    let pulled = world.pull(&dir, "name=app");
    assert_eq!(pulled["layers_fetched"].as_u64(), Some(10 - left_out));
    assert_eq!(
        (&pulled["layers_lost"], &pulled["warnings"]),
        (&0.into(), &json!([]))
    );
}

#[test]
fn a_name_that_is_a_directory_is_said_to_be_one_and_costs_no_other() {
    let world = World::new();
    let cache = buildkit("local-max");
    world.push(&cache, "name=feature/x");
    let made = world.store.make_directory(CONTAINER, "manifests/feature");
    made.expect("a directory");
    let ran = world.run(&[
        "push",
        "--to",
        &world.cache("name=feature;main"),
        text(&cache),
    ]);
    ran.failed(
        1,
        &["`feature`", "is a directory", "another name", "`main`"],
    );
    let pulled = world.pull(&world.path("cache"), "name=feature;main");
    assert_eq!(pulled["caches"][0]["name"], "main");
}

#[test]
fn an_archived_name_costs_no_other_name() {
    let world = World::new();
    let (cache, dir) = (buildkit("local-max"), world.path("cache"));
    world.push(&cache, "name=old;new");
    let moved = world.store.set_tier(CONTAINER, "manifests/old", "Archive");
    moved.expect("archived");
    let pulled = world.pull(&dir, "name=old;new");
    assert_eq!(pulled["caches"][0]["name"], "new");
    assert!(warnings(&pulled).contains("`old`"), "{pulled}");
    let ran = world.run(&["pull", "--from", &world.cache("name=old"), text(&dir)]);
    ran.failed(1, &["`old`", "BlobArchived"]);
    world.push(&cache, "name=old");
    world.pull(&dir, "name=old");
}

#[test]
fn a_layer_in_the_directory_that_nobody_can_use_is_left_out() {
    type Spoil = fn(&mut Value, &mut Value);
    let cases: [(Spoil, &str); 7] = [
        (
            |manifest, _| {
                let annotations = manifest["layers"][4]["annotations"].as_object_mut();
                annotations
                    .expect("annotations")
                    .remove("containerd.io/uncompressed");
            },
            "no `containerd.io/uncompressed`",
        ),
        (
            |manifest, _| manifest["layers"][4]["annotations"] = Value::Null,
            "no `containerd.io/uncompressed`",
        ),
        (
            |manifest, _| manifest["layers"][4]["size"] = json!(0),
            "no bytes",
        ),
        (
            |manifest, _| {
                manifest["layers"][4]["mediaType"] =
                    json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
            },
            "+encrypted",
        ),
        (
            |manifest, config| {
                let digest = json!(format!("sha512:{}", "0".repeat(128)));
                config["layers"][4]["blob"] = digest.clone();
                manifest["layers"][4]["digest"] = digest;
            },
            "sha512:",
        ),
        (
            |manifest, _| drop(manifest["layers"].as_array_mut().expect("layers").remove(4)),
            "not in the manifest",
        ),
        (
            |manifest, config| {
                let digest = json!(format!("sha256:{}", "0".repeat(64)));
                config["layers"][4]["blob"] = digest.clone();
                manifest["layers"][4]["digest"] = digest;
                manifest["layers"][4]["mediaType"] =
                    json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
            },
            "may not be distributed",
        ),
    ];
    for (spoil, reason) in cases {
        let world = World::new();
        let cache = world.copy_of("local-max");
        change(&cache, spoil);
        let pushed = world.push(&cache, "name=app");
        assert_eq!(
            pushed["layers_left_out"], 3,
            "with the two that lie on it: {pushed}"
        );
        assert_eq!(pushed["layers_stored"], 7, "{reason}");
        assert!(warnings(&pushed).contains(reason), "{reason}: {pushed}");
        let pulled = world.pull(&world.path("back"), "name=app");
        assert_eq!(pulled["layers_fetched"], 7);
    }
}

#[test]
fn a_cache_of_which_nothing_can_be_used_is_an_error() {
    let world = World::new();
    let cache = world.copy_of("local-max");
    change(&cache, |manifest, _| manifest["layers"] = Value::Null);
    let ran = world.run(&["push", "--to", &world.cache("name=app"), text(&cache)]);
    ran.failed(1, &["none of its layers can be used"]);
    assert_eq!(world.store.stats().requests(), 0);
}

#[test]
fn null_is_taken_wherever_go_takes_it() {
    let world = World::new();
    let cache = world.copy_of("local-max");
    change(&cache, |manifest, config| {
        manifest["annotations"] = Value::Null;
        manifest["config"]["annotations"] = Value::Null;
        manifest["manifests"] = Value::Null;
        for record in config["records"].as_array_mut().expect("records") {
            record["chains"] = Value::Null;
            if record.get("inputs").is_none() {
                record["inputs"] = Value::Null;
            }
        }
    });
    let index = fs::read_to_string(cache.join("index.json")).expect("an index");
    let mut index: Value = serde_json::from_str(&index).expect("JSON");
    index["manifests"][0]["annotations"] = Value::Null;
    index["manifests"][0]["platform"] = Value::Null;
    index["annotations"] = Value::Null;
    fs::write(cache.join("index.json"), index.to_string()).expect("written");
    let pushed = world.push(&cache, "name=app");
    assert_eq!(
        (&pushed["layers_stored"], &pushed["layers_left_out"]),
        (&10.into(), &0.into())
    );
}

#[test]
fn an_index_that_is_cut_off_is_replaced_by_a_pull_and_refused_by_a_push() {
    let world = World::new();
    world.push(&buildkit("local-max"), "name=app");
    let whole = fs::read(buildkit("local-max").join("index.json")).expect("an index");
    for cut in [whole.len() - 20, 1, 0] {
        let dir = world.path(&format!("cut to {cut}"));
        fs::create_dir(&dir).expect("a folder");
        fs::write(dir.join("index.json"), &whole[..cut]).expect("written");
        let ran = world.run(&["push", "--to", &world.cache("name=app"), text(&dir)]);
        ran.failed(1, &["index.json", "damaged"]);

        let pulled = world.pull(&dir, "name=app");
        assert_eq!(pulled["layers_fetched"], 10);
        // Without bytes it is an index without entries, of which nothing is lost.
        assert_eq!(
            warnings(&pulled).contains("index.json"),
            cut > 0,
            "{pulled}"
        );
        assert_eq!(tags(&dir).len(), 2);
    }
    #[cfg(unix)]
    {
        let dir = world.path("linked");
        fs::create_dir(&dir).expect("a folder");
        let elsewhere = world.path("elsewhere");
        fs::write(&elsewhere, "of somebody else").expect("written");
        std::os::unix::fs::symlink(&elsewhere, dir.join("index.json")).expect("a link");
        let pulled = world.pull(&dir, "name=app");
        assert!(warnings(&pulled).contains("not a regular file"), "{pulled}");
        assert_eq!(fs::read(&elsewhere).expect("a file"), b"of somebody else");
    }
}

#[test]
fn what_an_empty_result_leaves_is_nothing_to_push() {
    let world = World::new();
    world.push(&buildkit("local-max"), "name=app");
    type Make = fn(&Path);
    let makes: [(&str, Make); 5] = [
        ("nothing", |_| {}),
        ("ingest", |dir| {
            fs::create_dir(dir.join("ingest")).expect("a folder")
        }),
        ("layout", |dir| {
            fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
                .expect("written");
            fs::create_dir_all(dir.join("blobs/sha256")).expect("a folder");
        }),
        ("no entries", |dir| {
            fs::write(
                dir.join("index.json"),
                r#"{"schemaVersion":2,"manifests":[]}"#,
            )
            .expect("written");
        }),
        ("null entries", |dir| {
            fs::write(dir.join("index.json"), r#"{"manifests":null}"#).expect("written");
        }),
    ];
    for (name, make) in makes {
        let dir = world.path(name);
        fs::create_dir(&dir).expect("a folder");
        make(&dir);
        world.store.reset_stats();
        let to = world.cache("name=app");
        let ran = world.run(&["push", "--to", &to, text(&dir)]).succeeded();
        assert!(ran.stdout.contains("nothing to push"), "{name}: {ran:?}");
        assert_eq!(world.push(&dir, "name=app")["names"], json!([]), "{name}");
        assert_eq!(world.store.stats().requests(), 0, "{name}");
    }
    // Blobs without an index are no empty result, and what is not there is none.
    let dir = world.path("lost");
    fs::create_dir_all(dir.join("blobs/sha256")).expect("a folder");
    fs::write(dir.join("blobs/sha256").join("0".repeat(64)), "x").expect("written");
    for dir in [dir, world.path("nowhere")] {
        let ran = world.run(&["push", "--to", &world.cache("name=app"), text(&dir)]);
        ran.failed(1, &[text(&dir)]);
    }
}

#[test]
fn what_is_refused_of_everything_is_one_error() {
    let world = World::new();
    world.push(&buildkit("local-max"), "name=app");
    let refused = Action::refuse_with(403, "AuthorizationPermissionMismatch");
    world.store.faults().push(Fault::new(refused).key("blobs/"));
    let from = world.cache("name=app");
    let ran = world.run(&["pull", "--from", &from, text(&world.path("cache"))]);
    assert_eq!(
        ran.stderr
            .matches("AuthorizationPermissionMismatch")
            .count(),
        1,
        "{ran:?}"
    );
    ran.failed(1, &["not allowed"]);
}
