//! One bad blob costs one step, through the component and the host: on our own
//! store, which can be made to refuse one blob, and to show directories.

use std::sync::Arc;

use blob_store::{Action, Fault, OperationKind, RunningStore};
use build_cache_host::{Digest, Error, Event};
use host_test::conformance::{Subject, load, read};
use host_test::sample::{Sample, unique};
use host_test::{Failure, Outcome};

use crate::setup::{attributes, azblob, azblob_attributes, blob_store, run};

/// Enough layers for a listing.
const MANY: u64 = 250;

/// A store, azblob on a container of it, and the container.
async fn world() -> (Arc<RunningStore>, Subject, String) {
    let (store, container) = (blob_store(), unique("one-blob"));
    store.create_container(&container).expect("a container");
    let subject = Subject::new(azblob().await, azblob_attributes(&store, &container));
    (store, subject, container)
}

fn key(blob: &Digest) -> String {
    format!("blobs/{blob}")
}

/// A refusal of all that is done with one blob.
fn refuse(blob: &Digest, status: u16, code: &str) -> Fault {
    Fault::new(Action::refuse_with(status, code)).key(blob.hex())
}

/// The error of a call that must fail.
fn error<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Error {
    outcome.expect_err("it must fail")
}

#[test]
fn a_layer_that_is_refused_is_missing_and_the_others_are_not() {
    run(async {
        for (status, code) in [
            (409, "BlobArchived"),
            (409, "BlobUsesCustomerSpecifiedEncryption"),
            (403, "AuthorizationPermissionMismatch"),
        ] {
            let (store, subject, _) = world().await;
            let sample = Sample::of_sizes([100, 200, 300]);
            subject.store("app", &sample).await.expect("stored");
            let blob = &sample.digests()[1];
            store.faults().push(refuse(blob, status, code));

            let opened = subject.open_and_hear(&["app"], Sample::default()).await;
            let (cache, heard) = opened.expect("a cache");
            let loaded = load(&cache).await.expect("a cache");
            assert_eq!(loaded.missing, std::slice::from_ref(blob), "{code}");
            let is_named = heard.events().iter().any(|event| {
                matches!(event, Event::Warning(text)
                    if text.contains(code) && text.contains(&blob.hex()))
            });
            assert!(is_named, "{code}: {:?}", heard.events());
            let bytes = read(&cache, blob, 0, None).await.expect("an answer");
            assert_eq!(bytes, None, "{code}");
        }
    });
}

#[test]
fn what_is_refused_of_every_blob_is_one_error() {
    run(async {
        for count in [3, MANY] {
            let (store, subject, _) = world().await;
            let sample = Sample::of_sizes((0..count).map(|number| 100 + number));
            subject.store("app", &sample).await.expect("stored");
            let mismatch = Action::refuse_with(403, "AuthorizationPermissionMismatch");
            store.faults().push(Fault::new(mismatch).key("blobs/"));
            let no_listing = Action::refuse_with(403, "AuthorizationPermissionMismatch");
            let no_listing = Fault::new(no_listing).on(OperationKind::ListBlobs);
            store.faults().push(no_listing);
            store.reset_stats();

            let cache = subject.open_to_read(&["app"]).await.expect("a cache");
            let error = error(cache.import().await);
            assert!(matches!(error, Error::Forbidden(_)), "{error}");
            assert!(store.stats().requests() < 100, "{:?}", store.stats());
        }
    });
}

#[test]
fn whoever_may_read_and_not_list_pulls_as_many_layers_as_there_are() {
    run(async {
        let (store, subject, container) = world().await;
        let sample = Sample::of_sizes((0..MANY).map(|number| 10 + number));
        subject.store("app", &sample).await.expect("stored");
        store.make_public(&container).expect("public");
        let url = store.url();
        let nobody = attributes([
            ("account_url", &url),
            ("container", &container),
            ("anonymous", "true"),
        ]);
        let nobody = Subject::new(azblob().await, nobody);
        for refusal in [
            None,
            Some((401, "NoAuthenticationInformation")),
            Some((403, "AuthorizationFailure")),
            Some((404, "ResourceNotFound")),
            Some((409, "PublicAccessNotPermitted")),
        ] {
            store.faults().clear();
            if let Some((status, code)) = refusal {
                let refuse = Fault::new(Action::refuse_with(status, code));
                store.faults().push(refuse.on(OperationKind::ListBlobs));
            }
            let cache = nobody.open_to_read(&["app"]).await.expect("a cache");
            let loaded = load(&cache).await.expect("a cache");
            assert_eq!(loaded.missing, [], "{refusal:?}");
            assert_eq!(loaded.manifest, sample.manifest);
        }
    });
}

