//! Plugins: how they are found, and what is said of them.

use std::path::PathBuf;

use crate::world::{World, buildkit, components, text};

pub fn azblob() -> PathBuf {
    components().join("azblob.wasm")
}

#[test]
fn a_plugin_is_described() {
    let world = World::new();
    let ran = world
        .run(&["plugin", "inspect", text(&azblob())])
        .succeeded();
    for part in [
        "azblob 0.",
        "sha256:",
        "account_url",
        "[default: ",
        "[secret; or secret_access_key_file=PATH]",
        "[file]",
        "login.microsoftonline.com",
        "what $AZURE_FEDERATED_TOKEN_FILE names",
        "of `az`",
        "wasi:http/",
    ] {
        assert!(
            ran.stdout.contains(part),
            "`{part}` is not said: {}",
            ran.stdout
        );
    }
    let json = world
        .run(&["plugin", "inspect", "--json", text(&azblob())])
        .succeeded()
        .json();
    assert_eq!(json["type"], "azblob");
    assert_eq!(
        json["size"],
        std::fs::metadata(azblob()).expect("a file").len()
    );
    for list in [
        "attributes",
        "environment",
        "authorities",
        "files",
        "imports",
        "exports",
    ] {
        assert!(json[list].is_array(), "{list}");
    }
}

#[test]
fn a_plugin_that_asks_for_less_is_described_with_less() {
    let world = World::new();
    let http = components().join("http.wasm");
    let ran = world.run(&["plugin", "inspect", text(&http)]).succeeded();
    for part in ["[required]", "May ask for these tokens\n  none"] {
        assert!(ran.stdout.contains(part), "`{part}` is not said: {ran:?}");
    }
}

#[test]
fn the_version_of_the_contract_is_said_and_what_an_earlier_one_lacks() {
    let world = World::new();
    let inspect = |file: &std::path::Path, options: &[&str]| {
        let args = [&["plugin", "inspect", text(file)], options].concat();
        world.run(&args).succeeded()
    };
    let new = inspect(&azblob(), &[]);
    assert!(new.stdout.contains("\ncontract 0.2\n"), "{}", new.stdout);
    let file = components().join("old.wasm");
    let old = inspect(&file, &[]);
    let lacks = "contract 0.1: it runs without find, store, touch, configured names, load, publish";
    assert!(old.stdout.contains(lacks), "{}", old.stdout);
    let json = inspect(&file, &["--json"]).json();
    assert_eq!(json["contract"], "0.1");
    assert_eq!(json["lacks"][5], "publish");
}

#[test]
fn what_is_no_plugin_is_told_as_such() {
    let world = World::new();
    let file = world.path("notes.wasm");
    std::fs::write(&file, "notes").expect("a file");
    world
        .run(&["plugin", "inspect", text(&file)])
        .failed(1, &[text(&file), "not a WebAssembly file"]);
    let nowhere = world.path("nowhere.wasm");
    world
        .run(&["plugin", "inspect", text(&nowhere)])
        .failed(1, &[text(&nowhere)]);
}

#[test]
fn a_plugin_is_found_by_its_type_in_the_folder_given_first() {
    let world = World::new();
    let (given, data) = (world.path("given"), world.path("data/build-cache/plugins"));
    for folder in [&given, &data] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    let folder = ["--plugin-dir", text(&given)];
    let list = |args: &[&str]| {
        let mut command = world.command(&[&["plugin", "list", "--json"], args].concat());
        command.env_remove("BUILD_CACHE_PLUGIN_DIR");
        world.run_command(command).succeeded().json()
    };
    assert_eq!(list(&folder)["plugins"], serde_json::json!([]));

    std::fs::copy(azblob(), data.join("azblob.wasm")).expect("a copy");
    std::fs::write(given.join("other.wasm"), "other").expect("a file");
    let listed = list(&folder);
    let plugins = listed["plugins"].as_array().expect("plugins");
    assert!(
        plugins[0]["file"]
            .as_str()
            .expect("a file")
            .ends_with("other.wasm")
    );
    assert!(plugins[0]["error"].is_string());
    assert_eq!(plugins[1]["type"], "azblob");

    let (to, cache) = (world.cache("name=app"), buildkit("local-min-fresh"));
    let push = |args: &[&str]| {
        let mut command = world.command(&[&["push", "--to", &to, text(&cache)], args].concat());
        command.env_remove("BUILD_CACHE_PLUGIN_DIR");
        world.run_command(command)
    };
    push(&folder).succeeded();
    std::fs::write(given.join("azblob.wasm"), "other").expect("a file");
    push(&folder).failed(1, &[text(&given)]);
    push(&[]).succeeded();
    push(&["--plugin", text(&azblob())]).succeeded();
}

#[test]
fn a_plugin_of_another_type_is_not_taken() {
    let world = World::new();
    let cache = buildkit("local-max");
    let ran = world.run(&[
        "push",
        "--plugin",
        text(&azblob()),
        "--to",
        "type=other",
        text(&cache),
    ]);
    ran.failed(2, &["`type=azblob`", "`type=other`"]);
}
