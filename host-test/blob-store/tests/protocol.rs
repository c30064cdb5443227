//! What a client of the protocol sees.

mod client;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, SystemTime};

use blob_store::{BlobStore, OperationKind, Options, RunningStore};
use client::{Client, noise, store};

const BLOB: (&str, &str) = ("x-ms-blob-type", "BlockBlob");

#[tokio::test]
async fn in_the_archive_a_blob_is_shown_and_can_only_be_removed() {
    let (store, client) = store();
    client.put("one", b"bytes").await;
    let before = client.ok("HEAD", "cache/one", &[], b"").await;
    let etag = before.headers()["etag"].clone();
    let tier = |tier: &'static str| [("x-ms-access-tier", tier)];
    client
        .ok("PUT", "cache/one?comp=tier", &tier("Archive"), b"")
        .await;

    let head = client.ok("HEAD", "cache/one", &[], b"").await;
    assert_eq!(head.headers()["x-ms-access-tier"], "Archive");
    assert_eq!(head.headers()["content-length"], "5");
    assert_eq!(head.headers()["etag"], etag, "its version is what it was");
    let listing = client.ok("GET", "cache?restype=container&comp=list", &[], b"");
    let listing = listing.await.text().await.unwrap();
    assert!(
        listing.contains("<AccessTier>Archive</AccessTier>"),
        "{listing}"
    );
    for (method, query) in [
        ("GET", ""),
        ("PUT", ""),
        ("PUT", "?comp=block&blockid=QQ=="),
    ] {
        let path = format!("cache/one{query}");
        let body: &[u8] = if method == "PUT" { b"other" } else { b"" };
        let refused = client.refused(method, &path, &[BLOB], body).await;
        assert_eq!(refused, (409, "BlobArchived".to_owned()));
    }

    // On its way out it takes hours.
    store.set_tier("cache", "one", "Hot").unwrap();
    let head = client.ok("HEAD", "cache/one", &[], b"").await;
    assert_eq!(
        head.headers()["x-ms-archive-status"],
        "rehydrate-pending-to-hot"
    );
    let refused = client.refused("GET", "cache/one", &[], b"").await;
    assert_eq!(refused, (409, "BlobBeingRehydrated".to_owned()));
    client.ok("DELETE", "cache/one", &[], b"").await;
    client.put("one", b"anew").await;
    assert!(client.get("one").await == b"anew");
    let refused = client
        .refused("PUT", "cache/one?comp=tier", &tier("Lukewarm"), b"")
        .await;
    assert_eq!(refused, (400, "InvalidHeaderValue".to_owned()));
}

#[tokio::test]
async fn a_directory_is_shown_as_an_empty_blob_that_cannot_be_overwritten() {
    let (store, client) = store();
    store.make_directory("cache", "names/feature").unwrap();
    client.put("names/feature/x", b"bytes").await;
    for method in ["HEAD", "GET"] {
        let found = client.ok(method, "cache/names/feature", &[], b"").await;
        assert_eq!(found.headers()["x-ms-meta-hdi_isfolder"], "true");
        assert_eq!(found.headers()["x-ms-resource-type"], "directory");
    }
    let listing = client.ok(
        "GET",
        "cache?restype=container&comp=list&include=metadata",
        &[],
        b"",
    );
    let listing = listing.await.text().await.unwrap();
    assert!(
        listing.contains("<ResourceType>directory</ResourceType>"),
        "{listing}"
    );
    assert!(
        listing.contains("<hdi_isfolder>true</hdi_isfolder>"),
        "{listing}"
    );
    let refused = client
        .refused("PUT", "cache/names/feature", &[BLOB], b"")
        .await;
    assert_eq!(refused, (409, "BlobAlreadyExists".to_owned()));
    let refused = client
        .refused("DELETE", "cache/names/feature", &[], b"")
        .await;
    assert_eq!(refused, (409, "DirectoryIsNotEmpty".to_owned()));
    client.ok("DELETE", "cache/names/feature/x", &[], b"").await;
    client.ok("DELETE", "cache/names/feature", &[], b"").await;
}

