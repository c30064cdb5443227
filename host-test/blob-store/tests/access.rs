//! Who is let in beside those who sign: with a token over TLS, or with nothing.

use blob_store::{BlobStore, Error, Https, Options, RunningStore, TokenCheck};
use reqwest::{Certificate, Client, Method, Response};

/// A store that is reached by `https`, and a client that trusts it.
struct Secure {
    store: RunningStore,
    client: Client,
}

impl Secure {
    fn start(tokens: Option<TokenCheck>) -> Self {
        // Fails where another test was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let made = made.expect("a certificate");
        let root = Certificate::from_pem(made.cert.pem().as_bytes()).expect("a certificate");
        let https = Https {
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
            tokens,
        };
        let options = Options {
            https: Some(https),
            ..Options::default()
        };
        let store = BlobStore::start(options).expect("a store");
        store.create_container("cache").expect("a container");
        let client = Client::builder().tls_certs_only([root]).no_proxy();
        Self {
            store,
            client: client.build().expect("a client"),
        }
    }

    async fn send(&self, method: Method, target: &str, token: Option<&str>) -> Response {
        let url = format!("{}/{target}", self.store.url());
        let mut request = self.client.request(method, url).body("bytes");
        request = request.header("x-ms-version", "2024-11-04");
        request = request.header("x-ms-blob-type", "BlockBlob");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.send().await.expect("an answer")
    }
}

/// The status and the error code of an answer, and how it says to authenticate.
fn refusal(answer: &Response) -> (u16, &str, &str) {
    let header = |name: &str| {
        let value = answer.headers().get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    };
    let status = answer.status().as_u16();
    (
        status,
        header("x-ms-error-code"),
        header("www-authenticate"),
    )
}

fn only(good: &'static str) -> Option<TokenCheck> {
    Some(TokenCheck::new(move |token| match token == good {
        true => Ok(()),
        false => Err("The token is another one.".to_owned()),
    }))
}

#[tokio::test]
async fn a_good_token_lets_in_and_another_is_told_where_to_get_one() {
    let secure = Secure::start(only("good"));
    let put = secure.send(Method::PUT, "cache/key", Some("good")).await;
    assert_eq!(put.status(), 201);

    let answer = secure.send(Method::GET, "cache/key", Some("bad")).await;
    let (status, code, challenge) = refusal(&answer);
    assert_eq!((status, code), (401, "InvalidAuthenticationInfo"));
    assert!(challenge.starts_with("Bearer authorization_uri=https://"));
    let text = answer.text().await.expect("a body");
    assert!(text.contains("The token is another one."), "{text}");
}

#[tokio::test]
async fn a_token_lets_nobody_in_where_none_was_asked_for() {
    let secure = Secure::start(None);
    let answer = secure.send(Method::GET, "cache/key", Some("good")).await;
    assert_eq!(refusal(&answer).0, 403);
}

#[tokio::test]
async fn who_brings_nothing_reads_the_blobs_of_a_public_container_and_no_more() {
    let secure = Secure::start(only("good"));
    secure
        .store
        .put_blob("cache", "key", b"bytes")
        .expect("a blob");
    let answer = secure.send(Method::GET, "cache/key", None).await;
    let (status, code, challenge) = refusal(&answer);
    assert_eq!((status, code), (401, "NoAuthenticationInformation"));
    assert!(challenge.starts_with("Bearer "), "{challenge}");

    secure.store.make_public("cache").expect("a name");
    for method in [Method::GET, Method::HEAD] {
        let answer = secure.send(method, "cache/key", None).await;
        assert_eq!(answer.status(), 200);
    }
    for (method, target) in [
        (Method::PUT, "cache/key"),
        (Method::DELETE, "cache/key"),
        (Method::GET, "cache?restype=container&comp=list"),
        (Method::GET, "other/key"),
    ] {
        let answer = secure.send(method, target, None).await;
        let (status, code, _) = refusal(&answer);
        assert_eq!(
            (status, code),
            (401, "NoAuthenticationInformation"),
            "{target}"
        );
    }
}

#[test]
fn a_certificate_without_its_key_is_refused_at_the_start_and_shows_no_key() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let https = Https {
        certificate_pem: made.cert.pem(),
        key_pem: "secret words".to_owned(),
        tokens: None,
    };
    assert_eq!(format!("{https:?}").find("secret"), None);
    let options = Options {
        https: Some(https),
        ..Options::default()
    };
    let error = BlobStore::start(options).expect_err("no key");
    assert!(matches!(error, Error::Certificate(_)), "{error:?}");
    assert!(!error.to_string().contains("secret words"), "{error}");
}
