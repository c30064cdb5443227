//! What a live BuildKit sent to a registry, sent again: the same statuses, the
//! same bytes. The recordings do not have the layers' bytes, so that layers of
//! the same lengths stand in for them, with other digests throughout.

use std::collections::HashMap;
use std::sync::Arc;

use build_cache_host::Digest;
use serde::Deserialize;

use crate::world::{Setup, World, header, location};

#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Option<String>,
    body_bytes: usize,
    body_sha256: Option<String>,
    status: u16,
    answer_headers: HashMap<String, String>,
    answer: Option<String>,
}

/// Replays recordings against one registry.
#[derive(Default)]
struct Replay {
    /// The digits of a recorded digest and of the one that stands in for it.
    digests: Vec<(String, String)>,
    /// The layers that stand in for recorded ones.
    layers: HashMap<String, Vec<u8>>,
    /// Recorded uploads, and where they are now.
    uploads: HashMap<String, String>,
}

fn recording(name: &str) -> Vec<Recorded> {
    let path = format!("{}/tests/fixtures/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a recording");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a request"))
        .collect()
}

impl Replay {
    /// The text with the digests that hold now.
    fn now(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (recorded, now) in &self.digests {
            text = text.replace(recorded, now);
        }
        text
    }

    fn stands_for(&mut self, recorded: &str, bytes: &[u8]) {
        let now = Digest::of(bytes).hex();
        if !self.digests.iter().any(|(known, _)| known == recorded) {
            self.digests.push((recorded.to_owned(), now));
        }
    }

    fn body(&mut self, request: &Recorded) -> Vec<u8> {
        let Some(recorded) = &request.body_sha256 else {
            assert_eq!(request.body_bytes, 0);
            return Vec::new();
        };
        let bytes = match &request.body {
            Some(body) => self.now(body).into_bytes(),
            None => {
                let seed = recorded.as_bytes();
                let bytes = (0..request.body_bytes).map(|at| seed[at % 64] ^ at as u8);
                bytes.collect()
            }
        };
        assert_eq!(bytes.len(), request.body_bytes);
        self.stands_for(recorded, &bytes);
        if request.body.is_none() {
            self.layers.insert(recorded.clone(), bytes.clone());
        }
        bytes
    }

    /// Where the request goes now.
    fn path(&self, request: &Recorded) -> String {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if request.method == "PUT" && path.contains("/uploads/") {
            let (_, digest) = query.split_once("digest=").expect("a digest");
            return self.now(&format!("{}?digest={digest}", self.uploads[path]));
        }
        self.now(&request.path)
    }

    async fn run(&mut self, name: &str, world: &World) {
        for (index, request) in recording(name).iter().enumerate() {
            let what = format!(
                "{name}, request {index}: {} {}",
                request.method, request.path
            );
            let body = self.body(request);
            let path = self.path(request);
            let kept = ["Accept", "Content-Type", "User-Agent", "Accept-Encoding"];
            let headers: Vec<_> = request
                .headers
                .iter()
                .filter(|(name, _)| kept.contains(&name.as_str()))
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let answer = world.send(&request.method, &path, &headers, body).await;
            assert_eq!(answer.status(), request.status, "{what}");
            for name in [
                "Docker-Content-Digest",
                "Accept-Ranges",
                "Docker-Distribution-Api-Version",
            ] {
                if let Some(expected) = request.answer_headers.get(name) {
                    assert_eq!(header(&answer, name), self.now(expected), "{what}: {name}");
                }
            }
            if request.status < 300 {
                for name in ["Content-Type", "Content-Length"] {
                    let expected = request.answer_headers.get(name);
                    let expected = expected.map_or("", String::as_str);
                    assert_eq!(header(&answer, name), expected, "{what}: {name}");
                }
                assert_eq!(header(&answer, "content-encoding"), "", "{what}");
            }
            if request.status == 202 {
                let recorded = &request.answer_headers["Location"];
                let recorded = recorded.split_once("/v2/").expect("a path").1;
                let recorded = recorded.split('?').next().unwrap_or_default();
                self.uploads
                    .insert(format!("/v2/{recorded}"), location(&answer));
            }
            if request.method == "GET" {
                let got = answer.bytes().await.expect("a body");
                if let Some(expected) = &request.answer {
                    assert_eq!(got, self.now(expected), "{what}");
                } else {
                    let blob = request.path.rsplit(':').next().unwrap_or_default();
                    assert!(got == self.layers[blob], "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn everything_that_buildkit_sent_is_answered_as_a_registry_answered_it() {
    let world = World::new().await;
    let mut replay = Replay::default();
    for name in [
        "1-export-cold",
        "2-export-warm",
        "3-export-index-form",
        "4-export-docker-media-types",
        "5-import-all-hit-no-output",
        "6-import-with-output",
        "7-import-absent-name",
    ] {
        replay.run(name, &world).await;
    }
    assert_eq!(world.warnings(), [""; 0]);
    let names = [
        "cache/app/main",
        "cache/app/index",
        "cache/app/docker",
        "cache/app/again",
    ];
    let manifests = names.map(|name| world.store.manifest(name).expect(name));
    for (name, manifest) in names.iter().zip(&manifests) {
        assert_eq!(
            manifest, &manifests[0],
            "{name} is the same cache in another form"
        );
    }
    assert_eq!(world.store.layers(), 10, "the configs are no layers");
}

#[tokio::test]
async fn a_gateway_that_starts_anew_gives_the_same_bytes() {
    let first = World::new().await;
    let mut replay = Replay::default();
    replay.run("1-export-cold", &first).await;
    for name in [
        "5-import-all-hit-no-output",
        "6-import-with-output",
        "7-import-absent-name",
    ] {
        let world = first.again().await;
        replay.run(name, &world).await;
        assert_eq!(world.warnings(), [""; 0]);
    }
}

#[tokio::test]
async fn a_cache_is_read_from_a_store_that_is_not_pushed_to() {
    let first = World::new().await;
    let mut replay = Replay::default();
    replay.run("1-export-cold", &first).await;
    let setup = Setup {
        read_only: true,
        from: vec![Arc::clone(&first.store)],
        ..Setup::default()
    };
    let empty = build_cache_gateway::memory::MemoryStore::new();
    let world = World::with(empty, setup).await;
    replay.run("6-import-with-output", &world).await;
}

#[tokio::test]
async fn a_warm_export_costs_the_store_the_freshness_of_the_name() {
    let first = World::new().await;
    let mut replay = Replay::default();
    replay.run("1-export-cold", &first).await;
    // A job of its own: the import, then an export with nothing to send.
    let world = first.again().await;
    let before = world.store.calls();
    replay.run("6-import-with-output", &world).await;
    let imported = world.store.calls();
    assert_eq!(imported.load - before.load, 1);
    assert_eq!(imported.find - before.find, 1, "all layers at once");
    replay.run("2-export-warm", &world).await;
    let exported = world.store.calls();
    assert_eq!(exported.load - imported.load, 1, "the name");
    assert_eq!(exported.find, imported.find);
    assert_eq!(exported.list, imported.list);
    assert_eq!(exported.store, imported.store);
    assert_eq!(exported.publish, imported.publish);
}
