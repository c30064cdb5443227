//! Wrong input: what is said, and the exit code.

use crate::world::{World, buildkit, text};

#[test]
fn attributes_that_cannot_be_right_are_misuse() {
    let world = World::new();
    let cases = [
        (world.cache("nmae=app"), "attribute `nmae`: "),
        (world.cache("nmae=app"), "`name`"),
        (world.cache("account_url=http://"), "`account_url`"),
        ("type=nowhere".to_owned(), "nowhere.wasm"),
        ("type=../azblob".to_owned(), "type=../azblob"),
        ("name=app".to_owned(), "`type` is missing"),
        ("user/app:latest".to_owned(), "no `=`"),
        (String::new(), "no attributes"),
        (world.cache("name=app,mode=most"), "`mode=most`"),
        (world.cache("name=\"app"), "stray"),
        (
            world
                .cache("secret_access_key_file=nowhere")
                .replace(",secret_access_key=", ",x="),
            "nowhere",
        ),
    ];
    let cache = buildkit("local-max");
    for (attributes, part) in cases {
        world
            .run(&["push", "--to", &attributes, text(&cache)])
            .failed(2, &[part]);
        let dir = world.path("cache");
        world
            .run(&["pull", "--from", &attributes, text(&dir)])
            .failed(2, &[part]);
        assert!(!dir.exists());
    }
}

#[test]
fn ignore_error_does_not_cover_a_command_line_that_is_none() {
    let world = World::new();
    let cache = buildkit("local-max");
    let to = world.cache("name=app,ignore-error=true,mode=most");
    world
        .run(&["push", "--to", &to, text(&cache)])
        .failed(2, &["mode"]);
    world.run(&["push", text(&cache)]).failed(2, &["--to"]);
    world.run(&["push", "--to", &to]).failed(2, &["DIR"]);
    world
        .run(&["push", "--idle-timeout", "0", "--to", &to, text(&cache)])
        .failed(2, &["idle-timeout"]);
}

#[test]
fn a_failure_is_json_too() {
    let world = World::new();
    let cache = buildkit("local-max");
    let ran = world.run(&["push", "--json", "--to", "type=nowhere", text(&cache)]);
    let json = ran.failed(2, &["nowhere.wasm"]).json();
    assert!(
        json["error"]
            .as_str()
            .expect("a message")
            .contains("nowhere.wasm")
    );
    assert_eq!(json["exit_code"], 2);
}

#[test]
fn a_file_of_certificates_that_holds_none_is_named() {
    let world = World::new();
    let file = world.path("ca.pem");
    std::fs::write(&file, "none").expect("a file");
    let to = world.cache("name=app");
    let cache = buildkit("local-max");
    let ran = world.run(&["push", "--ca-file", text(&file), "--to", &to, text(&cache)]);
    ran.failed(2, &[text(&file), "certificate"]);
}
