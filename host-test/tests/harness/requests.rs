//! What an export costs in requests, counted by the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blob_store::{Action, Fault, OperationKind, RunningStore, Stats};
use build_cache_host::ExportSummary;
use host_test::conformance::Subject;
use host_test::sample::Sample;

use crate::setup::{azblob_on, blob_store, run};

/// How many layers are exported.
const LAYERS: u64 = 40;

/// Exports a cache of 40 layers, and tells what the store has counted.
async fn export(
    store: &Arc<RunningStore>,
    subject: &Subject,
    sample: &Sample,
) -> (ExportSummary, Stats) {
    store.reset_stats();
    let cache = subject.open(&["app"], sample.clone()).await.expect("open");
    let summary = cache.export(&sample.manifest).await.expect("an export");
    (summary, store.stats())
}

fn forty_layers() -> Sample {
    Sample::of_sizes((0..LAYERS).map(|number| 1000 + number))
}

#[test]
fn a_cold_export_asks_once_and_writes_once_a_layer() {
    run(async {
        let store = blob_store();
        let subject = azblob_on(&store).await;
        let (summary, stats) = export(&store, &subject, &forty_layers()).await;

        assert_eq!(stats.of(OperationKind::GetBlobProperties), LAYERS);
        assert_eq!(stats.of(OperationKind::PutBlob), LAYERS + 1);
        assert_eq!(stats.requests(), 2 * LAYERS + 1, "{stats:?}");
        assert_eq!(u64::from(summary.requests), stats.requests());
        assert_eq!(summary.retries, 0);
    });
}

#[test]
fn a_warm_export_asks_once_a_layer_and_writes_the_manifest() {
    run(async {
        let store = blob_store();
        let subject = azblob_on(&store).await;
        let sample = forty_layers();
        export(&store, &subject, &sample).await;
        let (summary, stats) = export(&store, &subject, &sample).await;

        assert_eq!(stats.of(OperationKind::GetBlobProperties), LAYERS);
        assert_eq!(stats.of(OperationKind::PutBlob), 1);
        assert_eq!(stats.requests(), LAYERS + 1, "{stats:?}");
        assert_eq!(summary.layers_reused, 40);
    });
}

#[test]
fn the_container_is_made_only_where_it_is_missing() {
    run(async {
        let store = blob_store();
        let subject = Subject::new(
            crate::setup::azblob().await,
            crate::setup::azblob_attributes(&store, "not-there-yet"),
        );
        let (_, stats) = export(&store, &subject, &forty_layers()).await;
        assert!(stats.of(OperationKind::CreateContainer) >= 1, "{stats:?}");

        let (_, stats) = export(&store, &subject, &forty_layers()).await;
        assert_eq!(stats.of(OperationKind::CreateContainer), 0, "{stats:?}");
        assert_eq!(stats.of(OperationKind::GetContainerProperties), 0);
    });
}

#[test]
fn requests_run_side_by_side() {
    const LATENCY: Duration = Duration::from_millis(100);
    run(async {
        let store = blob_store();
        let subject = azblob_on(&store).await;
        let ms = LATENCY.as_millis() as u64;
        store.faults().push(Fault::new(Action::Delay { ms }));
        let started = Instant::now();
        let (_, stats) = export(&store, &subject, &forty_layers()).await;

        let one_after_another = LATENCY * (2 * LAYERS as u32 + 1);
        assert!(
            started.elapsed() < one_after_another / 2,
            "{:?}, and one request after another would take {one_after_another:?}",
            started.elapsed()
        );
        assert!(stats.max_in_flight > 8, "{stats:?}");
        assert!(
            stats.connections < stats.requests(),
            "no connection was used twice: {stats:?}"
        );
    });
}
