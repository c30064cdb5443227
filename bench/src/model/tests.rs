//! The model against what a real BuildKit sent, and against the store.

use std::cell::RefCell;
use std::path::Path;

use blob_store::{BlobStore, OperationKind, Options};
use serde_json::Value;

use super::*;
use bench_contest::Place;

/// A request of a recording, told so that the model's can be compared.
fn recorded(entry: &Value) -> (String, u16) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = &entry["request_headers"];
    let (_, resource) = entry["url"]
        .as_str()
        .and_then(|url| url.split_once("/buildkit-cache"))
        .expect("an address in the container");
    // The ids of blocks are random.
    let resource = match resource.split_once("?blockid=") {
        Some((blob, _)) => format!("{blob}?block"),
        None => resource.to_owned(),
    };
    let told = format!(
        "{} {resource} {} {}",
        text(&entry["method"]),
        text(&headers["if-none-match"]),
        text(&headers["content-length"]),
    );
    (told, entry["status"].as_u64().expect("a status") as u16)
}

/// The same of the model's.
fn told(request: &Request) -> String {
    let layer_path = |layer: &Layer| format!("/blobs%2F{}", layer.digest);
    let key_path = |key: &str| format!("/{}", key.replace('/', "%2F"));
    match request {
        Request::GetContainer => "GET ?restype=container  ".to_owned(),
        Request::PutContainer => "PUT ?restype=container  0".to_owned(),
        Request::Head(key) => format!("HEAD {}  ", key_path(key)),
        Request::Get(key) => format!("GET {}  ", key_path(key)),
        Request::PutLayer(layer) => format!("PUT {} * {}", layer_path(layer), layer.size),
        Request::PutBlock { layer, number } => {
            let length = BLOCK_BYTES.min(layer.size - number * BLOCK_BYTES);
            format!("PUT {}?block  {length}", layer_path(layer))
        }
        // Of 7 blocks, with BuildKit's ids, as in the recording.
        Request::PutBlockList(layer) => {
            format!("PUT {}?comp=blocklist * 797", layer_path(layer))
        }
        Request::PutManifest { key, text } => format!("PUT {}  {}", key_path(key), text.len()),
    }
}

/// Answers as the store in the recording did, and keeps what was asked.
struct Script {
    answers: RefCell<Vec<u16>>,
    manifest: Bytes,
    asked: RefCell<Vec<String>>,
}

impl Wire for Script {
    async fn send(&self, request: Request) -> Result<Answer> {
        self.asked.borrow_mut().push(told(&request));
        let status = self.answers.borrow_mut().remove(0);
        let body = match request {
            Request::Get(_) => self.manifest.clone(),
            _ => Bytes::new(),
        };
        Ok(Answer { status, body })
    }
}

fn recording(name: &str) -> (Vec<String>, Script) {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-test/fixtures/buildkit/rest-trace");
    let text = std::fs::read_to_string(folder.join(name)).expect("a recording");
    let entries = text.lines().map(|line| {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        recorded(&entry)
    });
    let (asked, answers) = entries.unzip();
    let manifest = std::fs::read(folder.join("demo-manifest.json")).expect("a manifest");
    let script = Script {
        answers: RefCell::new(answers),
        manifest: manifest.into(),
        asked: RefCell::default(),
    };
    (asked, script)
}

#[tokio::test]
async fn an_export_asks_what_buildkit_asked() {
    let (expected, script) = recording("demo-export.jsonl");
    let layers = Set::layers_of(&script.manifest).expect("layers");
    let manifest = Bytes::from(vec![b' '; 7221]);
    export(&script, &layers, &["demo".to_owned()], &manifest)
        .await
        .expect("an export");
    assert_eq!(script.asked.into_inner(), expected);
}

#[tokio::test]
async fn an_import_asks_what_buildkit_asked_but_in_the_order_of_the_chain() {
    let (expected, script) = recording("demo-import.jsonl");
    let wanted: Vec<&str> = expected.iter().map(String::as_str).collect();
    let mut manifest: Value = serde_json::from_slice(&script.manifest).expect("JSON");
    // The recording's chain is of six of the layers.
    manifest["layers"]
        .as_array_mut()
        .expect("layers")
        .retain(|layer| {
            let blob = layer["blob"].as_str().expect("a digest");
            wanted.iter().any(|asked| asked.contains(blob))
        });
    let script = Script {
        manifest: manifest.to_string().into(),
        ..script
    };
    import(&script, "demo").await.expect("an import");
    let mut asked = script.asked.into_inner();
    assert_eq!(asked[..3], wanted[..3]);
    let mut wanted = wanted;
    asked.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(asked, wanted);
}

#[tokio::test]
async fn the_store_takes_the_models_requests() {
    let store = BlobStore::start(Options::default()).expect("a store");
    let folder = tempfile::tempdir().expect("a folder");
    let set = Set::in_folder(folder.path(), &[100, 70 << 20]).expect("layers");
    let place = Place {
        account_url: store.url(),
        account: store.account().to_owned(),
        key: store.key(),
        container: "cache".to_owned(),
    };
    let task = Task {
        place,
        set: folder.path().to_owned(),
        names: vec!["one".to_owned()],
        work: Work::Push,
        limits: crate::ours::LIMITS,
    };
    perform(&task).await.expect("a cold export");
    for layer in &set.layers {
        let key = Task::layer_key(&layer.digest);
        let stored = store.blob("cache", &key).expect("a container");
        let read = layer.read(folder.path(), 0, layer.size).expect("bytes");
        assert!(stored.expect("a blob") == read);
    }
    assert_eq!(store.stats().of(OperationKind::PutBlock), 3);

    store.reset_stats();
    perform(&task).await.expect("a warm export");
    assert_eq!(store.stats().requests(), 1 + 2 + 1);

    store.reset_stats();
    let import = Task {
        work: Work::Import,
        ..task
    };
    perform(&import).await.expect("an import");
    assert_eq!(store.stats().requests(), 1 + 2 + 2);
}
