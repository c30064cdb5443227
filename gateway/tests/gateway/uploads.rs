//! Uploads in every form, and clients that lie, break off and never end.

use std::time::Duration;

use build_cache_gateway::memory::MemoryStore;
use build_cache_gateway::{Limits, Options, Patience};
use build_cache_host::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Setup, World, header, location, refusal};

const LAYER: &[u8] = b"not really a tar file, but nobody looks into it";

/// Reads an answer to its end.
async fn answer(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    let _ = tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("an end");
    String::from_utf8_lossy(&text).into_owned()
}

async fn stored(world: &World, blob: &Digest) -> Option<Vec<u8>> {
    world.gateway.flush().await;
    world.store.get(blob).map(|bytes| bytes.to_vec())
}

#[tokio::test]
async fn every_form_of_upload_stores_the_layer() {
    let world = World::new().await;
    let digest = Digest::of(LAYER);

    // POST and PUT, as BuildKit.
    world.upload(LAYER).await;
    assert_eq!(stored(&world, &digest).await.as_deref(), Some(LAYER));

    // POST, one PATCH that streams, an empty PUT.
    let other = [LAYER, b"2"].concat();
    let digest = Digest::of(&other);
    let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
    let chunks = [LAYER.to_vec(), b"2".to_vec()].map(Ok::<_, std::io::Error>);
    let streamed = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let patched = world.send("PATCH", &location(&begun), &[], streamed).await;
    assert_eq!(patched.status(), 202);
    assert_eq!(header(&patched, "range"), format!("0-{}", LAYER.len()));
    let ended = format!("{}?digest={digest}", location(&patched));
    let ended = world.send("PUT", &ended, &[], "").await;
    assert_eq!(ended.status(), 201);
    assert_eq!(location(&ended), format!("/v2/app/blobs/{digest}"));
    assert_eq!(stored(&world, &digest).await, Some(other));

    // Everything in the first request.
    let other = [LAYER, b"3"].concat();
    let digest = Digest::of(&other);
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    let ended = world.send("POST", &path, &[], other.clone()).await;
    assert_eq!(ended.status(), 201);
    assert_eq!(stored(&world, &digest).await, Some(other));
}

#[tokio::test]
async fn chunks_come_in_order_or_are_refused() {
    let world = World::new().await;
    let digest = Digest::of(b"0123456789");
    let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
    let at = location(&begun);
    let status = |range: &'static str, chunk: &'static str| {
        let (world, at) = (&world, &at);
        async move {
            let headers = [("content-range", range)];
            let answer = world.send("PATCH", at, &headers, chunk).await;
            (
                answer.status().as_u16(),
                header(&answer, "range").to_owned(),
            )
        }
    };
    assert_eq!(status("0-3", "0123").await, (202, "0-3".to_owned()));
    assert_eq!(status("6-9", "6789").await, (416, "0-3".to_owned()));
    assert_eq!(status("0-3", "0123").await, (416, "0-3".to_owned()));
    assert_eq!(status("4-5", "456").await.0, 400, "its length is another");
    assert_eq!(status("nonsense", "456").await.0, 400);
    let asked = world.get(&at).await;
    assert_eq!(
        (asked.status().as_u16(), header(&asked, "range")),
        (204, "0-3")
    );
    assert_eq!(status("4-7", "4567").await, (202, "0-7".to_owned()));
    let ended = format!("{at}?digest={digest}");
    let ended = world
        .send("PUT", &ended, &[("content-range", "8-9")], "89")
        .await;
    assert_eq!(ended.status(), 201);
    assert!(stored(&world, &digest).await.is_some());
    assert_eq!(world.get(&at).await.status(), 404, "the upload has ended");
}

