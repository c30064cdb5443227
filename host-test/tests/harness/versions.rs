//! Which hosts run which components: `wit/versions.md` says the rule, and this
//! host keeps to it.

use std::sync::{Arc, Mutex};

use build_cache_host::{
    Cache, Contract, Digest, Error, Event, Grants, OpenOptions, Plugin, Precondition,
};
use futures::TryStreamExt;
use host_test::conformance;
use host_test::fixtures::{self, workspace};
use host_test::sample::Sample;
use wit_parser::Resolve;

use crate::refused_components::component;
use crate::setup::{attributes, host, run};

/// The published texts, and their digests.
const FROZEN: [(&str, &str); 1] = [(
    "0.1.0/plugin.wit",
    "sha256:b6ebbe4c49bcd05edc0f077c986668559eac97e4cd0f1bd4ea1d45a45207ddc1",
)];

async fn old() -> Plugin {
    let plugin = host().load(fixtures::component("old")).await;
    plugin.expect("a component of 0.1 runs")
}

/// A cache of the component of 0.1, which holds this sample once it is exported.
async fn open(sample: &Sample) -> (Cache, Arc<Mutex<Vec<Event>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let options = OpenOptions {
        grants: Grants::default(),
        content: Some(Arc::new(sample.clone())),
        on_event: Some(Arc::new({
            let events = Arc::clone(&events);
            move |event| events.lock().expect("no panic").push(event)
        })),
        identity: None,
    };
    let plugin = old().await;
    let cache = plugin.open(&attributes([("name", "app")]), options).await;
    (cache.expect("a cache"), events)
}

#[test]
fn what_was_published_never_changes() {
    for (file, digest) in FROZEN {
        let path = workspace().join("wit/frozen").join(file);
        let text = std::fs::read(&path).expect("a frozen text");
        assert_eq!(Digest::of(&text).to_string(), digest, "{file}");
    }
}

#[test]
fn a_component_of_0_1_stores_loads_reads_lists_and_removes() {
    run(async {
        let sample = Sample::of_sizes([1000, 70_000]);
        let (cache, events) = open(&sample).await;
        let summary = cache.export(&sample.manifest).await.expect("an export");
        assert_eq!((summary.layers_stored, summary.bytes_stored), (2, 71_000));
        conformance::check_holds(&cache, &sample.manifest)
            .await
            .expect("the cache comes back");
        let checked = cache.check().await.expect("a check");
        assert_eq!(checked.store, "the memory of the plugin");

        let manifests = cache.manifests().await.expect("a listing");
        let manifests: Vec<_> = manifests.try_collect().await.expect("all of it");
        let blobs = cache.blobs().await.expect("a listing");
        let blobs: Vec<_> = blobs.try_collect().await.expect("all of it");
        assert_eq!((manifests.len(), blobs.len()), (1, 2));
        assert_eq!((manifests[0].used, blobs[0].used), (None, None));
        assert!(cache.remove_blob(&blobs[0]).await.expect("a removal"));
        assert!(!cache.remove_blob(&blobs[0]).await.expect("a removal"));
        assert!(cache.remove_manifest(&manifests[0]).await.expect("one"));
        assert!(cache.import().await.expect("an import").is_empty());

        let events = events.lock().expect("no panic").clone();
        let stored = Event::LayerStored(sample.digests()[0].clone());
        assert!(events.contains(&stored), "{events:?}");
        let named = Event::ManifestStored("app".into());
        assert_eq!(events.last(), Some(&named), "{events:?}");
        let bytes = events.iter().map(|event| match event {
            Event::LayerRead { bytes, .. } => *bytes,
            _ => 0,
        });
        assert_eq!(bytes.sum::<u64>(), 71_000);
    });
}

#[test]
fn a_failure_of_a_component_of_0_1_keeps_its_kind() {
    run(async {
        let plugin = old().await;
        let opened = plugin
            .open(&attributes([("nme", "app")]), OpenOptions::default())
            .await;
        let error = opened.map(drop).expect_err("an unknown attribute");
        let Error::InvalidAttribute { name, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(name, "nme");

        let (cache, _) = open(&Sample::default()).await;
        let error = cache.export(&Sample::of_sizes([9]).manifest).await;
        let error = error.expect_err("content that is not there");
        assert!(matches!(error, Error::Content(_)), "{error:?}");
    });
}

#[test]
fn what_a_component_of_0_1_lacks_is_unsupported_and_known_beforehand() {
    run(async {
        let plugin = old().await;
        assert_eq!(plugin.contract(), Contract::V0_1);
        assert!(plugin.contract().lacks().contains(&"publish"));

        let sample = Sample::of_sizes([1]);
        let (cache, _) = open(&sample).await;
        let blobs = sample.digests();
        let names = ["app".to_owned()];
        let published = cache.publish(&names, &sample.manifest, Precondition::Any, None);
        let outcomes = [
            cache.find(&blobs).await.map(drop),
            cache.store(&blobs[0], 1).await.map(drop),
            cache.touch(&blobs).await.map(drop),
            cache.configured_names().await.map(drop),
            cache.load("app").await.map(drop),
            published.await,
        ];
        assert_eq!(outcomes.len(), plugin.contract().lacks().len());
        for outcome in outcomes {
            let error = outcome.expect_err("0.1 has no such call");
            assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("0.1") && text.contains("0.2"), "{text}");
        }
    });
}

/// A component of a version of the contract, in which every function traps, with
/// another patch version.
fn with_patch(folder: &str, from: &str, to: &str) -> Vec<u8> {
    let folder = workspace().join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the contract")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == "wit"))
        .collect();
    files.sort();
    // One text: a package is declared once, and its docs come first.
    let mut text = String::new();
    for file in files {
        let part = std::fs::read_to_string(file).expect("text");
        let (before, after) = part.split_once("package ").expect("a package");
        let (_, items) = after.split_once(";\n").expect("a package");
        let has_docs = before.contains("///");
        text = match has_docs {
            true => format!("{items}{text}"),
            false => format!("{text}{items}"),
        };
    }
    let package = format!("package build-cache:plugin@{to};\n");
    assert!(!text.contains(&format!("@{from}")), "{from} is elsewhere");
    component(Resolve::default(), "contract.wit", &(package + &text))
}

#[test]
fn a_component_of_another_patch_version_is_linked_and_run() {
    run(async {
        for (folder, from, to) in [
            ("wit/frozen/0.1.0", "0.1.0", "0.1.0"),
            ("wit/frozen/0.1.0", "0.1.0", "0.1.7"),
            ("wit", "0.2.0", "0.2.0"),
            ("wit", "0.2.0", "0.2.9"),
        ] {
            let bytes = with_patch(folder, from, to);
            let loaded = host().load_bytes("patched.wasm", bytes).await;
            // It is asked what it is, and traps: so it was linked.
            let error = loaded.expect_err("every function traps");
            assert!(
                matches!(error, Error::PluginFailed { .. }),
                "{to}: {error:?}"
            );
        }
    });
}

#[test]
fn a_component_of_a_later_minor_version_is_refused_by_both_versions() {
    run(async {
        let bytes = with_patch("wit", "0.2.0", "0.3.0");
        let loaded = host().load_bytes("later.wasm", bytes).await;
        let error = loaded.expect_err("a later version");
        assert!(matches!(error, Error::NotABackend { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("@0.3.0") && text.contains("0.1 and 0.2"),
            "{text}"
        );
    });
}
