//! Looking after a store: what it holds, names that go, and layers that are
//! marked as used.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blob_store::{Action, Fault, OperationKind};
use serde_json::{Value, json};

use crate::world::{CONTAINER, Ran, World, buildkit, key_of, layers, text};

impl World {
    fn ls(&self) -> Value {
        let from = self.cache("prefix=");
        let ran = self.run(&["ls", "--json", "--from", &from]);
        ran.succeeded().json()
    }

    fn names(&self, command: &str, names: &[&str], more: &str) -> Ran {
        let to = self.cache(more);
        let args = [command, "--json", "--to", &to, "--"];
        self.run(&[&args[..], names].concat())
    }
}

/// The sizes of a cache's layers, by their keys.
fn sizes(dir: &Path) -> BTreeMap<String, u64> {
    let layers = layers(dir).into_iter();
    layers
        .map(|layer| (key_of(&layer), layer.metadata().expect("a layer").len()))
        .collect()
}

/// The entry of a name.
fn entry<'a>(listed: &'a Value, name: &str) -> &'a Value {
    let mut entries = listed["names"].as_array().expect("names").iter();
    let entry = entries.find(|entry| entry["name"] == name);
    entry.unwrap_or_else(|| panic!("no `{name}` in {listed}"))
}

/// The versions of all layers, as anybody may see them.
fn etags(world: &World) -> HashMap<String, String> {
    world.store.make_public(CONTAINER).expect("public");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let keys = world.store.keys(CONTAINER).expect("keys").into_iter();
    let layers = keys.filter(|key| key.starts_with("blobs/"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build();
    let http = http.expect("a client");
    layers
        .map(|key| {
            let url = format!("{}/{CONTAINER}/{key}", world.store.url());
            let answer = runtime.block_on(http.head(url).send()).expect("an answer");
            let etag = answer.headers().get("etag").expect("an ETag");
            (key, etag.to_str().expect("text").to_owned())
        })
        .collect()
}

#[test]
fn two_caches_are_listed_with_what_each_has_alone_and_what_they_share() {
    let world = World::new();
    let (max, min) = (buildkit("local-max"), buildkit("local-min-fresh"));
    world.push(&max, "name=older");
    // The store's times are in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    world.push(&min, "name=younger");
    let (max, min) = (sizes(&max), sizes(&min));
    let sum = |of: &BTreeMap<String, u64>, is: &dyn Fn(&String) -> bool| -> u64 {
        of.iter()
            .filter(|(key, _)| is(key))
            .map(|(_, size)| size)
            .sum()
    };

    let listed = world.ls();
    let names: Vec<_> = listed["names"].as_array().expect("names").iter().collect();
    assert_eq!(names.len(), 2, "{listed}");
    assert_eq!(
        (&names[0]["name"], &names[1]["name"]),
        (&json!("younger"), &json!("older"))
    );
    for (entry, own, other) in [(names[0], &min, &max), (names[1], &max, &min)] {
        assert_eq!(entry["state"], "whole", "{listed}");
        assert_eq!(entry["layers"], own.len(), "{listed}");
        assert_eq!(entry["bytes"], sum(own, &|_| true), "{listed}");
        assert_eq!(
            entry["own_bytes"],
            sum(own, &|key| !other.contains_key(key)),
            "{listed}"
        );
        assert_eq!(
            entry["shared_bytes"],
            sum(own, &|key| other.contains_key(key)),
            "{listed}"
        );
        assert_eq!(
            (&entry["layers_lost"], &entry["error"]),
            (&json!(0), &Value::Null)
        );
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time");
        let age = now
            .as_secs()
            .abs_diff(entry["modified"].as_u64().expect("a time"));
        assert!(age < 300, "{listed}");
    }
    assert!(names[1]["own_bytes"].as_u64() > Some(0), "{listed}");
    assert!(names[1]["shared_bytes"].as_u64() > Some(0), "{listed}");
    let all: BTreeMap<_, _> = max.into_iter().chain(min).collect();
    let total = json!({"layers": all.len(), "bytes": sum(&all, &|_| true)});
    assert_eq!(listed["total"], total, "{listed}");

    let ran = world
        .run(&["ls", "--from", &world.cache("name=other")])
        .succeeded();
    let lines: Vec<_> = ran.stdout.lines().collect();
    for (line, begins) in lines
        .iter()
        .zip(["NAME", "younger ", "older ", "", "2 names: "])
    {
        assert!(line.starts_with(begins), "{ran:?}");
    }
    assert_eq!((lines.len(), ran.stderr.as_str()), (5, ""), "{ran:?}");
}

#[test]
fn what_is_lost_or_damaged_is_said_and_costs_no_other_name() {
    let world = World::new();
    let cache = buildkit("local-max");
    world.push(&cache, "name=app");
    world.push(&buildkit("local-min-fresh"), "name=min");
    let put = world.store.put_blob(CONTAINER, "manifests/bad", b"<html>");
    put.expect("stored");
    let mine = sizes(&cache);
    let others = sizes(&buildkit("local-min-fresh"));
    let lost = mine.keys().find(|key| !others.contains_key(*key));
    let lost = lost.expect("a layer of its own");
    assert!(world.store.delete_blob(CONTAINER, lost).expect("the store"));

    let listed = world.ls();
    let app = entry(&listed, "app");
    assert_eq!(
        (&app["state"], &app["layers_lost"]),
        (&json!("incomplete"), &json!(1))
    );
    let left = mine.values().sum::<u64>() - mine[lost];
    assert_eq!(
        (&app["layers"], &app["bytes"]),
        (&json!(mine.len()), &json!(left))
    );
    assert_eq!(entry(&listed, "min")["state"], "whole");
    let bad = entry(&listed, "bad");
    assert_eq!(
        (&bad["state"], &bad["layers"]),
        (&json!("unreadable"), &Value::Null)
    );
    assert!(
        bad["error"].as_str().expect("a reason").contains("damaged"),
        "{bad}"
    );

    let ran = world
        .run(&["ls", "--from", &world.cache("prefix=")])
        .succeeded();
    for part in [
        "1 layer lost",
        "whole",
        "unreadable: ",
        "1 name that cannot be read",
    ] {
        assert!(ran.stdout.contains(part), "`{part}` is not said: {ran:?}");
    }
}

#[test]
fn an_empty_store_is_said_to_be_empty() {
    let world = World::new();
    for _ in ["no container", "an empty one"] {
        let ran = world
            .run(&["ls", "--from", &world.cache("prefix=")])
            .succeeded();
        assert_eq!(ran.stdout, "The store has no caches.\n");
        let total = json!({"layers": 0, "bytes": 0});
        let expected = json!({"type": "azblob", "names": [], "total": total, "warnings": []});
        assert_eq!(world.ls(), expected);
        world
            .store
            .create_container(CONTAINER)
            .expect("a container");
    }
}

#[test]
fn odd_names_are_removed_as_they_are_and_nothing_else_goes() {
    const ODD: [&str; 6] = [
        "fix,typo",
        "-x",
        "with space",
        "a\u{200b}b\u{202e}c",
        "feature/x",
        "##vso[x]",
    ];
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    let to = world.cache("prefix=");
    let mut push: Vec<String> = ["push", "--to", &to].map(str::to_owned).to_vec();
    push.extend(ODD.iter().map(|name| format!("--name={name}")));
    push.extend(["--name=main", text(&cache)].map(str::to_owned));
    world.run(&push).succeeded();
    let before = world.store.keys(CONTAINER).expect("keys");
    assert_eq!(world.ls()["names"].as_array().map(Vec::len), Some(7));
    let shown = world.run(&["ls", "--from", &to]).succeeded().stdout;
    assert!(
        !shown.contains(['\u{200b}', '\u{202e}']) && !shown.contains("##vso["),
        "{shown}"
    );

    let removed = world.names("rm", &ODD, "prefix=").succeeded().json();
    let expected = json!({
        "type": "azblob", "removed": ODD, "absent": [], "changed": [], "failed": [], "warnings": [],
    });
    assert_eq!(removed, expected);
    let left = world.store.keys(CONTAINER).expect("keys");
    let kept = |key: &&String| !key.starts_with("manifests/") || *key == "manifests/main";
    let kept: Vec<_> = before.iter().filter(kept).cloned().collect();
    assert_eq!(left, kept);

    let ran = world.run(&["rm", "main", "--to", &to]).succeeded();
    for part in ["removed main: 1 name", "layers are still in the store"] {
        assert!(ran.stdout.contains(part), "`{part}` is not said: {ran:?}");
    }
}

#[test]
fn a_name_that_is_not_there_is_reported_and_the_others_are_removed() {
    let world = World::new();
    world.push(&buildkit("local-min-fresh"), "name=app");
    let ran = world.names("rm", &["gone", "app", "app"], "prefix=");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr
            .contains("warning: the store has no cache `gone`"),
        "{ran:?}"
    );
    let json = ran.json();
    assert_eq!(
        (&json["removed"], &json["absent"]),
        (&json!(["app"]), &json!(["gone"]))
    );
    assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1));

    for command in ["rm", "touch"] {
        let ran = world
            .names(command, &["gone"], "ignore-error=true")
            .succeeded();
        assert_eq!(ran.json()["absent"], json!(["gone"]), "{ran:?}");
        assert!(
            ran.stderr
                .contains("warning: the store has no cache `gone`"),
            "{ran:?}"
        );
    }
}

