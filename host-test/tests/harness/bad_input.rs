//! What people get wrong, and what stores answer that they should not: each
//! gets a message that names the thing, and no secret.

use std::sync::Arc;

use blob_store::{Action, Fault, OperationKind, RunningStore};
use build_cache_host::{Cache, Digest, Error, Fetch, FetchOptions, OpenOptions, Registry};
use host_test::conformance::Subject;
use host_test::sample::Sample;

use crate::setup::{Attributes, attributes, azblob, azblob_attributes, azblob_on, blob_store, run};

/// A key of the right form that opens nothing.
const WRONG_KEY: &str = "d3Jvbmcga2V5IHRoYXQgb3BlbnMgbm90aGluZywgbm90IGV2ZW4gdGhpcw==";

/// Opens azblob with the attributes of a store, one of them changed.
async fn open_with(store: &RunningStore, name: &str, value: &str) -> Result<Cache, Error> {
    let mut attributes: Attributes = azblob_attributes(store, "test");
    attributes.retain(|(known, _)| known != name);
    attributes.push((name.to_owned(), value.to_owned()));
    azblob()
        .await
        .open(&attributes, OpenOptions::default())
        .await
}

#[test]
fn a_wrong_attribute_is_named_with_what_would_do() {
    run(async {
        let store = blob_store();
        let cases = [
            ("acount_url", "x", "account_url"),
            ("secret-access-key", "x", "secret_access_key"),
            ("account_url", "ftp://acct.example", "http"),
            ("account_url", "https://", "account_url"),
            ("account_name", "a b", "account"),
            ("secret_access_key", "hush! no base64", "base64"),
            ("container", "No", "container"),
            ("name", ";;", "name"),
            ("name", "a\nb", "control"),
            ("block_size", "1", "64KiB"),
            ("parallelism", "0", "1 to"),
        ];
        for (name, value, expected) in cases {
            let error = open_with(&store, name, value).await.expect_err("an error");
            assert!(
                matches!(&error, Error::InvalidAttribute { name: named, .. } if named == name),
                "{name}={value} gave {error:?}"
            );
            let text = error.to_string();
            assert!(text.contains(expected), "{name}={value} gave: {text}");
            assert!(!text.contains("hush"), "{text}");
        }
    });
}

#[test]
fn a_missing_attribute_is_named_with_its_variable() {
    run(async {
        let opened = azblob().await.open(&[], OpenOptions::default()).await;
        let error = opened.expect_err("an error").to_string();
        for part in ["account_url", "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL"] {
            assert!(error.contains(part), "{error}");
        }
    });
}

#[test]
fn a_wrong_key_is_said_and_not_shown() {
    run(async {
        let store = blob_store();
        store.create_container("test").expect("a container");
        let sample = Sample::of_sizes([10]);
        let cache = open_with(&store, "secret_access_key", WRONG_KEY).await;
        let cache = cache.expect("a key of the right form");
        for error in [
            cache.export(&sample.manifest).await.err(),
            cache.import().await.err(),
            cache.read(&sample.digests()[0], 0, None).await.err(),
            cache.blobs().await.err(),
        ] {
            let error = error.expect("a refusal");
            assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
            assert!(!format!("{error:?}").contains(WRONG_KEY), "{error:?}");
            assert!(
                error.to_string().contains("AuthenticationFailed"),
                "{error}"
            );
        }
    });
}

#[test]
fn an_unknown_type_is_named_with_those_that_there_are() {
    run(async {
        let registry = Registry::default();
        registry.install(azblob().await);
        let error = registry.get("s3").expect_err("an error").to_string();
        assert!(
            error.contains("`s3`") && error.contains("azblob"),
            "{error}"
        );
    });
}

#[test]
fn a_store_that_is_not_there_is_named() {
    run(async {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let attributes = attributes([
            ("account_url", &format!("http://{address}/devstoreaccount1")),
            ("secret_access_key", WRONG_KEY),
            ("max_retries", "1"),
        ]);
        let cache = azblob()
            .await
            .open(&attributes, OpenOptions::default())
            .await;
        let error = cache.expect("open").import().await.expect_err("an error");
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    });
}

#[test]
fn a_page_of_a_proxy_is_no_answer_of_the_store() {
    run(async {
        for status in [200, 403, 404, 407, 503] {
            let store = blob_store();
            let subject = azblob_on(&store).await.with("max_retries", "1");
            let page = Fault::new(Action::ProxyPage { status });
            store.faults().push(page);
            let sample = Sample::of_sizes([10]);
            let cache = subject.open(&["app"], sample.clone()).await.expect("open");
            let exported = cache.export(&sample.manifest).await;
            let error = exported.expect_err("a page is no store").to_string();
            assert!(error.contains("127.0.0.1"), "{status}: {error}");
            assert!(!error.contains("<html"), "{status}: {error}");

            let page_is_a_cache = match cache.import().await {
                Err(_) => false,
                Ok(imported) => imported.iter().any(|one| one.outcome.is_ok()),
            };
            assert!(!page_is_a_cache, "a page with {status} is a cache");
        }
    });
}

/// What an import of one stored manifest says is wrong.
async fn import_of(store: &Arc<RunningStore>, manifest: &str) -> String {
    let subject = azblob_on(store).await;
    let raw = subject.back_door().expect("a back door").store();
    let bytes = manifest.to_owned().into_bytes().into();
    raw.put("manifests/bad", bytes).await.expect("a manifest");
    subject
        .store("good", &Sample::of_sizes([5]))
        .await
        .expect("a good cache");

    let cache = subject.open_to_read(&["bad", "good"]).await.expect("open");
    let mut imported = cache.import().await.expect("an import");
    assert_eq!(imported.len(), 2, "{manifest}");
    assert!(
        imported[1].outcome.is_ok(),
        "the good one beside {manifest}"
    );
    match imported.remove(0).outcome {
        Err(Error::Corrupt(text)) => text,
        other => panic!("{manifest} gave {other:?}"),
    }
}

