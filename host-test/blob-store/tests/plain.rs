//! The plain door, as a small client of it sees it.

use blob_store::{Action, BlobStore, Fault, OperationKind, Options, PlainToken, RunningStore};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, RANGE};
use reqwest::{Client, Method, RequestBuilder};

/// A store whose plain door is open, and a client in front of it.
struct Door {
    store: RunningStore,
    client: Client,
}

impl Door {
    fn open(token: Option<&str>) -> Self {
        // Fails where another test was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = Options {
            plain: true,
            plain_token: token.map(PlainToken::new),
            ..Options::default()
        };
        Self {
            store: BlobStore::start(options).expect("a store"),
            client: Client::new(),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.store.plain_url() + path;
        self.client.request(method, url)
    }

    async fn put(&self, path: &str, bytes: &'static str) {
        let answer = self.request(Method::PUT, path).body(bytes).send().await;
        assert_eq!(answer.expect("an answer").status(), 201);
    }
}

#[tokio::test]
async fn what_was_put_can_be_got_in_whole_and_in_part() {
    let door = Door::open(None);
    door.put("a/b", "0123456789").await;

    let whole = door.request(Method::GET, "a/b").send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.text().await.unwrap(), "0123456789");

    let ranged = door.request(Method::GET, "a/b").header(RANGE, "bytes=3-5");
    let part = ranged.send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()[CONTENT_RANGE], "bytes 3-5/10");
    assert_eq!(part.text().await.unwrap(), "345");

    let head = door.request(Method::HEAD, "a/b").send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()[CONTENT_LENGTH], "10");
}

#[tokio::test]
async fn nothing_is_there_before_it_was_put() {
    let door = Door::open(None);
    for method in [Method::GET, Method::HEAD, Method::DELETE] {
        let answer = door.request(method.clone(), "a/b").send().await.unwrap();
        assert_eq!(answer.status(), 404, "{method}");
    }
}

#[tokio::test]
async fn only_the_version_that_was_named_is_deleted() {
    let door = Door::open(None);
    door.put("a", "old").await;
    let head = door.request(Method::HEAD, "a").send().await.unwrap();
    let old = head.headers()[ETAG].clone();
    door.put("a", "new").await;

    let delete = |version| door.request(Method::DELETE, "a").header(IF_MATCH, version);
    assert_eq!(delete(old).send().await.unwrap().status(), 412);
    let head = door.request(Method::HEAD, "a").send().await.unwrap();
    let new = head.headers()[ETAG].clone();
    assert!(delete(new).send().await.unwrap().status().is_success());
    assert_eq!(door.store.blob("plain", "a").unwrap(), None);
}

#[tokio::test]
async fn a_put_that_breaks_off_leaves_what_was_there() {
    let door = Door::open(None);
    door.put("a", "old").await;
    let cut = Fault::new(Action::CutRequest { after: 2 });
    door.store.faults().push(cut.on(OperationKind::PutBlob));

    let answer = door.request(Method::PUT, "a").body("newer").send().await;
    assert!(answer.is_err(), "{answer:?}");
    let left = door.store.blob("plain", "a").unwrap();
    assert_eq!(left.as_deref(), Some(&b"old"[..]));
}

#[tokio::test]
async fn a_door_with_a_token_opens_to_nobody_without_it() {
    let door = Door::open(Some("open-sesame"));
    for (header, expected) in [
        (None, 401),
        (Some("Bearer open-barley"), 401),
        (Some("Basic open-sesame"), 401),
        (Some("Bearer open-sesame"), 201),
    ] {
        let mut request = door.request(Method::PUT, "a").body("x");
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{header:?}");
    }
}

#[test]
fn a_token_does_not_show_itself() {
    let shown = format!("{:?}", PlainToken::new("open-sesame"));
    assert_eq!(shown, "[redacted]");
}

#[tokio::test]
async fn a_store_that_was_not_told_to_has_no_plain_door() {
    let door = Door {
        store: BlobStore::start(Options::default()).expect("a store"),
        ..Door::open(None)
    };
    let answer = door.request(Method::PUT, "a").body("x").send().await;
    assert!(!answer.unwrap().status().is_success());
}