#[test]
fn a_name_that_changed_or_may_not_be_removed_stays_and_is_said() {
    let world = World::new();
    world.push(&buildkit("local-min-fresh"), "name=raced;kept;app");
    for (name, status, code) in [
        ("raced", 412, "ConditionNotMet"),
        ("kept", 403, "AuthorizationPermissionMismatch"),
    ] {
        let fault = Fault::new(Action::refuse_with(status, code));
        let fault = fault.on(OperationKind::DeleteBlob);
        world
            .store
            .faults()
            .push(fault.key(format!("manifests/{name}")));
    }
    let ran = world.names("rm", &["raced", "kept", "app"], "prefix=");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let json = ran.json();
    assert_eq!(
        (&json["removed"], &json["changed"]),
        (&json!(["app"]), &json!(["raced"]))
    );
    assert_eq!(json["failed"][0]["name"], "kept");
    for part in [
        "`raced` was not removed, because another client",
        "`kept` was not removed: not allowed",
    ] {
        assert!(ran.stderr.contains(part), "`{part}` is not said: {ran:?}");
    }
}

#[test]
fn touching_makes_the_layers_of_a_name_young_and_no_others() {
    let world = World::new();
    let (cache, other) = (buildkit("local-min-fresh"), buildkit("local-max"));
    world.push(&other, "name=other");
    world.push(&cache, "name=app");
    let (mine, before) = (sizes(&cache), etags(&world));
    let touched = world.names("touch", &["app"], "prefix=").succeeded().json();
    let expected = json!({
        "type": "azblob", "names": ["app"], "layers_touched": mine.len(), "layers_gone": [],
        "absent": [], "unreadable": [], "warnings": [],
    });
    assert_eq!(touched, expected);
    let after = etags(&world);
    assert!(before.len() > mine.len());
    for (key, etag) in &before {
        assert_eq!(after[key] != *etag, mine.contains_key(key), "{key}");
    }
    assert_eq!(entry(&world.ls(), "app")["state"], "whole");
}