#[tokio::test]
async fn a_lie_about_the_digest_stores_nothing() {
    let world = World::new().await;
    let (claimed, real) = (Digest::of(b"another"), Digest::of(LAYER));
    let answer = world.try_upload(LAYER, &claimed).await;
    let (status, code, message) = refusal(answer).await;
    assert_eq!((status, code.as_str()), (400, "DIGEST_INVALID"));
    assert!(message.contains(&claimed.to_string()) && message.contains(&real.to_string()));
    for digest in ["sha512:00", "", "sha256:xyz"] {
        let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
        let path = format!("{}?digest={digest}", location(&begun));
        let (status, code, _) = refusal(world.send("PUT", &path, &[], LAYER).await).await;
        assert_eq!((status, code.as_str()), (400, "DIGEST_INVALID"), "{digest}");
    }
    let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
    let answer = world.send("PUT", &location(&begun), &[], LAYER).await;
    assert_eq!(refusal(answer).await.1, "DIGEST_INVALID");
    world.gateway.flush().await;
    assert_eq!((world.store.layers(), world.store.calls().store), (0, 0));
    assert_eq!(
        world.head(&format!("/v2/app/blobs/{real}")).await.status(),
        404
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing_and_can_be_sent_again() {
    let world = World::new().await;
    let digest = Digest::of(LAYER);
    let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
    let at = location(&begun);
    let mut stream = TcpStream::connect(world.address())
        .await
        .expect("a connection");
    let length = LAYER.len() + 1000;
    let head = format!(
        "PUT {at}?digest={digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(LAYER).await.expect("sent");
    stream.shutdown().await.expect("closed");
    let text = answer(stream).await;
    assert!(!text.contains(" 201 "), "{text}");
    assert_eq!(stored(&world, &digest).await, None);
    world.upload(LAYER).await;
    assert!(stored(&world, &digest).await.is_some());
}

#[tokio::test]
async fn a_client_that_drips_is_told_and_leaves_nothing() {
    let limits = Limits {
        patience: Patience {
            window: Duration::from_millis(300),
            bytes: 1000,
        },
        header_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let setup = Setup {
        options: Options {
            limits,
            ..Options::default()
        },
        ..Setup::default()
    };
    let world = World::with(MemoryStore::new(), setup).await;
    let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
    let digest = Digest::of(LAYER);
    let mut stream = TcpStream::connect(world.address())
        .await
        .expect("a connection");
    let head = format!(
        "PUT {}?digest={digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx",
        location(&begun)
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let text = answer(stream).await;
    assert!(
        text.starts_with("HTTP/1.1 408 ") && text.contains("too slowly"),
        "{text}"
    );
    assert_eq!(world.gateway.summary().uploads, 0);

    // The same in the headers: the connection ends.
    let mut stream = TcpStream::connect(world.address())
        .await
        .expect("a connection");
    stream
        .write_all(b"GET /v2/ HTTP/1.1\r\nHost: loc")
        .await
        .expect("sent");
    answer(stream).await;
}

#[tokio::test]
async fn limits_on_headers_manifests_uploads_and_the_spool_hold() {
    let limits = Limits {
        manifest_bytes: 1000,
        uploads: 3,
        ..Limits::default()
    };
    let setup = Setup {
        options: Options {
            limits,
            ..Options::default()
        },
        spool_bytes: 100,
        ..Setup::default()
    };
    let world = World::with(MemoryStore::new(), setup).await;

    let long = "x".repeat(100_000);
    let answer = world.send("GET", "/v2/", &[("x-long", &long)], "").await;
    assert_eq!(answer.status(), 431);

    let answer = world
        .send("PUT", "/v2/app/manifests/main", &[], vec![b' '; 1001])
        .await;
    assert_eq!(refusal(answer).await.0, 413);

    let large = vec![7; 101];
    let answer = world.try_upload(&large, &Digest::of(&large)).await;
    let (status, code, message) = refusal(answer).await;
    assert_eq!((status, code.as_str()), (507, "UNAVAILABLE"));
    assert!(message.contains("the spool is full"), "{message}");
    assert_eq!(world.gateway.summary().spool_bytes, 0);

    for expected in [202, 202, 202, 503] {
        let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
        assert_eq!(begun.status(), expected);
    }
    assert_eq!(world.gateway.summary().uploads, 3);
}

#[tokio::test]
async fn uploads_belong_to_their_repository_and_can_be_cancelled() {
    let world = World::new().await;
    let begun = world.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
    let at = location(&begun);
    let id = header(&begun, "docker-upload-uuid");
    let elsewhere = format!("/v2/other/blobs/uploads/{id}");
    let (status, code, _) = refusal(world.send("PATCH", &elsewhere, &[], LAYER).await).await;
    assert_eq!((status, code.as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(world.send("DELETE", &at, &[], "").await.status(), 204);
    assert_eq!(world.get(&at).await.status(), 404);
    let files = std::fs::read_dir(world.folder.path())
        .expect("a folder")
        .flatten();
    let drafts: usize = files
        .map(|spool| std::fs::read_dir(spool.path()).expect("a spool").count())
        .sum();
    assert_eq!(drafts, 1, "there is nothing but the lock");
}

#[tokio::test]
async fn a_layer_that_is_there_is_mounted_and_another_is_asked_for() {
    let world = World::new().await;
    let there = world.store.insert(LAYER);
    let absent = Digest::of(b"absent");
    let mount = |blob: &Digest, more: &str| {
        let path = format!("/v2/app/blobs/uploads/?mount={blob}{more}");
        let world = &world;
        async move { world.send("POST", &path, &[], "").await }
    };
    for more in ["&from=other/app", ""] {
        let mounted = mount(&there, more).await;
        assert_eq!(mounted.status(), 201);
        assert_eq!(location(&mounted), format!("/v2/app/blobs/{there}"));
    }
    let begun = mount(&absent, "&from=other/app").await;
    assert_eq!(begun.status(), 202);
    assert!(location(&begun).contains("/uploads/"));
    let path = "/v2/app/blobs/uploads/?mount=nonsense&from=x";
    assert_eq!(world.send("POST", path, &[], "").await.status(), 202);
}

#[tokio::test]
async fn what_is_on_its_way_is_there_already_and_is_stored_once() {
    let world = World::new().await;
    world.store.set_delay(Duration::from_millis(200));
    let digest = world.upload(LAYER).await;
    let path = format!("/v2/app/blobs/{digest}");
    let head = world.head(&path).await;
    assert_eq!(head.status(), 200);
    assert_eq!(header(&head, "content-length"), LAYER.len().to_string());
    let got = world.get(&path).await.bytes().await.expect("a body");
    assert_eq!(got, LAYER);
    let part = world
        .send("GET", &path, &[("range", "bytes=4-9")], "")
        .await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.expect("a body"), LAYER[4..10]);
    world.upload(LAYER).await;
    world.gateway.flush().await;
    assert_eq!(world.store.calls().store, 1);
    assert_eq!(
        world.gateway.summary().spool_bytes,
        0,
        "its room is free again"
    );
}
