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

#[test]
fn misuse_is_json_too_where_the_line_cannot_be_understood() {
    let world = World::new();
    for (line, part) in [
        (&["push", "--json"][..], "--to"),
        (&["--json", "puhs"], "puhs"),
        (&["push", "--json", "--no-such", "x"], "--no-such"),
        (
            &[
                "push",
                "--json",
                "--to",
                "type=x",
                "--idle-timeout",
                "0",
                "d",
            ],
            "idle-timeout",
        ),
        (
            &["check", "--json", "--to", "type=x", "--from", "type=x"],
            "--from",
        ),
        (&["--json"], "Usage"),
    ] {
        let ran = world.run(line);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let json = ran.json();
        let error = json["error"].as_str().expect("a message");
        assert!(error.contains(part) && !error.contains('\u{1b}'), "{error}");
        assert_eq!(
            (&json["exit_code"], &json["warnings"]),
            (&2.into(), &serde_json::json!([]))
        );
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
    // Behind `--` it is a directory.
    let ran = world.run(&["push", "--to", "type=x", "--", "--json", "more"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    let help = world.run(&["push", "--json", "--help"]).succeeded();
    assert!(help.stdout.contains("--name <NAME>"), "{help:?}");
}

#[test]
fn a_misspelt_attribute_is_told_its_nearest_neighbour_the_hosts_own_included() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    for (given, nearest) in [
        ("nmae=app", Some("`name`")),
        ("ignroe-error=true", Some("`ignore-error`")),
        ("ignore_error=true", Some("`ignore-error`")),
        ("modes=max", Some("`mode`")),
        ("bucket=x", None),
    ] {
        let ran = world.run(&["push", "--to", &world.cache(given), text(&cache)]);
        let ran = ran.failed(2, &["no such attribute"]);
        match nearest {
            Some(nearest) => assert!(ran.stderr.contains(&format!("did you mean {nearest}?"))),
            None => assert!(!ran.stderr.contains("did you mean"), "{ran:?}"),
        }
    }
}

#[test]
fn what_is_said_in_several_lines_stays_in_several() {
    let world = World::new();
    let to = "type=azblob,account_url=https://acct.blob.core.windows.net";
    let mut command = world.command(&["push", "--to", to, text(&buildkit("local-min-fresh"))]);
    // Only what needs a variable that is not there.
    command.env("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential");
    let ran = world.run_command(command).failed(1, &["Passed over:\n"]);
    let lines = ran
        .stderr
        .lines()
        .skip_while(|line| !line.starts_with("error: "));
    let further: Vec<&str> = lines.skip(1).collect();
    assert!(further.len() > 1, "{ran:?}");
    assert!(further.iter().all(|line| line.starts_with("  ")), "{ran:?}");
}
