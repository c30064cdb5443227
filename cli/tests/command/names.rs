//! Names that come from outside, such as from a branch: whatever they hold, they
//! are one name, and change nothing else.

use serde_json::json;

use crate::world::{CONTAINER, World, buildkit, tags, text};

/// What git allows in a branch's name, or nearly, and somebody might use.
const ODD: &[&str] = &[
    "fix,typo",
    "fix,container=other",
    "fix,name=main",
    "fix,type=x",
    "a=b",
    "\"quoted\"",
    "$(touch gone)",
    "`touch gone`",
    "fix##1",
    "##vso[x]",
    "a\u{200b}b\u{202e}c",
    "with space",
    "feature/x",
    "-x",
    "\u{e9}\u{301}\u{1f9f1}",
];

#[test]
fn a_name_that_is_given_by_itself_is_one_name_whatever_it_holds() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    for name in ODD {
        let (to, dir) = (world.cache("prefix="), world.path("back"));
        let flag = format!("--name={name}");
        let pushed = world
            .run(&["push", "--json", "--to", &to, &flag, text(&cache)])
            .succeeded();
        assert_eq!(pushed.json()["names"], json!([name]));
        let keys = world.store.keys(CONTAINER).expect("keys");
        assert!(
            keys.contains(&format!("manifests/{name}")),
            "{name}: {keys:?}"
        );

        let pulled = world
            .run(&["pull", "--json", "--from", &to, &flag, text(&dir)])
            .succeeded();
        assert_eq!(pulled.json()["caches"][0]["name"], *name);
        let found: Vec<String> = tags(&dir).into_iter().map(|(tag, _)| tag).collect();
        assert_eq!(found, ["latest", name]);
        // And what was pulled can be pushed by its tag.
        let tag = format!("--tag={name}");
        world
            .run(&["push", "--to", &to, &tag, "--name=again", text(&dir)])
            .succeeded();
        std::fs::remove_dir_all(&dir).expect("removed");
        for shown in [pushed, pulled] {
            let text = shown.stdout + &shown.stderr;
            assert!(!text.contains("##vso["), "{text}");
            assert!(!text.contains(['\u{200b}', '\u{202e}']), "{text}");
        }
    }
    assert_eq!(
        world
            .store
            .keys(CONTAINER)
            .expect("keys")
            .iter()
            .filter(|key| *key == "manifests/main")
            .count(),
        0
    );
}

#[test]
fn several_names_are_several_flags() {
    let world = World::new();
    let (to, dir) = (world.cache("prefix=p"), world.path("back"));
    let cache = buildkit("local-min-fresh");
    let names = ["--name", "fix,1", "--name", "main"];
    let pushed = world.run(&[&["push", "--json", "--to", &to, text(&cache)][..], &names].concat());
    assert_eq!(pushed.succeeded().json()["names"], json!(["fix,1", "main"]));
    world
        .run(
            &[
                &["pull", "--from", &to, text(&dir), "--name", "gone"][..],
                &names,
            ]
            .concat(),
        )
        .succeeded();
    let found: Vec<String> = tags(&dir).into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(found, ["latest", "fix,1", "main"]);
}

#[test]
fn a_name_that_would_become_another_is_refused_and_touches_none() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    world.push(&cache, "name=main");
    let requests = world.store.stats().requests();
    for name in ["x;main", "", "x/../main", "main/", "./main", "a\nb"] {
        let to = world.cache("prefix=");
        let args = ["push", "--to", &to, "--name", name, text(&cache)];
        world.run(&args).failed(2, &["--name"]);
        let to = format!("{to},ignore-error=true");
        let args = ["push", "--json", "--to", &to, "--name", name, text(&cache)];
        let ran = world.run(&args).succeeded();
        assert!(
            ran.stderr.contains("warning: the cache was not pushed"),
            "{ran:?}"
        );
        assert!(ran.json()["ignored_error"].is_string());
        let dir = world.path("cache");
        let args = ["pull", "--from", &to, "--name", name, text(&dir)];
        world.run(&args).succeeded();
        assert!(!dir.exists());
    }
    assert_eq!(world.store.stats().requests(), requests);
}

#[test]
fn a_name_in_the_attributes_that_breaks_them_is_covered_by_ignore_error() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    for name in ["fix,typo", "fix\"x", "fix,name=main", "fix,=x", "fix,a b=c"] {
        let more = format!("secret_access_key={},name={name}", world.store.key());
        let to = world.cache_without_key(&more);
        let ran = world.run(&["push", "--to", &to, text(&cache)]);
        ran.failed(2, &["`--name NAME`"]);
        let to = world.cache_without_key(&format!("ignore-error=true,{more}"));
        let ran = world.run(&["push", "--to", &to, text(&cache)]).succeeded();
        assert!(
            ran.stderr.contains("warning: the cache was not pushed"),
            "{ran:?}"
        );
    }
    assert_eq!(world.store.stats().requests(), 0);
}

#[test]
fn names_are_given_in_one_place() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    let to = world.cache("name=app");
    let ran = world.run(&["push", "--to", &to, "--name", "app", text(&cache)]);
    ran.failed(2, &["--name", "in one place"]);
    let ran = world.run(&["check", "--to", &to, "--name", "app"]);
    ran.failed(2, &["--name", "in one place"]);
}