/// A layer of a stored manifest, whose blob follows from its parent.
fn layer(parent: i64, size: u64) -> String {
    let blob = Digest::of(&parent.to_le_bytes());
    format!(
        r#"{{"blob":"{blob}","parent":{parent},"annotations":{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","diffID":"{blob}","size":{size},"createdAt":"2026-11-23T14:14:42Z"}}}}"#
    )
}

#[test]
fn a_layer_that_a_manifest_does_not_describe_costs_no_other_layer() {
    let good = layer(-1, 5);
    let bad = layer(0, 10);
    let blob = Digest::of(&0_i64.to_le_bytes());
    let (bare, _) = bad.split_once(",\"annotations\"").expect("annotations");
    run(async {
        let store = blob_store();
        let subject = azblob_on(&store).await;
        let back_door = subject.back_door().expect("a back door");
        let base = Digest::of(&(-1_i64).to_le_bytes());
        back_door.put_layer(&base, "bytes").await.expect("a layer");
        back_door
            .put_layer(&blob, "0123456789")
            .await
            .expect("a layer");
        for bad in [
            format!("{bare}}}"),
            format!("{bare},\"annotations\":null}}"),
            "null".to_owned(),
            bad.replace("\"size\":10", "\"size\":0"),
            bad.replace("diffID", "otherID"),
            bad.replace("sha256:", "sha256:../"),
        ] {
            let manifest = format!(
                r#"{{"layers":[{good},{bad}],"records":[{{"digest":"sha256:a","layers":[{{"layer":1}}]}}]}}"#
            );
            let put = back_door
                .store()
                .put("manifests/app", manifest.into_bytes().into());
            put.await.expect("a manifest");
            let cache = subject.open_to_read(&["app"]).await.expect("open");
            let mut imported = cache.import().await.expect("an import");
            let loaded = imported.remove(0).outcome.expect("a cache");
            assert_eq!(loaded.missing.len(), 1, "{bad}");
            assert_ne!(loaded.missing[0], base, "{bad}");
            let rest = loaded.manifest.without_layers(&loaded.missing);
            let rest = rest.expect("valid").manifest;
            rest.validate_for_buildkit().expect("a cache");
            assert_eq!((rest.layers.len(), &*rest.records), (1, "[]"), "{bad}");
        }
    });
}

#[test]
fn a_manifest_that_cannot_be_used_says_why_and_others_still_can() {
    let with_layers =
        |layers: &[String]| format!(r#"{{"layers":[{}],"records":[]}}"#, layers.join(","));
    let with_records =
        |records: &str| format!(r#"{{"layers":[{}],"records":{records}}}"#, layer(-1, 10));
    let cases = [
        "<html><body>404</body></html>".to_owned(),
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        with_layers(&[layer(7, 10)]),
        with_layers(&[layer(-1, 10), layer(2, 10), layer(1, 10)]),
        with_records(
            r#"[{"digest":"sha256:a","layers":[{"layer":3,"createdAt":"2026-11-23T14:14:42Z"}]}]"#,
        ),
        with_records(r#"[{"digest":"sha256:a","inputs":[[{"link":9}]]}]"#),
        with_records(r#"[{"digest":"sha256:a","inputs":[[{"link":0}]]}]"#),
        with_records(r#"{"digest":1}"#),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
    ];
    run(async {
        let store = blob_store();
        for manifest in &cases {
            let text = import_of(&store, manifest).await;
            assert!(!text.is_empty() && !text.contains("<html"), "{text}");
        }
    });
}

#[test]
fn a_cache_that_buildkit_would_choke_on_is_not_stored() {
    run(async {
        let store = blob_store();
        let subject: Subject = azblob_on(&store).await;
        let good = Sample::of_sizes([10, 20]);
        let cache = subject.open(&["app"], good.clone()).await.expect("open");
        let spoils: [fn(&mut Sample); 4] = [
            |sample| sample.manifest.layers[1].media_type.clear(),
            |sample| sample.manifest.layers[1].parent = Some(9),
            |sample| sample.manifest.layers[0].parent = Some(1),
            |sample| sample.manifest.records = "no JSON".to_owned(),
        ];
        for spoil in spoils {
            let mut bad = good.clone();
            spoil(&mut bad);
            cache.export(&bad.manifest).await.expect_err("a refusal");
        }
        assert_eq!(store.stats().of(OperationKind::PutBlob), 0);
    });
}

/// Linux has a file for it: every write there finds no space left.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_with_the_file() {
    const FULL: &str = "/dev/full";
    run(async {
        let subject = azblob_on(&blob_store()).await;
        // In one request, and in ranges side by side.
        let sample = Sample::of_sizes([1000, 20 << 20]);
        subject.store("app", &sample).await.expect("an export");
        let cache = subject.open_to_read(&["app"]).await.expect("open");
        let fetch = Fetch::new(cache, FetchOptions::default());
        for layer in &sample.manifest.layers {
            let file = std::fs::File::options().read(true).write(true).open(FULL);
            let file = file.expect("the file");
            let fetched = fetch
                .layer(&layer.blob, layer.size, file, FULL.as_ref(), &|_| ())
                .await;
            let error = fetched.expect_err("no space");
            assert!(matches!(error, Error::File { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(FULL) && text.contains("space"), "{text}");
        }
    });
}