#[test]
fn a_directory_is_no_cache_and_cannot_be_written_over() {
    run(async {
        let (store, subject, container) = world().await;
        let sample = Sample::of_sizes([100, 200]);
        subject.store("feature/x", &sample).await.expect("stored");
        let made = store.make_directory(&container, "manifests/feature");
        made.expect("a directory");

        let opened = subject
            .open_and_hear(&["feature", "main"], sample.clone())
            .await;
        let (cache, heard) = opened.expect("a cache");
        assert!(cache.import().await.expect("no cache").is_empty());
        let error = error(cache.export(&sample.manifest).await).to_string();
        for part in ["`feature`", "directory", "`main` all the same"] {
            assert!(error.contains(part), "{error}");
        }
        let written = Event::ManifestStored("main".to_owned());
        assert!(heard.events().contains(&written));
        let mut manifests = cache.manifests().await.expect("a listing");
        let mut names = Vec::new();
        while let Some(manifest) = futures::StreamExt::next(&mut manifests).await {
            names.push(manifest.expect("a manifest").name);
        }
        names.sort();
        assert_eq!(names, ["feature/x", "main"]);
    });
}

#[test]
fn a_layer_that_can_be_neither_used_nor_replaced_is_promised_by_no_name() {
    async fn check(hold: impl Fn(&RunningStore, &str, &Digest)) -> Outcome {
        let (store, subject, container) = world().await;
        let sample = Sample::of_sizes([100, 200, 300]);
        let blob = &sample.digests()[1];
        hold(&store, &container, blob);
        let (cache, heard) = subject.open_and_hear(&["app"], sample.clone()).await?;
        let error = error(cache.export(&sample.manifest).await);
        if !matches!(&error, Error::Corrupt(text) if text.contains(&blob.hex())) {
            return Err(Failure::Broken(error.to_string()));
        }
        assert!(cache.import().await?.is_empty(), "a name was written");
        let events = heard.events();
        for (number, layer) in sample.digests().iter().enumerate() {
            let is_promised = events.contains(&Event::LayerStored(layer.clone()));
            assert_eq!(is_promised, number != 1, "{events:?}");
        }
        Ok(())
    }
    run(async {
        check(|store, container, blob| {
            store
                .put_blob(container, &key(blob), b"other")
                .expect("stored");
            let immutable = refuse(blob, 409, "BlobImmutableDueToPolicy");
            store.faults().push(immutable.on(OperationKind::PutBlob));
        })
        .await
        .expect("immutable");
        check(|store, container, blob| {
            store
                .put_blob(container, &key(blob), b"other")
                .expect("stored");
            let moved = store.set_tier(container, &key(blob), "Archive");
            moved.expect("archived");
            let refused = refuse(blob, 403, "AuthorizationPermissionMismatch");
            store.faults().push(refused.on(OperationKind::DeleteBlob));
        })
        .await
        .expect("archived for good");
        check(|store, container, blob| {
            let made = store.make_directory(container, &key(blob));
            made.expect("a directory");
        })
        .await
        .expect("a directory");
    });
}

#[test]
fn a_name_that_cannot_be_read_costs_no_other_name_and_is_replaced() {
    run(async {
        let (store, subject, container) = world().await;
        let sample = Sample::of_sizes([100, 200]);
        for name in ["old", "new"] {
            subject.store(name, &sample).await.expect("stored");
        }
        let moved = store.set_tier(&container, "manifests/old", "Archive");
        moved.expect("archived");
        let opened = subject.open(&["old", "new"], sample.clone()).await;
        let cache = opened.expect("a cache");
        let imported = cache.import().await.expect("both names");
        assert_eq!(imported.len(), 2);
        assert!(imported[1].outcome.is_ok());
        let why = imported[0].outcome.as_ref().expect_err("archived");
        assert!(why.to_string().contains("BlobArchived"), "{why}");

        cache.export(&sample.manifest).await.expect("both names");
        let imported = cache.import().await.expect("both names");
        assert!(imported.iter().all(|name| name.outcome.is_ok()));
    });
}
