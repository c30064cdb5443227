//! What goes wrong when a script says so.

mod client;

use std::time::{Duration, Instant, SystemTime};

use blob_store::{Action, Fault, OperationKind};
use client::{Client, noise, store};

const BLOB: (&str, &str) = ("x-ms-blob-type", "BlockBlob");

#[tokio::test]
async fn an_answer_may_be_an_error_with_advice() {
    let (store, client) = store();
    let busy = Action::Answer {
        status: 503,
        code: "ServerBusy".into(),
        headers: vec![("retry-after-ms".into(), "20".into())],
    };
    store
        .faults()
        .push(Fault::new(busy).on(OperationKind::PutBlob).times(1));
    let answer = client
        .send("PUT", "cache/one", &[BLOB], noise(5 << 20))
        .await
        .unwrap();
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["retry-after-ms"].to_str().unwrap()
        ),
        (503, "20")
    );
    assert_eq!(answer.headers()["x-ms-error-code"], "ServerBusy");
    assert!(store.blob("cache", "one").unwrap().is_none());
    client.put("one", b"1").await;
}

#[tokio::test]
async fn a_proxy_may_answer_with_a_page() {
    let (store, client) = store();
    store
        .faults()
        .push(Fault::new(Action::ProxyPage { status: 502 }));
    let answer = client.send("GET", "cache/one", &[], "").await.unwrap();
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["content-type"].to_str().unwrap()
        ),
        (502, "text/html")
    );
    // It is nothing that the service said.
    assert!(
        answer
            .headers()
            .keys()
            .all(|name| !name.as_str().starts_with("x-ms-"))
    );
    assert!(answer.text().await.unwrap().contains("<html>"));
}

