//! The store in a folder.

mod client;

use std::fs;
use std::path::Path;

use blob_store::{BlobStore, Error, Options, RunningStore};
use client::{Client, noise};

fn start(dir: &Path) -> Result<RunningStore, Error> {
    // The store before lets go of its folder a moment after it was dropped.
    for _ in 0..100 {
        match BlobStore::start(Options {
            dir: Some(dir.to_owned()),
            ..Options::default()
        }) {
            Err(Error::FolderInUse(_)) => std::thread::sleep(std::time::Duration::from_millis(20)),
            other => return other,
        }
    }
    panic!("the folder stays in use");
}

fn pieces(dir: &Path) -> usize {
    fs::read_dir(dir.join("pieces")).unwrap().count()
}

#[tokio::test]
async fn what_is_stored_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(3 << 20);
    let store = start(dir.path()).unwrap();
    let client = Client::of(&store);
    client
        .ok(
            "PUT",
            "cache?restype=container",
            &[("x-ms-meta-a", "b")],
            b"",
        )
        .await;
    client.put("small", b"small").await;
    let long_key = "k".repeat(1024);
    client.put(&long_key, b"long").await;
    for (id, part) in [
        ("QQ%3D%3D", &bytes[..1 << 20]),
        ("Qg%3D%3D", &bytes[1 << 20..]),
    ] {
        client
            .ok(
                "PUT",
                &format!("cache/big?comp=block&blockid={id}"),
                &[],
                part,
            )
            .await;
    }
    let list = b"<BlockList><Latest>QQ==</Latest><Latest>Qg==</Latest></BlockList>";
    client
        .ok(
            "PUT",
            "cache/big?comp=blocklist",
            &[("x-ms-meta-c", "d")],
            list,
        )
        .await;
    let before = client.ok("HEAD", "cache/big", &[], b"").await.headers()["etag"].clone();
    client
        .ok(
            "PUT",
            "cache/waiting?comp=block&blockid=QQ%3D%3D",
            &[],
            b"lost",
        )
        .await;
    drop(store);

    let store = start(dir.path()).unwrap();
    let client = Client::of(&store);
    let head = client.ok("HEAD", "cache/big", &[], b"").await;
    assert_eq!(
        (&head.headers()["etag"], &head.headers()["x-ms-meta-c"]),
        (&before, &"d".parse().unwrap())
    );
    assert!(client.get("big").await == bytes);
    assert_eq!(client.get(&long_key).await, b"long");
    assert_eq!(
        client
            .ok("HEAD", "cache?restype=container", &[], b"")
            .await
            .headers()["x-ms-meta-a"],
        "b"
    );
    assert_eq!(store.keys("cache").unwrap(), ["big", &long_key, "small"]);
    assert_eq!(store.uncommitted_blocks("cache", "waiting").unwrap(), 0);
    assert_eq!(pieces(dir.path()), 4);
}

#[tokio::test]
async fn what_is_replaced_or_deleted_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(dir.path()).unwrap();
    let client = Client::of(&store);
    client.ok("PUT", "cache?restype=container", &[], b"").await;
    for body in [b"one", b"two"] {
        client.put("key", body).await;
    }
    assert_eq!(pieces(dir.path()), 1);
    client.ok("DELETE", "cache/key", &[], b"").await;
    assert_eq!(pieces(dir.path()), 0);
    client.put("key", b"three").await;
    client
        .ok("DELETE", "cache?restype=container", &[], b"")
        .await;
    assert_eq!(pieces(dir.path()), 0);
    assert_eq!(
        fs::read_dir(dir.path().join("containers")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn a_blob_that_is_replaced_is_still_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(dir.path()).unwrap();
    let client = Client::of(&store);
    client.ok("PUT", "cache?restype=container", &[], b"").await;
    let bytes = noise(20 << 20);
    client.put("key", &bytes).await;
    let reading = client.ok("GET", "cache/key", &[], b"").await;
    client.put("key", b"other").await;
    assert!(reading.bytes().await.unwrap() == bytes);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("pieces")).unwrap();
    fs::write(dir.path().join("pieces/thesis"), "precious").unwrap();
    assert!(matches!(start(dir.path()), Err(Error::FolderNotOurs(_))));
    assert_eq!(
        fs::read_to_string(dir.path().join("pieces/thesis")).unwrap(),
        "precious"
    );
}

#[test]
fn a_folder_serves_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let _store = start(dir.path()).unwrap();
    let second = BlobStore::start(Options {
        dir: Some(dir.path().to_owned()),
        ..Options::default()
    });
    assert!(matches!(second, Err(Error::FolderInUse(_))));
}

#[test]
fn a_record_that_was_changed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(dir.path()).unwrap();
    store.create_container("cache").unwrap();
    store.put_blob("cache", "key", b"bytes").unwrap();
    drop(store);
    let piece = fs::read_dir(dir.path().join("pieces"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(piece, "other length").unwrap();
    let message = start(dir.path()).unwrap_err().to_string();
    assert!(
        message.contains("cache") && message.contains("has 12 bytes, not 5"),
        "{message}"
    );
}
