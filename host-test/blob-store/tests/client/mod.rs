//! A small client of the protocol: it signs, and otherwise sends what a test tells it to.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::sync::Once;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blob_store::{BlobStore, Options, RunningStore};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, Response};
use sha2::Sha256;

/// Signed before everything else, in this order.
const STANDARD_HEADERS: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Talks to one store.
pub struct Client {
    http: reqwest::Client,
    origin: String,
    account: String,
    key: Vec<u8>,
    /// What the client believes the time to be.
    pub clock: fn() -> SystemTime,
}

/// A store in memory with the container `cache`, and a client of it.
pub fn store() -> (RunningStore, Client) {
    let store = BlobStore::start(Options::default()).unwrap();
    store.create_container("cache").unwrap();
    let client = Client::of(&store);
    (store, client)
}

impl Client {
    /// A client that knows the store's key.
    pub fn of(store: &RunningStore) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            rustls::crypto::ring::default_provider()
                .install_default()
                .unwrap()
        });
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            http,
            origin: format!("http://{}", store.address()),
            account: store.account().to_owned(),
            key: STANDARD.decode(store.key()).unwrap(),
            clock: SystemTime::now,
        }
    }

    /// The same with another key.
    pub fn with_key(mut self, key: &[u8]) -> Self {
        self.key = key.to_vec();
        self
    }

    /// Sends a signed request. `target` follows the account, as in `cache/key?comp=block`.
    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> reqwest::Result<Response> {
        let body = body.into();
        let mut request = self.http.request(
            Method::from_bytes(method.as_bytes()).unwrap(),
            self.address(target),
        );
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if method == "PUT" {
            headers.push(("content-length", &length));
        }
        for (name, value) in self.signed(method, target, &headers) {
            request = request.header(name, value);
        }
        request.body(body).send().await
    }

    /// Sends a request that works, or shows why it did not.
    pub async fn ok(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let response = self.send(method, target, headers, body).await.unwrap();
        let status = response.status();
        if !status.is_success() {
            panic!(
                "{method} {target}: {status} {}",
                response.text().await.unwrap()
            );
        }
        response
    }

    /// Sends a request that is refused, and gives its status and its error code.
    pub async fn refused(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String) {
        let response = self.send(method, target, headers, body).await.unwrap();
        let status = response.status().as_u16();
        let code = response.headers()["x-ms-error-code"]
            .to_str()
            .unwrap()
            .to_owned();
        let text = response.text().await.unwrap();
        let has_body = method != "HEAD" && status != 304;
        assert_eq!(
            text.contains(&format!("<Code>{code}</Code>")),
            has_body,
            "{text}"
        );
        (status, code)
    }

    /// Stores a blob with one request.
    pub async fn put(&self, key: &str, body: &[u8]) {
        self.ok(
            "PUT",
            &format!("cache/{key}"),
            &[("x-ms-blob-type", "BlockBlob")],
            body,
        )
        .await;
    }

    /// Reads a blob.
    pub async fn get(&self, key: &str) -> Vec<u8> {
        self.ok("GET", &format!("cache/{key}"), &[], b"")
            .await
            .bytes()
            .await
            .unwrap()
            .to_vec()
    }

    /// The whole address of a target.
    pub fn address(&self, target: &str) -> String {
        format!("{}/{}/{target}", self.origin, self.account)
    }

    /// The headers of a request and the signature over them.
    pub fn signed(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.push(("x-ms-date".into(), httpdate::fmt_http_date((self.clock)())));
        all.push(("x-ms-version".into(), "2024-11-04".into()));
        all.sort();
        let value = |name: &str| {
            all.iter()
                .find(|(found, _)| found == name)
                .map_or("", |(_, value)| value)
        };
        let mut text = format!("{method}\n");
        for name in STANDARD_HEADERS {
            let value = value(name);
            text += if name == "content-length" && value == "0" {
                ""
            } else {
                value
            };
            text.push('\n');
        }
        for (name, value) in all.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
            text += &format!("{name}:{value}\n");
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        text += &format!("/{0}/{0}/{path}", self.account);
        let mut pairs: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        pairs.sort();
        for (name, value) in pairs {
            let value = percent_encoding::percent_decode_str(value)
                .decode_utf8()
                .unwrap();
            text += &format!("\n{name}:{value}");
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap();
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        all.push((
            "authorization".into(),
            format!("SharedKey {}:{signature}", self.account),
        ));
        all
    }
}

/// Bytes that differ from place to place.
pub fn noise(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}
