//! One backend takes another's place while calls run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blob_store::{Action, Fault, OperationKind, RunningStore};
use build_cache_host::{Grants, OpenOptions, Registry};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use host_test::sample::Sample;

use crate::setup::{self, run};

/// The type that both backends serve.
const TYPE: &str = "cache";

/// What either backend needs to find its place in the store. The attributes
/// are those that both know, so the store is named by variables.
fn grants(store: &RunningStore) -> Grants {
    let mut grants = Grants::default();
    for (name, value) in [
        ("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", store.url()),
        ("AZURE_STORAGE_KEY", store.key()),
        ("BUILD_CACHE_HTTP_URL", store.plain_url()),
    ] {
        grants.variables.insert(name, value);
    }
    grants
}

#[test]
fn no_call_is_lost_while_backends_are_swapped() {
    const CALLS: usize = 200;
    const AT_ONCE: usize = 16;
    run(async {
        let store = setup::blob_store();
        let (azblob, http) = (setup::azblob().await, setup::http().await);
        let registry = Arc::new(Registry::default());
        registry.install_as(TYPE, azblob.clone());

        let sample = Sample::of_sizes([1000, 50_000, 10]);
        let options = OpenOptions {
            grants: grants(&store),
            content: Some(Arc::new(sample.clone())),
            on_event: None,
            identity: None,
        };
        let live = registry.live(TYPE, setup::attributes([("name", "app")]), options);

        let is_done = Arc::new(AtomicBool::new(false));
        let swapping = tokio::spawn({
            let (registry, is_done) = (Arc::clone(&registry), Arc::clone(&is_done));
            async move {
                let mut swaps = 0;
                while !is_done.load(Ordering::Relaxed) {
                    let next = if swaps % 2 == 0 { &http } else { &azblob };
                    registry.install_as(TYPE, next.clone());
                    swaps += 1;
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                swaps
            }
        });

        let call = async |number: usize| {
            let cache = live.get().await?;
            if number.is_multiple_of(2) {
                cache.export(&sample.manifest).await.map(drop)
            } else {
                cache.import().await.map(drop)
            }
        };
        let mut waiting = 0..CALLS;
        let mut running: FuturesUnordered<_> = waiting.by_ref().take(AT_ONCE).map(&call).collect();
        let mut finished = 0;
        while let Some(outcome) = running.next().await {
            outcome.expect("a call that succeeds");
            finished += 1;
            running.extend(waiting.next().map(&call));
        }
        is_done.store(true, Ordering::Relaxed);
        let swaps = swapping.await.expect("the swapping");

        assert_eq!(finished, CALLS);
        assert!(swaps > 10, "there were only {swaps} swaps");
        for container in ["buildkit-cache", "plain"] {
            let keys = store.keys(container).expect("a container");
            assert_eq!(keys.len(), 4, "{container} holds {keys:?}");
        }
    });
}

#[test]
fn a_call_that_runs_finishes_on_the_old_backend_and_new_ones_take_the_new() {
    run(async {
        let store = setup::blob_store();
        let (azblob, http) = (setup::azblob().await, setup::http().await);
        let registry = Arc::new(Registry::default());
        registry.install_as(TYPE, azblob);
        let sample = Sample::of_sizes([1000]);
        let options = OpenOptions {
            grants: grants(&store),
            content: Some(Arc::new(sample.clone())),
            on_event: None,
            identity: None,
        };
        let live = registry.live(TYPE, setup::attributes([("name", "app")]), options);
        store
            .create_container("buildkit-cache")
            .expect("a container");
        let slow = Fault::new(Action::Delay { ms: 3000 }).on(OperationKind::PutBlob);
        store.faults().push(slow.times(1));

        let old = live.get().await.expect("the old one");
        let running = tokio::spawn({
            let manifest = sample.manifest.clone();
            async move { old.export(&manifest).await }
        });
        while store.stats().of(OperationKind::PutBlob) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        registry.install_as(TYPE, http);
        let new = live.get().await.expect("the new one");
        new.export(&sample.manifest).await.expect("the new call");
        assert!(!running.is_finished(), "the old call was to take longer");
        let keys = store.keys("plain").expect("the plain container");
        assert_eq!(
            keys.len(),
            2,
            "the new call went to the new backend: {keys:?}"
        );

        let summary = running.await.expect("the task").expect("the old call");
        assert_eq!(summary.layers_stored, 1);
        let keys = store.keys("buildkit-cache").expect("azblob's container");
        assert_eq!(
            keys.len(),
            2,
            "the old call went to the old backend: {keys:?}"
        );
    });
}
