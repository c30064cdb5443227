//! A store that fails for a while: the transfer goes on where it can.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blob_store::{Action, Fault, OperationKind, RunningStore};
use build_cache_host::{Error, Event, ExportSummary, Fetch, FetchOptions};
use host_test::conformance::{Subject, check_holds, load};
use host_test::sample::Sample;

use crate::setup::{azblob_on, blob_store, run};

/// The size of a block, in bytes.
const BLOCK: u64 = 1 << 16;

/// A store that will have this fault, and azblob on it with small blocks.
async fn faulty(fault: Fault) -> (Arc<RunningStore>, Subject) {
    let store = blob_store();
    let subject = azblob_on(&store).await;
    store.faults().push(fault);
    (store, subject.with("block_size", &BLOCK.to_string()))
}

/// Exports a cache, checks that the store holds it whole, and gives what the
/// export says and announced.
async fn export(subject: &Subject, sample: &Sample) -> (ExportSummary, Vec<Event>) {
    let opened = subject.open_and_hear(&["app"], sample.clone()).await;
    let (cache, heard) = opened.expect("open");
    let summary = cache.export(&sample.manifest).await.expect("an export");
    let reader = subject.open_to_read(&["app"]).await.expect("open");
    check_holds(&reader, &sample.manifest).await.expect("whole");
    (summary, heard.events())
}

#[test]
fn a_busy_store_is_asked_again_after_the_time_that_it_names() {
    run(async {
        let busy = Action::Answer {
            status: 503,
            code: "ServerBusy".to_owned(),
            headers: vec![("Retry-After".to_owned(), "1".to_owned())],
        };
        let (_store, subject) = faulty(Fault::new(busy).on(OperationKind::PutBlob).times(1)).await;
        let started = Instant::now();
        let (summary, events) = export(&subject, &Sample::of_sizes([500])).await;

        assert_eq!(summary.retries, 1);
        assert!(started.elapsed() >= Duration::from_secs(1));
        let retry = events.iter().find_map(|event| match event {
            Event::Retrying {
                request,
                reason,
                attempt,
                delay,
            } => Some((request, reason, attempt, delay)),
            _ => None,
        });
        let (request, reason, attempt, delay) = retry.expect("an event of the retry");
        assert!(request.starts_with("PUT http://127.0.0.1:"), "{request}");
        assert!(reason.contains("ServerBusy"), "{reason}");
        assert_eq!((*attempt, delay.as_secs()), (1, 1));
    });
}

#[test]
fn a_block_that_breaks_off_is_sent_again_alone() {
    const BLOCKS: u64 = 10;
    const SENT: u64 = 1000;
    run(async {
        let cut = Fault::new(Action::CutRequest { after: SENT });
        let cut = cut.on(OperationKind::PutBlock).skip(3).times(1);
        let (store, subject) = faulty(cut).await;
        let size = BLOCKS * BLOCK;
        let sample = Sample::of_sizes([size]);
        let cache = subject.open(&["app"], sample.clone()).await.expect("open");
        store.reset_stats();
        let summary = cache.export(&sample.manifest).await.expect("an export");

        let stats = store.stats();
        assert_eq!(summary.retries, 1);
        assert_eq!(stats.of(OperationKind::PutBlock), BLOCKS + 1);
        // Beside the blocks there are a list of them and a manifest.
        let more = stats.bytes_in - size;
        assert!(
            more < BLOCK + 10_000,
            "{more} bytes more than the layer has were sent: {stats:?}"
        );
        let reader = subject.open_to_read(&["app"]).await.expect("open");
        check_holds(&reader, &sample.manifest).await.expect("whole");
    });
}

