//! Who comes in, and by which door.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use build_cache_gateway::memory::MemoryStore;
use build_cache_gateway::{Options, Password, USER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Setup, World, header, json_of, refusal};

/// The beginning of a ClientHello, as Go's TLS sends it: a record of 186 bytes.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\xba\x01\x00\x00\xb6\x03\x03\x6b\x1f\x0c\x7a\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x20\x00\x0d\x0a\x0d\x0a";

#[tokio::test]
async fn a_tls_hello_on_the_plain_port_is_answered_in_http() {
    let world = World::new().await;
    let mut hello = CLIENT_HELLO.to_vec();
    hello.resize(191, 0x2a);
    let mut stream = TcpStream::connect(world.address())
        .await
        .expect("a connection");
    stream.write_all(&hello).await.expect("sent");
    let mut answer = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer));
    read.await.expect("an answer in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 400");
    // The same client comes again without TLS.
    assert_eq!(world.get("/v2/").await.status(), 200);
}

#[tokio::test]
async fn only_this_machine_s_names_are_answered() {
    let world = World::new().await;
    for (name, value) in [
        ("host", "evil.example:80"),
        ("origin", "http://evil.example"),
    ] {
        for path in [
            "/",
            "/v2/",
            "/v2/app/manifests/main",
            "/metrics",
            "/status.json",
        ] {
            let answer = world.send("GET", path, &[(name, value)], "").await;
            let (status, code, _) = refusal(answer).await;
            assert_eq!((status, code.as_str()), (421, "DENIED"), "{name} {path}");
        }
    }
    let answer = world
        .send("GET", "/v2/", &[("host", "host.docker.internal:5511")], "")
        .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_password_is_asked_for_everywhere_but_at_the_health_check() {
    let password = Password::random().expect("a password");
    let setup = Setup {
        options: Options {
            password: Some(password.clone()),
            ..Options::default()
        },
        ..Setup::default()
    };
    let world = World::with(MemoryStore::new(), setup).await;
    let right = STANDARD.encode(format!("{USER}:{}", password.reveal()));
    let wrong = STANDARD.encode(format!("{USER}:wrong"));
    for path in [
        "/",
        "/v2/",
        "/v2/app/manifests/main",
        "/metrics",
        "/status.json",
        "/nowhere",
    ] {
        for headers in [&[][..], &[("authorization", &*format!("Basic {wrong}"))]] {
            let answer = world.send("GET", path, headers, "").await;
            assert_eq!(
                header(&answer, "www-authenticate"),
                "Basic realm=\"build-cache\""
            );
            let (status, code, _) = refusal(answer).await;
            assert_eq!((status, code.as_str()), (401, "UNAUTHORIZED"), "{path}");
        }
    }
    let headers = [("authorization", &*format!("Basic {right}"))];
    assert_eq!(world.send("GET", "/v2/", &headers, "").await.status(), 200);
    let healthy = world.get("/healthz").await;
    assert_eq!(healthy.status(), 200);
    assert_eq!(healthy.text().await.expect("text"), "ok\n");
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let world = World::new().await;
    let page = world.get("/").await;
    assert_eq!(page.status(), 200);
    assert!(header(&page, "content-security-policy").starts_with("default-src 'none'"));
    let html = page.text().await.expect("text");
    for outside in ["http://", "https://", "src=", "href=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    world.push_cache("main", &[b"layer"]).await;
    let status = json_of(world.get("/status.json").await).await;
    assert_eq!(status["caches"]["app/main"]["published"], 1);
    assert_eq!(status["layers_stored"], 1);
    for shown in status.as_object().expect("an object").keys() {
        assert!(
            html.contains(&format!("s.{shown}")),
            "the page shows no {shown}"
        );
    }
    let metrics = world.get("/metrics").await.text().await.expect("text");
    let line = r#"build_cache_gateway_layers_total{outcome="stored"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn over_tls_it_speaks_tls() {
    use rustls::pki_types::PrivateKeyDer;

    let world = World::new().await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let gateway = world.gateway.clone();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move { gateway.serve(listener, Some(acceptor)).await });
    let pem = reqwest::Certificate::from_der(made.cert.der()).expect("a certificate");
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([pem])
        .build()
        .expect("a client");
    let answer = client
        .get(format!("https://localhost:{port}/v2/"))
        .send()
        .await;
    assert_eq!(answer.expect("an answer").status(), 200);
}