#[tokio::test]
async fn an_answer_may_come_late() {
    let (store, client) = store();
    client.put("one", b"1").await;
    store
        .faults()
        .push(Fault::new(Action::Delay { ms: 150 }).on(OperationKind::GetBlob));
    let begin = Instant::now();
    client.get("one").await;
    assert!(begin.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_connection_may_be_slow_in_both_directions() {
    let (store, client) = store();
    store.faults().push(Fault::new(Action::Throttle {
        bytes_per_second: 1_000_000,
    }));
    let bytes = noise(200_000);
    for what in ["in", "out"] {
        let begin = Instant::now();
        match what {
            "in" => client.put("one", &bytes).await,
            _ => assert!(client.get("one").await == bytes),
        }
        assert!(
            begin.elapsed() >= Duration::from_millis(200),
            "{what}: {:?}",
            begin.elapsed()
        );
    }
}

#[tokio::test]
async fn a_request_may_be_cut_before_or_in_its_body_and_stores_nothing() {
    let (store, client) = store();
    for action in [Action::Refuse, Action::CutRequest { after: 100_000 }] {
        store.faults().set(vec![Fault::new(action.clone())]);
        let result = client
            .send("PUT", "cache/one", &[BLOB], noise(1 << 20))
            .await;
        assert!(result.is_err(), "{action:?}: {result:?}");
        assert!(store.blob("cache", "one").unwrap().is_none());
    }
}

#[tokio::test]
async fn an_answer_may_be_lost_though_the_work_is_done() {
    let (store, client) = store();
    store
        .faults()
        .push(Fault::new(Action::LoseAnswer).on(OperationKind::PutBlob));
    assert!(
        client
            .send("PUT", "cache/one", &[BLOB], "done")
            .await
            .is_err()
    );
    assert_eq!(store.blob("cache", "one").unwrap().unwrap(), "done");
}

#[tokio::test]
async fn an_answer_may_be_cut_in_its_body() {
    let (store, client) = store();
    store.put_blob("cache", "one", &noise(300_000)).unwrap();
    store
        .faults()
        .push(Fault::new(Action::CutResponse { after: 10_000 }));
    let mut answer = client.send("GET", "cache/one", &[], "").await.unwrap();
    assert_eq!(answer.headers()["content-length"], "300000");
    let mut arrived = Vec::new();
    let error = loop {
        match answer.chunk().await {
            Ok(chunk) => arrived.extend_from_slice(&chunk.expect("the body was not cut")),
            Err(error) => break error,
        }
    };
    assert!(
        arrived == noise(300_000)[..10_000],
        "{} bytes, {error}",
        arrived.len()
    );
}

#[tokio::test]
async fn bodies_may_pause() {
    let (store, client) = store();
    let bytes = noise(300_000);
    store
        .faults()
        .push(Fault::new(Action::StallRequest { after: 1, ms: 150 }).on(OperationKind::PutBlob));
    store.faults().push(
        Fault::new(Action::StallResponse {
            after: 1000,
            ms: 150,
        })
        .on(OperationKind::GetBlob),
    );
    let begin = Instant::now();
    client.put("one", &bytes).await;
    assert!(begin.elapsed() >= Duration::from_millis(150));
    let begin = Instant::now();
    assert!(client.get("one").await == bytes);
    assert!(begin.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_byte_may_be_wrong_and_the_end_may_be_missing() {
    let (store, client) = store();
    let bytes = noise(3 << 20);
    store.put_blob("cache", "one", &bytes).unwrap();
    store
        .faults()
        .set(vec![Fault::new(Action::Corrupt { at: 2_000_000 })]);
    let corrupt = client.get("one").await;
    let wrong: Vec<_> = (0..bytes.len())
        .filter(|i| corrupt[*i] != bytes[*i])
        .collect();
    assert_eq!(wrong, [2_000_000]);
    store
        .faults()
        .set(vec![Fault::new(Action::Short { by: 5 })]);
    assert!(client.get("one").await == bytes[..bytes.len() - 5]);
}

#[tokio::test]
async fn a_body_may_arrive_whole_and_be_forgotten_or_with_a_wrong_byte() {
    let (store, client) = store();
    let bytes = noise(300_000);
    let put = async |action: Action| {
        store.faults().set(vec![Fault::new(action)]);
        client
            .send("PUT", "cache/one", &[BLOB], bytes.clone())
            .await
    };
    assert!(put(Action::CutAfterRequest).await.is_err());
    assert_eq!(store.stats().bytes_in, 300_000);
    assert_eq!(store.blob("cache", "one").unwrap(), None);

    put(Action::CorruptRequest { at: 200_000 }).await.unwrap();
    let stored = store.blob("cache", "one").unwrap().unwrap();
    let wrong: Vec<_> = (0..bytes.len())
        .filter(|i| stored[*i] != bytes[*i])
        .collect();
    assert_eq!(wrong, [200_000]);
    assert_eq!(store.stats().faulted, 2);
}

#[tokio::test]
async fn an_answer_may_be_too_long_or_say_another_length() {
    let (store, client) = store();
    let bytes = noise(1000);
    store.put_blob("cache", "one", &bytes).unwrap();
    let script = |action| store.faults().set(vec![Fault::new(action)]);

    script(Action::Oversize { by: 100_000 });
    let read = client.get("one").await;
    assert!(read.len() == 101_000 && read[..1000] == bytes);
    script(Action::WrongLength { by: -10 });
    assert!(client.get("one").await == bytes[..990]);
    // The store closes a connection that it lied on.
    let client = Client::of(&store);
    script(Action::WrongLength { by: 10 });
    let answer = client.send("GET", "cache/one", &[], "").await.unwrap();
    assert_eq!(answer.headers()["content-length"], "1010");
    assert!(answer.bytes().await.is_err());
    let looked = client.send("HEAD", "cache/one", &[], "").await.unwrap();
    assert_eq!(looked.headers()["content-length"], "1010");
}

#[tokio::test]
async fn a_client_may_be_sent_elsewhere() {
    let (store, client) = store();
    let to = "http://127.0.0.1:1/elsewhere".to_owned();
    store.faults().push(Fault::new(Action::Redirect { to }));
    // The client follows, and nobody is there.
    let error = client.send("GET", "cache/one", &[], "").await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn a_blob_may_be_gone_after_a_write_or_a_look() {
    let (store, client) = store();
    let gone = || Fault::new(Action::DropBlob);
    store.faults().push(gone().on(OperationKind::PutBlob));
    client.put("one", b"1").await;
    assert_eq!(store.blob("cache", "one").unwrap(), None);

    store.faults().clear();
    client.put("one", b"1").await;
    store
        .faults()
        .push(gone().on(OperationKind::GetBlobProperties));
    client.ok("HEAD", "cache/one", &[], b"").await;
    let read = client.refused("GET", "cache/one", &[], b"").await;
    assert_eq!(read, (404, "BlobNotFound".into()));
}

#[tokio::test]
async fn the_server_s_clock_may_be_wrong() {
    let (store, client) = store();
    store
        .faults()
        .push(Fault::new(Action::ClockSkew { seconds: 3600 }));
    let answer = client.send("GET", "cache/one", &[], "").await.unwrap();
    assert_eq!(answer.status(), 403);
    let date = httpdate::parse_http_date(answer.headers()["date"].to_str().unwrap()).unwrap();
    assert!(date > SystemTime::now() + Duration::from_secs(3500));
}

#[tokio::test]
async fn a_script_may_come_over_the_admin_path() {
    let (store, client) = store();
    let http = reqwest::Client::new();
    let address = format!("http://{}/_faults", store.address());
    let script = r#"[{"operation":"GetBlob","times":1,"action":{"answer":{"status":500,"code":"InternalError"}}}]"#;
    assert_eq!(
        http.put(&address)
            .body(script)
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert_eq!(
        client.refused("GET", "cache/one", &[], b"").await,
        (500, "InternalError".into())
    );
    assert_eq!(
        client.refused("GET", "cache/one", &[], b"").await,
        (404, "BlobNotFound".into())
    );
    assert_eq!(
        http.put(&address)
            .body("[{}]")
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    assert_eq!(store.faults().list().len(), 1);
    assert_eq!(http.delete(&address).send().await.unwrap().status(), 204);
    assert_eq!(store.faults().list(), []);
}
