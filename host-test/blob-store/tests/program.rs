//! The program `blob-store`, run as a user or a test runs it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blob-store"));
    command.args(arguments).env_remove("BLOB_STORE_KEY");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for the line that says where it listens.
fn url(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    line.trim()
        .strip_prefix("blob-store listens on ")
        .unwrap_or_else(|| panic!("{line}"))
        .to_owned()
}

#[test]
fn it_says_where_it_listens_and_stops_with_its_standard_input() {
    let mut child = program(&["--container", "cache", "--until-stdin-closes"])
        .spawn()
        .unwrap();
    let url = url(&mut child);
    assert!(
        url.starts_with("http://127.0.0.1:") && url.ends_with("/devstoreaccount1"),
        "{url}"
    );
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"");
    assert!(String::from_utf8_lossy(&output.stderr).contains("0 requests"));
}

#[cfg(unix)]
#[test]
fn it_stops_cleanly_when_told_to_terminate() {
    let mut child = program(&[]).spawn().unwrap();
    url(&mut child);
    assert!(
        Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn it_serves_the_account_that_it_is_given() {
    let mut child = program(&["--account", "mine", "--until-stdin-closes"]);
    let mut child = child.env("BLOB_STORE_KEY", "c2VjcmV0").spawn().unwrap();
    assert!(url(&mut child).ends_with("/mine"));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_it_cannot_use_it_names_without_showing_a_key() {
    for (arguments, key, expected) in [
        (
            &["--account", "Not_Mine"][..],
            None,
            "'Not_Mine' is no account name",
        ),
        (&["--container", "No_Name"], None, "InvalidResourceName"),
        (
            &["--key-file", "missing.txt"],
            None,
            "cannot read missing.txt",
        ),
        (&[], Some("no base64!"), "the account key is not base64"),
    ] {
        let mut command = program(arguments);
        if let Some(key) = key {
            command.env("BLOB_STORE_KEY", key);
        }
        let mut child = command.spawn().unwrap();
        let mut message = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut message)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{message}");
        assert!(
            message.contains(expected) && !message.contains("no base64!"),
            "{message}"
        );
    }
}