#[test]
fn many_faults_cost_a_block_each_and_no_layer_begins_anew() {
    // Whole blocks: one that is over before the cut would come to no harm.
    const LAYERS: [u64; 3] = [20 * BLOCK, 8 * BLOCK, BLOCK];
    run(async {
        let actions = [
            Action::CutRequest { after: BLOCK / 2 },
            Action::CutAfterRequest,
            Action::LoseAnswer,
            Action::refuse_with(503, "ServerBusy"),
            Action::ProxyPage { status: 502 },
        ];
        let store = blob_store();
        let subject = azblob_on(&store)
            .await
            .with("block_size", &BLOCK.to_string());
        for (skip, action) in actions.into_iter().enumerate() {
            let fault = Fault::new(action).on(OperationKind::PutBlock);
            store
                .faults()
                .push(fault.skip(skip as u64).every(6).times(3));
        }
        let sample = Sample::of_sizes(LAYERS);
        let cache = subject.open(&["app"], sample.clone()).await.expect("open");
        store.reset_stats();
        let summary = cache.export(&sample.manifest).await.expect("an export");

        let stats = store.stats();
        let again = stats.bytes_in - sample.size();
        println!(
            "{} faults, {again} bytes of {} sent again",
            stats.faulted,
            sample.size()
        );
        assert!(
            stats.faulted >= 10 && u64::from(summary.retries) == stats.faulted,
            "{} retries, {stats:?}",
            summary.retries
        );
        // Beside the blocks there are two lists of them and a manifest.
        assert!(again <= stats.faulted * BLOCK + 10_000, "{stats:?}");
        check_holds(&cache, &sample.manifest).await.expect("whole");
    });
}

#[test]
fn a_request_is_sent_again_whichever_it_was_and_however_it_failed() {
    use OperationKind::{GetBlob, GetBlobProperties, PutBlob, PutBlock, PutBlockList};
    let failures = [
        Action::refuse_with(500, "InternalError"),
        Action::refuse_with(503, "ServerBusy"),
        Action::refuse_with(500, "OperationTimedOut"),
        Action::Refuse,
        Action::LoseAnswer,
        Action::ProxyPage { status: 502 },
    ];
    let operations = [GetBlobProperties, PutBlob, PutBlock, PutBlockList, GetBlob];
    run(async {
        for action in failures {
            for operation in operations {
                let fault = Fault::new(action.clone()).on(operation).times(1);
                let (_store, subject) = faulty(fault).await;
                let sample = Sample::of_sizes([100, 3 * BLOCK]);
                let (_, events) = export(&subject, &sample).await;
                let retried = |event: &Event| matches!(event, Event::Retrying { .. });
                // Get Blob is not a part of an export.
                assert!(
                    operation == GetBlob || events.iter().any(retried),
                    "{action:?} on {operation:?} was not announced"
                );
            }
        }
    });
}

#[test]
fn a_manifest_that_breaks_off_is_read_again() {
    run(async {
        let cut = Fault::new(Action::CutResponse { after: 20 });
        let cut = cut.on(OperationKind::GetBlob).times(2);
        let (_store, subject) = faulty(cut).await;
        let sample = Sample::of_sizes([100, 200]);
        subject.store("app", &sample).await.expect("an export");
        let cache = subject.open_to_read(&["app"]).await.expect("open");
        let loaded = load(&cache).await.expect("a cache");
        assert_eq!(loaded.manifest, sample.manifest);
    });
}

/// Fetches the one layer of a cache that was stored before.
async fn fetch(subject: &Subject, sample: &Sample) -> Result<(), Error> {
    let cache = subject.open_to_read(&["app"]).await.expect("open");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let handle = file.as_file().try_clone().expect("a handle");
    let options = FetchOptions {
        range_bytes: 4 * BLOCK,
        ..FetchOptions::default()
    };
    let layer = &sample.manifest.layers[0];
    let fetch = Fetch::new(cache, options);
    fetch
        .layer(&layer.blob, layer.size, handle, file.path(), &|_| ())
        .await
}

