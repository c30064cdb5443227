//! Answers that no backend may give.

use build_cache_host::{Cache, Digest, Error, Fetch, FetchOptions, Precondition};
use futures::StreamExt;
use host_test::sample::Sample;

use super::{assert_failed, beside_others, open, orders};
use crate::setup::run;

/// Opens it to tell this lie in this call.
async fn liar(lie: &str, at: &str) -> Cache {
    open(orders(lie, at, [])).await.expect("a cache")
}

#[test]
fn a_manifest_that_cannot_be_is_refused_and_the_plugin_named() {
    run(async {
        for (lie, reason) in [
            ("wrong-index", "lies on layer 4294967295"),
            ("cycle", "lies on itself"),
            ("bad-digest", "is not a digest"),
            ("bad-media-type", "is not a media type"),
            ("bad-time", "is not a time"),
            ("bad-records", "the records"),
            ("bad-missing", "is not a digest"),
        ] {
            let cache = liar(lie, "import").await;
            let imported = beside_others(cache.import()).await;
            let mut imported = imported.expect("an answer");
            let outcome = imported.pop().expect("a name").outcome;
            let error = outcome.expect_err(lie);
            assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("hostile.wasm"), "{text}");
            assert!(text.contains(reason), "{lie}: {text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    });
}

#[test]
fn an_answer_that_is_too_large_ends_the_plugin() {
    run(async {
        for lie in ["huge-answer", "many-layers"] {
            let cache = liar(lie, "import").await;
            let error = beside_others(cache.import()).await.expect_err(lie);
            assert_failed(&error, "");
        }
    });
}

#[test]
fn a_layer_that_never_ends_is_no_layer() {
    run(async {
        let cache = liar("endless", "read").await;
        let error = beside_others(fetch(&cache, 1000)).await;
        assert!(matches!(error, Error::LayerDamaged { .. }), "{error:?}");
    });
}

#[test]
fn a_layer_of_an_absurd_size_is_read_no_further_than_it_goes() {
    run(async {
        let cache = liar("huge-size", "import").await;
        let imported = cache.import().await.expect("an answer");
        let Some(Ok(loaded)) = imported.into_iter().map(|i| i.outcome).next() else {
            // Refused at once is as good.
            return;
        };
        assert_eq!(loaded.manifest.layers[0].size, u64::MAX);
        let error = beside_others(fetch(&cache, u64::MAX)).await;
        assert!(matches!(error, Error::LayerLost(_)), "{error:?}");
    });
}

/// Fetches the empty layer, which is said to have this size.
async fn fetch(cache: &Cache, size: u64) -> Error {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let fetch = Fetch::new(cache.clone(), FetchOptions::default());
    let opened = file.reopen().expect("the file");
    let blob = Digest::of(b"");
    let fetched = fetch.layer(&blob, size, opened, file.path(), &|_| ());
    fetched.await.expect_err("no such layer")
}

#[test]
fn a_summary_that_claims_the_impossible_is_refused() {
    run(async {
        let sample = Sample::of_sizes([10, 20]);
        let cache = liar("lying-summary", "export").await;
        let exported = beside_others(cache.export(&sample.manifest)).await;
        let error = exported.expect_err("a lie");
        assert_failed(&error, "there are 2 layers of 30 bytes");
    });
}

#[test]
fn a_listing_that_never_ends_is_cut_off() {
    run(async {
        let cache = liar("endless", "manifests").await;
        let listed = async {
            let mut items = cache.manifests().await.expect("a listing");
            loop {
                if let Err(error) = items.next().await.expect("it never ends") {
                    return error;
                }
            }
        };
        let error = beside_others(listed).await;
        assert_failed(&error, "lists more than 1048576 bytes");
    });
}

#[test]
fn a_listing_of_what_is_no_digest_is_refused() {
    run(async {
        let cache = liar("escapes", "blobs").await;
        let mut items = cache.blobs().await.expect("a listing");
        let error = items.next().await.expect("an item").expect_err("no digest");
        assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("hostile.wasm"), "{text}");
        assert!(!text.contains(char::is_control), "{text:?}");
    });
}

#[test]
fn an_answer_of_another_length_or_with_a_wild_version_is_refused() {
    run(async {
        let blobs = [Digest::of(b"a"), Digest::of(b"b")];
        for (lie, reason) in [
            ("too-few", "about 2 layers and answered for 0"),
            ("too-many", "about 2 layers and answered for 3"),
            ("bad-version", "a version"),
            ("long-version", "a version of 1048576 bytes"),
        ] {
            let cache = liar(lie, "find").await;
            let error = beside_others(cache.find(&blobs)).await.expect_err(lie);
            assert_failed(&error, reason);
        }
        let cache = liar("too-many", "touch").await;
        let error = beside_others(cache.touch(&blobs)).await.expect_err("a lie");
        assert_failed(&error, "about 2 layers and answered for 3");
    });
}

#[test]
fn a_name_that_cannot_be_is_refused() {
    run(async {
        for lie in ["cycle", "bad-digest", "wrong-index", "bad-records"] {
            let cache = liar(lie, "load").await;
            let error = beside_others(cache.load("app")).await.expect_err(lie);
            assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
        }
        let cache = liar("bad-version", "load").await;
        let error = beside_others(cache.load("app")).await.expect_err("a lie");
        assert_failed(&error, "a version");
        let cache = liar("many-names", "configured").await;
        let error = beside_others(cache.configured_names()).await;
        assert_failed(
            &error.expect_err("a lie"),
            "names take more than 1048576 bytes",
        );
    });
}

#[test]
fn missing_layers_are_those_of_the_manifest() {
    run(async {
        let sample = Sample::of_sizes([10, 20]);
        let names = ["app".to_owned()];
        for (lie, reason) in [
            ("none-missing", "names none"),
            ("foreign-missing", "not a layer of the manifest"),
        ] {
            let cache = liar(lie, "publish").await;
            let published = cache.publish(&names, &sample.manifest, Precondition::Any, None);
            let error = beside_others(published).await.expect_err(lie);
            assert_failed(&error, reason);
        }
        let cache = liar("bad-missing", "publish").await;
        let published = cache.publish(&names, &sample.manifest, Precondition::Any, None);
        let error = beside_others(published).await.expect_err("a lie");
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
    });
}