#[test]
fn what_cannot_be_touched_is_said() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    world.push(&cache, "name=app");
    let lost = layers(&cache).swap_remove(0);
    let deleted = world.store.delete_blob(CONTAINER, &key_of(&lost));
    assert!(deleted.expect("the store"));
    let digest = key_of(&lost).trim_start_matches("blobs/").to_owned();

    let ran = world.names("touch", &["app"], "prefix=").succeeded();
    let json = ran.json();
    assert_eq!(json["layers_gone"], json!([digest]), "{json}");
    assert_eq!(json["layers_touched"], sizes(&cache).len() - 1);
    assert!(ran.stderr.contains(&digest), "{ran:?}");

    let put = world.store.put_blob(CONTAINER, "manifests/bad", b"<html>");
    put.expect("stored");
    let ran = world.names("touch", &["bad", "gone"], "prefix=");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let json = ran.json();
    assert_eq!(json["unreadable"][0]["name"], "bad", "{json}");
    assert_eq!(
        (&json["absent"], &json["layers_touched"]),
        (&json!(["gone"]), &json!(0))
    );
}

#[test]
fn a_plugin_that_cannot_do_this_is_a_clear_error() {
    let world = World::new();
    let http = "type=http,url=http://127.0.0.1:1/cache/";
    world
        .run(&["ls", "--from", http])
        .failed(1, &["not supported", "no way to list"]);
    world
        .run(&["rm", "app", "--to", http])
        .failed(1, &["not supported", "no way to list"]);
    let ran = world.run(&["touch", "app", "--to", "type=old"]);
    ran.failed(1, &["not supported", "version 0.1 of the contract"]);
    for command in ["rm", "touch"] {
        world.run(&[command, "--to", http]).failed(2, &["NAME"]);
    }
}