#[test]
fn a_range_that_breaks_off_is_taken_up_where_it_broke() {
    run(async {
        let size = 16 * BLOCK;
        let sample = Sample::of_sizes([size]);
        let cut = Fault::new(Action::CutResponse { after: 2 * BLOCK });
        let cut = cut.on(OperationKind::GetBlob).times(3);
        let (store, subject) = faulty(cut).await;
        subject.store("app", &sample).await.expect("an export");
        store.reset_stats();
        fetch(&subject, &sample).await.expect("a layer");

        let stats = store.stats();
        assert_eq!(stats.of(OperationKind::GetBlob), 4 + 3);
        // What was in flight when a connection broke may have gone twice.
        assert!(stats.bytes_out <= size + 3 * 2 * BLOCK, "{stats:?}");
    });
}

#[test]
fn a_download_that_breaks_ten_times_costs_less_than_a_layer_more() {
    run(async {
        let size = 64 * BLOCK;
        let sample = Sample::of_sizes([size]);
        let cut = Fault::new(Action::CutResponse { after: BLOCK });
        let (store, subject) = faulty(cut.on(OperationKind::GetBlob).every(2).times(10)).await;
        subject.store("app", &sample).await.expect("an export");
        store.reset_stats();
        fetch(&subject, &sample).await.expect("a layer");

        let stats = store.stats();
        let again = stats.bytes_out - size;
        println!(
            "{} faults, {again} bytes of {size} read again",
            stats.faulted
        );
        assert_eq!(stats.of(OperationKind::GetBlob), 16 + stats.faulted);
        // What had arrived is not asked for again; what was under way may be.
        assert!(stats.faulted == 10 && again <= 10 * BLOCK, "{stats:?}");
    });
}

#[test]
fn a_manifest_with_another_digit_is_noticed_in_both_directions() {
    run(async {
        let written = Fault::new(Action::CorruptRequest { at: 40 }).on(OperationKind::PutBlob);
        let (store, subject) = faulty(written.key("manifests/").times(2)).await;
        let sample = Sample::of_sizes([100, 200]);
        let (summary, events) = export(&subject, &sample).await;
        assert_eq!(summary.retries, 2);
        assert!(format!("{events:?}").contains("Md5Mismatch"), "{events:?}");

        let read = Fault::new(Action::Corrupt { at: 40 }).on(OperationKind::GetBlob);
        store.faults().push(read.key("manifests/").times(2));
        let opened = subject.open_and_hear(&["app"], Sample::default()).await;
        let (cache, heard) = opened.expect("open");
        let loaded = load(&cache).await.expect("a cache");
        assert_eq!(loaded.manifest, sample.manifest);
        let events = heard.events();
        assert!(format!("{events:?}").contains("Content-MD5"), "{events:?}");
    });
}

#[test]
fn bytes_that_changed_on_the_way_are_no_layer() {
    run(async {
        for action in [Action::Corrupt { at: 17 }, Action::Short { by: 5 }] {
            let fault = Fault::new(action.clone()).on(OperationKind::GetBlob);
            let (_store, subject) = faulty(fault).await;
            let sample = Sample::of_sizes([1000]);
            subject.store("app", &sample).await.expect("an export");
            match fetch(&subject, &sample).await {
                Err(Error::LayerDamaged { blob, .. }) => assert_eq!(blob, sample.digests()[0]),
                other => panic!("{action:?} gave {other:?}"),
            }
        }
    });
}

#[test]
fn a_store_that_keeps_failing_is_given_up_with_its_own_words() {
    run(async {
        let (store, subject) = faulty(Fault::new(Action::refuse_with(503, "ServerBusy"))).await;
        let subject = subject.with("max_retries", "2");
        let sample = Sample::of_sizes([100]);
        let cache = subject.open(&["app"], sample.clone()).await.expect("open");
        let error = cache.export(&sample.manifest).await.expect_err("an error");
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains("ServerBusy"), "{error}");
        assert_eq!(store.stats().requests(), 3);
    });
}
