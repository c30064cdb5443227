//! A gateway of its own for each test, a store in memory behind it, and a client.

use std::sync::Arc;
use std::time::Duration;

use build_cache_gateway::memory::MemoryStore;
use build_cache_gateway::{Gateway, Notice, Options, Spool, Stats, Store};
use build_cache_host::Digest;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// More than any test puts there.
const SPOOL_BYTES: u64 = 1 << 30;

pub struct World {
    pub store: Arc<MemoryStore>,
    pub gateway: Gateway,
    pub url: String,
    pub folder: TempDir,
    pub http: reqwest::Client,
    pub notices: Arc<std::sync::Mutex<Vec<Notice>>>,
}

/// What a test may change.
pub struct Setup {
    pub options: Options,
    pub spool_bytes: u64,
    pub read_only: bool,
    /// Stores that are only read.
    pub from: Vec<Arc<MemoryStore>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: Options::default(),
            spool_bytes: SPOOL_BYTES,
            read_only: false,
            from: Vec::new(),
        }
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(MemoryStore::new(), Setup::default()).await
    }

    /// Another gateway in front of the same store.
    pub async fn again(&self) -> Self {
        Self::with(Arc::clone(&self.store), Setup::default()).await
    }

    pub async fn with(store: Arc<MemoryStore>, setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path(), setup.spool_bytes).expect("a spool");
        store.set_content(Arc::clone(&spool) as _);
        let notices = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        let stats = Stats::new(Some(Arc::new(move |notice: &Notice| {
            heard.lock().expect("notices").push(notice.clone());
        })));
        let named = |store: &Arc<MemoryStore>| {
            let store: Arc<dyn Store> = Arc::clone(store) as _;
            ("memory".to_owned(), store)
        };
        let (to, mut from) = match setup.read_only {
            false => (Some(named(&store)), Vec::new()),
            true => (None, vec![named(&store)]),
        };
        from.extend(setup.from.iter().map(named));
        let gateway = Gateway::new(setup.options, spool, to, from, stats);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serving = gateway.clone();
        tokio::spawn(async move { serving.serve(listener, None).await });
        // Another test may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client");
        Self {
            store,
            gateway,
            url: format!("http://localhost:{port}"),
            folder,
            http,
            notices,
        }
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Response {
        let url = match path.starts_with("http") {
            true => path.to_owned(),
            false => format!("{}{path}", self.url),
        };
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], "").await
    }

    pub async fn head(&self, path: &str) -> Response {
        self.send("HEAD", path, &[], "").await
    }

    /// Uploads a blob as BuildKit does, and expects that to work.
    pub async fn upload(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let answer = self.try_upload(bytes, &digest).await;
        assert_eq!(
            answer.status(),
            201,
            "{}",
            answer.text().await.expect("text")
        );
        digest
    }

    pub async fn try_upload(&self, bytes: &[u8], digest: &Digest) -> Response {
        let begun = self.send("POST", "/v2/app/blobs/uploads/", &[], "").await;
        if begun.status() != 202 {
            return begun;
        }
        let location = format!("{}?digest={digest}", location(&begun));
        self.send("PUT", &location, &[], bytes.to_vec()).await
    }

    /// Pushes a cache of these layers under `app:TAG`, each on the one before.
    /// Does not send the layers.
    pub async fn put_cache(&self, tag: &str, layers: &[&[u8]]) -> Response {
        self.upload(cache(layers).0.as_bytes()).await;
        self.put_manifest(tag, layers).await
    }

    /// The same where the config was sent before.
    pub async fn put_manifest(&self, tag: &str, layers: &[&[u8]]) -> Response {
        let (_, manifest) = cache(layers);
        let path = format!("/v2/app/manifests/{tag}");
        let headers = [("content-type", MANIFEST_TYPE)];
        self.send("PUT", &path, &headers, manifest).await
    }

    /// Pushes layers and cache, and expects that to work.
    pub async fn push_cache(&self, tag: &str, layers: &[&[u8]]) -> Digest {
        for layer in layers {
            self.upload(layer).await;
        }
        let answer = self.put_cache(tag, layers).await;
        let digest = digest_of(&answer);
        assert_eq!(
            answer.status(),
            201,
            "{}",
            answer.text().await.expect("text")
        );
        digest
    }

    /// The layers that the manifest under a tag promises.
    pub async fn promised(&self, tag: &str) -> Option<Vec<String>> {
        let answer = self.get(&format!("/v2/app/manifests/{tag}")).await;
        if answer.status() == 404 {
            return None;
        }
        assert_eq!(answer.status(), 200);
        let digest = digest_of(&answer);
        let bytes = answer.bytes().await.expect("a body");
        assert_eq!(Digest::of(&bytes), digest);
        let manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
        let layers = manifest["layers"].as_array().expect("layers").iter();
        let digest = |layer: &Value| layer["digest"].as_str().expect("a digest").to_owned();
        Some(layers.map(digest).collect())
    }

    pub fn warnings(&self) -> Vec<String> {
        let notices = self.notices.lock().expect("notices");
        notices
            .iter()
            .filter_map(|notice| match notice {
                Notice::Warning { text } => Some(text.clone()),
                _ => None,
            })
            .collect()
    }
}

/// The config and the manifest of a cache, as BuildKit writes them.
pub fn cache(layers: &[&[u8]]) -> (String, String) {
    let blobs: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({
        "layers": blobs.iter().enumerate().map(|(index, blob)| json!({
            "blob": blob,
            "parent": index as i64 - 1,
        })).collect::<Vec<_>>(),
        "records": (0..layers.len()).map(|index| json!({
            "layers": [{ "layer": index, "createdAt": "2026-01-01T00:00:00Z" }],
            "digest": Digest::of(&index.to_le_bytes()),
        })).collect::<Vec<_>>(),
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": Digest::of(config.as_bytes()),
            "size": config.len(),
        },
        "layers": layers.iter().zip(&blobs).map(|(layer, blob)| json!({
            "mediaType": LAYER_TYPE,
            "digest": blob,
            "size": layer.len(),
            "annotations": { "containerd.io/uncompressed": blob },
        })).collect::<Vec<_>>(),
    })
    .to_string();
    (config, manifest)
}

pub fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().expect("text"))
}

pub fn location(answer: &Response) -> String {
    header(answer, "location").to_owned()
}

pub fn digest_of(answer: &Response) -> Digest {
    header(answer, "docker-content-digest")
        .parse()
        .expect("a digest")
}

pub async fn json_of(answer: Response) -> Value {
    let bytes = answer.bytes().await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The code and the message of a refusal.
pub async fn refusal(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    assert_eq!(
        header(&answer, "content-type"),
        "application/json; charset=utf-8"
    );
    let body = json_of(answer).await;
    let error = &body["errors"][0];
    let text = |key: &str| error[key].as_str().expect("text").to_owned();
    (status, text("code"), text("message"))
}
