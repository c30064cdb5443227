//! The check of a credential under faults: what it says is what a push and a
//! pull meet, and nothing stays behind that it does not name.

use std::sync::{Arc, Mutex};

use blob_store::{Action, Fault, OperationKind, RunningStore};
use build_cache_host::{Access, Event, OpenOptions};

use crate::setup::{azblob, azblob_attributes, blob_store, run};

const CONTAINER: &str = "checked";

/// What the check found, and the warnings.
async fn check(store: &RunningStore) -> (Access, Vec<String>) {
    let warnings: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&warnings);
    let options = OpenOptions {
        on_event: Some(Arc::new(move |event| {
            if let Event::Warning(text) = event {
                heard.lock().expect("nobody panics").push(text);
            }
        })),
        ..OpenOptions::default()
    };
    let attributes = azblob_attributes(store, CONTAINER);
    let cache = azblob().await.open(&attributes, options).await;
    let access = cache.expect("open").check().await.expect("a check");
    let warnings = warnings.lock().expect("nobody panics").clone();
    (access, warnings)
}

fn store() -> Arc<RunningStore> {
    let store = blob_store();
    store.create_container(CONTAINER).expect("a container");
    store
}

#[test]
fn whatever_breaks_once_the_check_tells_the_truth_and_leaves_nothing_behind() {
    run(async {
        for action in [
            Action::LoseAnswer,
            Action::Refuse,
            Action::CutAfterRequest,
            Action::CutResponse { after: 3 },
            Action::Answer {
                status: 503,
                code: "ServerBusy".to_owned(),
                headers: vec![("Retry-After".to_owned(), "0".to_owned())],
            },
        ] {
            for request in 0..7 {
                let store = store();
                let fault = Fault::new(action.clone()).skip(request).times(1);
                store.faults().set(vec![fault]);
                let (access, warnings) = check(&store).await;
                for what in ["read", "write", "list", "delete"] {
                    let attempts = &access.attempts;
                    assert!(access.may(what), "{action:?} {request}: {attempts:?}");
                }
                assert!(warnings.is_empty(), "{warnings:?}");
                let left = store.keys(CONTAINER).expect("a container");
                assert!(left.is_empty(), "{action:?} {request}: {left:?}");
            }
        }
    });
}

#[test]
fn a_store_that_lets_nothing_be_replaced_does_not_serve_for_a_push_and_what_stays_is_named() {
    run(async {
        let store = store();
        let kept = || Action::Answer {
            status: 409,
            code: "BlobImmutableDueToPolicy".to_owned(),
            headers: Vec::new(),
        };
        store.faults().set(vec![
            Fault::new(kept()).on(OperationKind::PutBlob).skip(1),
            Fault::new(kept()).on(OperationKind::DeleteBlob).skip(1),
        ]);
        let (access, warnings) = check(&store).await;
        assert!(
            access.may("read") && !access.may("write"),
            "{:?}",
            access.attempts
        );
        let attempts = &access.attempts;
        let write = attempts.iter().find(|attempt| attempt.what == "write");
        let why = write.and_then(|write| write.outcome.as_ref().err());
        let why = why.expect("a reason").to_string();
        assert!(why.contains("retention policy"), "{why}");
        let left = store.keys(CONTAINER).expect("a container");
        let [left] = left.as_slice() else {
            panic!("{left:?}")
        };
        let named = |warning: &String| warning.contains(left) && warning.contains("stays behind");
        assert!(warnings.iter().any(named), "{warnings:?}");
    });
}

#[test]
fn why_a_blob_is_refused_without_a_body_is_asked_for_and_told() {
    run(async {
        // A wrong key is refused in words, but only where there is a body.
        let store = store();
        let mut attributes = azblob_attributes(&store, CONTAINER);
        for (name, value) in &mut attributes {
            if name == "secret_access_key" {
                *value = "d3Jvbmcga2V5".to_owned();
            }
        }
        let sample = host_test::sample::Sample::of_sizes([1000]);
        let options = OpenOptions {
            content: Some(Arc::new(sample.clone())),
            ..OpenOptions::default()
        };
        let cache = azblob()
            .await
            .open(&attributes, options)
            .await
            .expect("open");
        let error = cache.export(&sample.manifest).await.expect_err("refused");
        let text = error.to_string();
        for part in [
            "HEAD http://127.0.0.1:",
            "403 AuthenticationFailed: The request's Authorization header",
            "\n  AuthenticationErrorDetail: ",
            "\n  It was sent with the key",
        ] {
            assert!(text.contains(part), "`{part}` is not said: {text}");
        }
        assert!(!text.contains("d3Jvbmcga2V5"), "{text}");
    });
}