#[tokio::test]
async fn a_blob_comes_back_whole_and_in_parts() {
    let (_store, client) = store();
    let bytes = noise(5 << 20);
    client.put("blobs%2Fone", &bytes).await;
    assert!(client.get("blobs/one").await == bytes);
    let part = client
        .ok(
            "GET",
            "cache/blobs/one",
            &[("range", "bytes=1048570-3000000")],
            b"",
        )
        .await;
    assert_eq!(part.status(), 206);
    assert_eq!(
        part.headers()["content-range"],
        "bytes 1048570-3000000/5242880"
    );
    assert!(part.bytes().await.unwrap() == bytes[1_048_570..=3_000_000]);
}

#[tokio::test]
async fn every_answer_says_which_it_is() {
    let (_store, client) = store();
    client.put("one", b"1").await;
    for (method, target) in [
        ("GET", "cache/one"),
        ("HEAD", "cache/one"),
        ("GET", "cache/none"),
        ("HEAD", "none/none"),
    ] {
        let answer = client
            .send(method, target, &[("x-ms-client-request-id", "mine")], "")
            .await
            .unwrap();
        assert_eq!(answer.headers()["x-ms-client-request-id"], "mine");
        assert_eq!(answer.headers()["x-ms-version"], "2024-11-04");
        for name in ["x-ms-request-id", "date", "server"] {
            assert!(
                answer.headers().contains_key(name),
                "{method} {target} lacks {name}"
            );
        }
    }
}

#[tokio::test]
async fn properties_and_metadata_come_back() {
    let (_store, client) = store();
    let headers = [
        BLOB,
        ("x-ms-blob-content-type", "text/plain"),
        ("x-ms-meta-who", "me"),
    ];
    client.ok("PUT", "cache/one", &headers, b"12345").await;
    let head = client.ok("HEAD", "cache/one", &[], b"").await;
    for (name, value) in [
        ("content-length", "5"),
        ("content-type", "text/plain"),
        ("x-ms-meta-who", "me"),
        ("x-ms-blob-type", "BlockBlob"),
    ] {
        assert_eq!(head.headers()[name], value, "{name}");
    }
}

#[tokio::test]
async fn an_etag_changes_with_every_write() {
    let (_store, client) = store();
    let mut etags = Vec::new();
    for _ in 0..3 {
        let answer = client.ok("PUT", "cache/one", &[BLOB], b"same").await;
        etags.push(answer.headers()["etag"].to_str().unwrap().to_owned());
    }
    etags.dedup();
    assert_eq!(etags.len(), 3);
}

#[tokio::test]
async fn blocks_become_a_blob_in_the_order_of_the_list() {
    let (store, client) = store();
    for (id, bytes) in [("QUFB", "one "), ("QkJC", "two "), ("Q0ND", "three")] {
        client
            .ok(
                "PUT",
                &format!("cache/b?comp=block&blockid={id}"),
                &[],
                bytes.as_bytes(),
            )
            .await;
    }
    assert_eq!(store.uncommitted_blocks("cache", "b").unwrap(), 3);
    assert_eq!(
        client.refused("HEAD", "cache/b", &[], b"").await,
        (404, "BlobNotFound".into())
    );
    let list = b"<BlockList><Latest>Q0ND</Latest><Uncommitted>QUFB</Uncommitted></BlockList>";
    client
        .ok(
            "PUT",
            "cache/b?comp=blocklist",
            &[("if-none-match", "*")],
            list,
        )
        .await;
    assert_eq!(client.get("b").await, b"threeone ");
    assert_eq!(store.uncommitted_blocks("cache", "b").unwrap(), 0);
    let blocks = client
        .ok("GET", "cache/b?comp=blocklist&blocklisttype=all", &[], b"")
        .await
        .text()
        .await
        .unwrap();
    assert!(
        blocks.contains("<CommittedBlocks><Block><Name>Q0ND</Name><Size>5</Size></Block>"),
        "{blocks}"
    );
}

