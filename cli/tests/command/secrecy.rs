//! Lines that were quoted wrongly, or have other separators: no part of a secret
//! in them is shown, in any form of the output.

use crate::world::{World, buildkit, text};

const KEY: &str = "U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU";
const PASSWORD: &str = "hunter22";

#[track_caller]
fn assert_nothing_shown(world: &World, args: &[&str]) {
    // The message on standard error, with every event, and the object.
    let ran = world.run(&[args, &["--json", "--verbose"]].concat());
    assert_ne!(ran.code, Some(0), "{args:?}: {ran:?}");
    let shown = (ran.stdout.clone() + &ran.stderr).to_lowercase();
    for secret in [KEY, &KEY[..12], PASSWORD] {
        let secret = secret.to_lowercase();
        assert!(!shown.contains(&secret), "{args:?}: {shown}");
    }
    let json = ran.json();
    assert!(json["error"].is_string(), "{json}");
    assert_eq!(json["exit_code"], ran.code.unwrap_or(0), "{json}");
}

#[test]
fn no_separator_brings_a_secret_to_light() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    let url = "account_url=https://acct.example";
    for separator in [";", "\n", "\r\n", " ", "\t", "&", "|", ":", "/", "\u{a0}"] {
        for begin in [
            "type=azblob",
            "type=azblob,name=a,mode=max",
            "type=azblob,name=a,ignore-error=true",
            "type=azblob,account_name",
            "type=azblob,no_such_attribute=x",
            "type=nowhere",
        ] {
            for secret in [
                format!("secret_access_key={KEY}"),
                format!("secret_access_key: {KEY}"),
                format!("password={PASSWORD}"),
                format!("{url}/?sv=2026&sig={KEY}"),
                format!("connection_string=AccountName=a;AccountKey={KEY}"),
            ] {
                let line = format!("{begin}{separator}{secret}");
                assert_nothing_shown(&world, &["push", "--to", &line, text(&cache)]);
            }
        }
    }
}

#[test]
fn no_secret_in_the_place_of_something_else_is_shown() {
    let world = World::new();
    let cache = buildkit("local-min-fresh");
    let (dir, named) = (text(&cache), format!("secret_access_key={KEY}"));
    let file = format!("type=azblob,secret_access_key_file={KEY}");
    let lines: &[&[&str]] = &[
        &["push", "--to", "type=azblob", &named, dir],
        &["push", "--to", "type=azblob,", &named],
        &["push", "--to", "type=azblob", "secret_access_key", KEY, dir],
        &["push", "--to", &format!("type={KEY}"), dir],
        &["push", "--to", &format!("type=azblob,{KEY}=="), dir],
        &[
            "push",
            "--to",
            &format!("type=azblob,secret_access_key:{KEY}=="),
            dir,
        ],
        &["push", "--to", &format!("type=azblob,mode={KEY}"), dir],
        &["push", "--to", &file, dir],
        &["push", "--to", "type=azblob", "--tag", &named, dir],
        &["push", "--to", "type=azblob", "--plugin", &named, dir],
        &["push", "--to", "type=azblob", "--ca-file", &named, dir],
        &["push", "--to", "type=azblob", "--idle-timeout", &named, dir],
        &["pull", "--from", "type=azblob", &named],
        &["check", "--to", &format!("type=azblob;{named}")],
        &["plugin", "inspect", &named],
        &["plugin", &named],
        &[&named],
        &["push", "--secret-access-key", KEY, dir],
        &["push", &format!("--password={PASSWORD}"), dir],
    ];
    for line in lines {
        assert_nothing_shown(&world, line);
    }
}