#[test]
fn ignore_error_makes_every_failure_a_warning() {
    let world = World::new();
    let cases: [(&[&str], &str); 3] = [
        (&["ls", "--from"], "the store was not listed"),
        (&["rm", "app", "--to"], "the names were not removed"),
        (&["touch", "app", "--to"], "the layers were not touched"),
    ];
    for (args, consequence) in cases {
        let (nowhere, no_key) = ("type=nowhere", world.cache_without_key("prefix="));
        for (attributes, code, part) in [(nowhere, 2, "nowhere.wasm"), (&*no_key, 1, "key")] {
            let ran = world.run(&[args, &[attributes]].concat());
            ran.failed(code, &[part]);
            let attributes = format!("{attributes},ignore-error=true");
            let ran = world.run(&[args, &[&attributes, "--json"]].concat());
            let ran = ran.succeeded();
            let part = format!("warning: {consequence}");
            assert!(ran.stderr.contains(&part), "`{part}` is not said: {ran:?}");
            assert!(ran.json()["ignored_error"].is_string(), "{ran:?}");
        }
    }
}

#[test]
fn a_secret_in_a_name_is_not_shown() {
    let world = World::new();
    world.push(&buildkit("local-min-fresh"), "name=app");
    let name = format!("leak-{}", world.store.key());
    let stored = world.store.blob(CONTAINER, "manifests/app");
    let stored = stored.expect("the store").expect("a manifest");
    let key = format!("manifests/{name}");
    world
        .store
        .put_blob(CONTAINER, &key, &stored)
        .expect("stored");
    // That it is not shown is checked wherever the program runs.
    let ran = world
        .run(&["ls", "--from", &world.cache("prefix=")])
        .succeeded();
    assert!(ran.stdout.contains("leak-"), "{ran:?}");
    assert_eq!(world.ls()["names"].as_array().map(Vec::len), Some(2));
    for command in ["touch", "rm"] {
        let ran = world.run(&[command, "--to", &world.cache("prefix="), &name]);
        assert!(ran.succeeded().stdout.contains("leak-"));
    }
    assert_eq!(world.ls()["names"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_removal_whose_answer_is_lost_is_a_removal() {
    let world = World::new();
    world.push(&buildkit("local-min-fresh"), "name=app");
    let lost = Fault::new(Action::LoseAnswer).on(OperationKind::DeleteBlob);
    world.store.faults().push(lost.times(1));
    let to = world
        .cache("prefix=")
        .replace("max_retries=0", "max_retries=3");
    let ran = world.run(&["rm", "--json", "app", "--to", &to]).succeeded();
    assert_eq!(ran.json()["removed"], json!(["app"]), "{ran:?}");
    assert_eq!(world.store.stats().of(OperationKind::DeleteBlob), 2);
}

#[test]
fn a_name_that_the_store_refuses_is_listed_with_the_reason() {
    let world = World::new();
    world.push(&buildkit("local-min-fresh"), "name=app;busy");
    let busy = Fault::new(Action::refuse_with(503, "ServerBusy"));
    let busy = busy.on(OperationKind::GetBlob).key("manifests/busy");
    world.store.faults().push(busy);
    let listed = world.ls();
    assert_eq!(entry(&listed, "app")["state"], "whole");
    let busy = entry(&listed, "busy");
    assert_eq!(busy["state"], "unreadable", "{listed}");
    assert!(
        busy["error"].as_str().expect("a reason").contains("503"),
        "{listed}"
    );
}