#[tokio::test]
async fn of_many_writers_that_want_to_be_first_one_is() {
    let (_store, client) = store();
    let tries: Vec<_> = (0..20_u8).map(|i| vec![i; 100_000]).collect();
    let headers = [BLOB, ("if-none-match", "*")];
    let answers = futures::future::join_all(
        tries
            .iter()
            .map(|body| client.send("PUT", "cache/one", &headers, body.clone())),
    )
    .await;
    let mut statuses: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().status().as_u16())
        .collect();
    statuses.sort();
    assert_eq!(statuses.remove(0), 201);
    assert_eq!(statuses, [409; 19]);
    let stored = client.get("one").await;
    assert!(tries.contains(&stored));
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let (store, client) = store();
    for i in 0..7 {
        store
            .put_blob("cache", &format!("blobs/{i}"), b"x")
            .unwrap();
    }
    store.put_blob("cache", "manifests/a", b"x").unwrap();
    let mut names = Vec::new();
    let mut marker = String::new();
    let mut pages = 0;
    loop {
        let target = format!(
            "cache?restype=container&comp=list&prefix=blobs%2F&maxresults=3&marker={marker}"
        );
        let page = client
            .ok("GET", &target, &[], b"")
            .await
            .text()
            .await
            .unwrap();
        pages += 1;
        names.extend(
            page.split("<Name>")
                .skip(1)
                .map(|rest| rest.split('<').next().unwrap().to_owned()),
        );
        let Some((_, rest)) = page.split_once("<NextMarker>") else {
            break;
        };
        marker = rest.split('<').next().unwrap().to_owned();
    }
    assert_eq!(pages, 3);
    assert_eq!(
        names,
        (0..7).map(|i| format!("blobs/{i}")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_container_has_a_life() {
    let (_store, client) = store();
    let target = "other?restype=container";
    assert_eq!(
        client.refused("GET", target, &[], b"").await,
        (404, "ContainerNotFound".into())
    );
    assert_eq!(client.ok("PUT", target, &[], b"").await.status(), 201);
    assert_eq!(
        client.refused("PUT", target, &[], b"").await,
        (409, "ContainerAlreadyExists".into())
    );
    assert_eq!(client.ok("HEAD", target, &[], b"").await.status(), 200);
    assert_eq!(client.ok("DELETE", target, &[], b"").await.status(), 202);
    assert_eq!(
        client.refused("PUT", "other/k", &[BLOB], b"").await,
        (404, "ContainerNotFound".into())
    );
    assert_eq!(
        client
            .refused("PUT", "No_Name?restype=container", &[], b"")
            .await,
        (400, "InvalidResourceName".into())
    );
}

#[tokio::test]
async fn a_blob_is_deleted_if_it_is_the_one_meant() {
    let (store, client) = store();
    client.put("one", b"1").await;
    let other = [("if-match", "\"0x1\"")];
    assert_eq!(
        client.refused("DELETE", "cache/one", &other, b"").await,
        (412, "ConditionNotMet".into())
    );
    assert_eq!(
        client.ok("DELETE", "cache/one", &[], b"").await.status(),
        202
    );
    assert_eq!(
        client.refused("DELETE", "cache/one", &[], b"").await,
        (404, "BlobNotFound".into())
    );
    assert_eq!(store.keys("cache").unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_is_not_what_its_checksum_says_is_not_stored() {
    let (store, client) = store();
    for (header, value, code) in [
        ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==", "Md5Mismatch"),
        ("x-ms-content-crc64", "iJh5CoYUi64=", "Crc64Mismatch"),
    ] {
        assert_eq!(
            client
                .refused("PUT", "cache/one", &[BLOB, (header, value)], b"12345678")
                .await,
            (400, code.into())
        );
        let target = "cache/one?comp=block&blockid=QQ%3D%3D";
        assert_eq!(
            client
                .refused("PUT", target, &[(header, value)], b"12345678")
                .await,
            (400, code.into())
        );
        client
            .ok("PUT", "cache/good", &[BLOB, (header, value)], b"123456789")
            .await;
    }
    assert_eq!(store.keys("cache").unwrap(), ["good"]);
    assert_eq!(store.uncommitted_blocks("cache", "one").unwrap(), 0);
}

#[tokio::test]
async fn who_does_not_know_the_key_gets_nothing() {
    let (store, client) = store();
    let client = client.with_key(b"guessed");
    let refused = (403, "AuthenticationFailed".to_owned());
    assert_eq!(
        client
            .refused("GET", "cache?restype=container", &[], b"")
            .await,
        refused
    );
    // A large body, too, is answered rather than cut.
    assert_eq!(
        client
            .refused("PUT", "cache/one", &[BLOB], &noise(20 << 20))
            .await,
        refused
    );
    assert_eq!(store.keys("cache").unwrap(), Vec::<String>::new());
    let anonymous = reqwest::Client::new()
        .get(client.address("cache/one"))
        .header("x-ms-version", "2024-11-04");
    let answer = anonymous.send().await.unwrap();
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers().contains_key("www-authenticate")
        ),
        (401, true)
    );
}

#[tokio::test]
async fn a_request_of_yesterday_is_refused_and_told_the_time() {
    let (_store, mut client) = store();
    client.clock = || SystemTime::now() - Duration::from_secs(86_400);
    let answer = client.send("GET", "cache/one", &[], "").await.unwrap();
    assert_eq!(answer.status(), 403);
    let date = httpdate::parse_http_date(answer.headers()["date"].to_str().unwrap()).unwrap();
    assert!(
        SystemTime::now()
            .duration_since(date)
            .is_ok_and(|behind| behind < Duration::from_secs(60))
    );
}

/// Sends a head and a body as they are.
fn send_raw(store: &RunningStore, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(store.address()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

fn head(client: &Client, target: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("PUT /devstoreaccount1/{target} HTTP/1.1\r\nhost: store\r\n");
    for (name, value) in client.signed("PUT", target, headers) {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

#[tokio::test]
async fn a_body_that_ends_early_stores_nothing() {
    let (store, client) = store();
    let length = ("content-length", "1000");
    for head in [
        head(&client, "cache/one", &[BLOB, length]),
        head(&client, "cache/one?comp=block&blockid=QQ%3D%3D", &[length]),
    ] {
        let mut stream = send_raw(&store, &head, &[0; 999]);
        stream.shutdown(Shutdown::Write).unwrap();
        // The store hangs up too, when it has seen the end.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(store.stats().requests(), 2);
    assert_eq!(store.keys("cache").unwrap(), Vec::<String>::new());
    assert_eq!(store.uncommitted_blocks("cache", "one").unwrap(), 0);
}

#[tokio::test]
async fn a_write_without_a_length_is_refused() {
    let (store, client) = store();
    let head = head(&client, "cache/one", &[BLOB]).replacen(
        "host:",
        "connection: close\r\ntransfer-encoding: chunked\r\nhost:",
        1,
    );
    let mut stream = send_raw(&store, &head, b"1\r\nx\r\n0\r\n\r\n");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 411"), "{answer}");
    assert!(answer.contains("MissingContentLengthHeader"), "{answer}");
}

#[tokio::test]
async fn a_full_store_says_so_and_has_room_again_after_a_delete() {
    let store = BlobStore::start(Options {
        memory_limit: 3 << 20,
        ..Options::default()
    })
    .unwrap();
    store.create_container("cache").unwrap();
    let client = Client::of(&store);
    client.put("one", &noise(2 << 20)).await;
    let full = client
        .refused("PUT", "cache/two", &[BLOB], &noise(2 << 20))
        .await;
    assert_eq!(full, (507, "StoreFull".into()));
    assert!(store.delete_blob("cache", "one").unwrap());
    client.put("two", &noise(2 << 20)).await;
}

#[tokio::test]
async fn what_clients_do_is_counted() {
    let (store, client) = store();
    client.put("one", &[0; 1000]).await;
    client.get("one").await;
    client.get("one").await;
    let stats = store.stats();
    assert_eq!(
        (
            stats.requests(),
            stats.of(OperationKind::GetBlob),
            stats.bytes_in,
            stats.bytes_out
        ),
        (3, 2, 1000, 2000)
    );
    let shown = reqwest::get(format!("http://{}/_stats", store.address()))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(shown.contains("\"GetBlob\": 2"), "{shown}");
    store.reset_stats();
    assert_eq!(store.stats().requests(), 0);
}
