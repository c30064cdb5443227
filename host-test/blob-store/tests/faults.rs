//! What goes wrong when a script says so.

mod client;

use std::time::{Duration, Instant, SystemTime};

use blob_store::{Action, Fault, OperationKind};
use client::{noise, store};

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
