//! A cache for a host that lives for weeks: instances die and retire, and the
//! calls go on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blob_store::OperationKind;
use build_cache_host::{
    Cache, Content, Digest, Error, Grants, Lifecycle, LiveCache, OpenOptions, Plugin, Registry,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::BoxStream;
use host_test::fixtures;
use host_test::sample::Sample;

use crate::setup::{self, Attributes, run};

const TYPE: &str = "cache";

async fn hostile() -> Plugin {
    let plugin = setup::host().load(fixtures::component("hostile")).await;
    plugin.expect("a plugin that loads")
}

/// Limits that a test need not wait long for.
fn tight() -> Grants {
    Grants {
        memory_bytes: 32 << 20,
        handles: 2000,
        compute_time: Duration::from_millis(500),
        idle_time: Duration::from_millis(1500),
        ..Grants::default()
    }
}

fn live(
    plugin: Plugin,
    attributes: Attributes,
    options: OpenOptions,
    lifecycle: Lifecycle,
) -> (Arc<Registry>, LiveCache) {
    let registry = Arc::new(Registry::default());
    registry.install_as(TYPE, plugin);
    let live = registry.live_with(TYPE, attributes, options, lifecycle);
    (registry, live)
}

fn tightly() -> OpenOptions {
    OpenOptions {
        grants: tight(),
        ..OpenOptions::default()
    }
}

/// The hostile plugin behind a live cache, which does `deed` in the call `at`.
async fn doing(deed: &str, at: &str) -> LiveCache {
    let attributes = setup::attributes([("do", deed), ("at", at)]);
    live(hostile().await, attributes, tightly(), Lifecycle::default()).1
}

#[track_caller]
fn assert_failed(error: &Error, reason: &str) {
    assert!(matches!(error, Error::PluginFailed { .. }), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
}

#[test]
fn after_each_kind_of_death_the_next_call_finds_a_living_instance() {
    const DEATHS: [(&str, &str); 8] = [
        ("trap", "it gave up"),
        ("allocate", "bytes of memory, and may have"),
        ("recurse", "too deep for the stack"),
        ("spin", "computed for 500ms without moving a byte"),
        ("streams", "more than 2000 streams"),
        ("tasks", "more than 2000 streams"),
        ("wait", "moved nothing for 1.5s"),
        ("sleep", "moved nothing for 1.5s"),
    ];
    run(async {
        let dying = DEATHS.map(|(deed, reason)| async move {
            let live = doing(deed, "import").await;
            for _ in 0..3 {
                let lease = live.lease().await.expect("an instance");
                assert!(lease.is_alive(), "{deed}: a dead one was given out");
                lease.check().await.expect("a call beside the deadly one");
                let error = lease.import().await.expect_err(deed);
                assert_failed(&error, reason);
                assert!(!lease.is_alive(), "{deed}");
                let error = lease.check().await.expect_err("it is dead");
                assert_failed(&error, reason);
            }
            let lease = live.lease().await.expect("an instance");
            lease.check().await.expect("a call after all that");
        });
        join_all(dying).await;
    });
}

#[test]
fn many_callers_at_once_are_not_given_a_dead_instance() {
    run(async {
        let live = doing("trap", "import").await;
        let calls = (0..40).map(|number| {
            let live = &live;
            async move {
                let lease = live.lease().await.expect("an instance");
                if number == 0 {
                    assert_failed(&lease.import().await.expect_err("a trap"), "it gave up");
                }
                drop(lease);
                // Whatever this caller has heard, it is over for the next.
                if number == 0 {
                    let lease = live.lease().await.expect("an instance");
                    lease.check().await.expect("a living instance");
                }
            }
        });
        join_all(calls).await;
    });
}

#[test]
fn a_plugin_that_cannot_be_opened_is_an_error_of_the_call_and_no_loop() {
    run(async {
        let store = setup::blob_store();
        let (url, address) = (store.plain_url(), store.address().to_string());
        // It asks the store once and then refuses to open.
        let orders = setup::attributes([
            ("do", "request"),
            ("at", "open"),
            ("url", url.as_str()),
            ("ask", &address),
        ]);
        let lifecycle = Lifecycle {
            first_pause: Duration::from_millis(400),
            ..Lifecycle::default()
        };
        let (registry, live) = live(hostile().await, orders, tightly(), lifecycle);
        let begun = Instant::now();
        for _ in 0..100 {
            let error = live.lease().await.expect_err("it does not open");
            assert!(matches!(error, Error::Other(_)), "{error:?}");
            assert!(error.to_string().contains(&url), "{error}");
        }
        let attempts = store.stats().requests();
        assert!(
            (1..=3).contains(&attempts),
            "{attempts} attempts in {:?}",
            begun.elapsed()
        );

        tokio::time::sleep(Duration::from_millis(500)).await;
        live.lease().await.expect_err("it does not open");
        assert!(
            store.stats().requests() > attempts,
            "it was not tried again"
        );

        // Another plugin is not made to wait for the first one's faults.
        registry.install_as(TYPE, setup::http().await);
        let error = live
            .lease()
            .await
            .expect_err("an attribute it does not know");
        assert!(matches!(error, Error::InvalidAttribute { .. }), "{error:?}");
    });
}

#[test]
fn a_plugin_that_dies_again_and_again_is_not_opened_in_a_tight_loop() {
    run(async {
        let live = doing("trap", "check").await;
        let begun = Instant::now();
        for _ in 0..5 {
            live.with(async |cache| cache.check().await)
                .await
                .expect_err("a trap");
        }
        // The first death costs no pause, the next ones 100, 200 and 400 ms.
        assert!(
            begun.elapsed() >= Duration::from_millis(700),
            "{:?}",
            begun.elapsed()
        );
    });
}

/// Content that a test counts the holders of: each instance is one.
struct Shared(Arc<Sample>);

impl Content for Shared {
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, std::io::Result<Bytes>> {
        self.0.read(blob, offset, length)
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn what_retires_finishes_its_streams_and_ends() {
    run(async {
        let store = setup::blob_store();
        store.create_container("test").expect("a container");
        let sample = Sample::of_sizes([40 << 20]);
        let content: Arc<dyn Content> = Arc::new(Shared(Arc::new(sample.clone())));
        let options = OpenOptions {
            content: Some(Arc::clone(&content)),
            ..OpenOptions::default()
        };
        let attributes = setup::azblob_attributes(&store, "test");
        let after_two = Lifecycle {
            retire_after_calls: 2,
            ..Lifecycle::default()
        };
        let (_registry, live) = live(setup::azblob().await, attributes, options, after_two);
        // This test, and the options of the live cache.
        const OTHERS: usize = 2;
        let instances = || Arc::strong_count(&content) - OTHERS;

        live.with(async |cache| cache.export(&sample.manifest).await)
            .await
            .expect("an export");
        let blob = &sample.manifest.layers[0].blob;
        let lease = live.lease().await.expect("the second call");
        let mut bytes = lease
            .read(blob, 0, None)
            .await
            .expect("a read")
            .expect("a layer");
        drop(lease);
        let first = bytes.next().await.expect("bytes").expect("bytes");
        assert_eq!(instances(), 1);

        for _ in 0..4 {
            live.with(async |cache| cache.import().await)
                .await
                .expect("an import");
        }
        until("two instances are left", || instances() == 2).await;

        let mut read = first.len() as u64;
        while let Some(chunk) = bytes.next().await {
            read += chunk.expect("the rest of the layer").len() as u64;
        }
        assert_eq!(read, sample.size());
        drop(bytes);
        until("the first has ended", || instances() == 1).await;
    });
}

#[test]
fn an_instance_that_has_had_too_much_memory_retires() {
    run(async {
        let store = setup::blob_store();
        store.create_container("test").expect("a container");
        let attributes = setup::azblob_attributes(&store, "test");
        let small = Lifecycle {
            retire_above_memory_bytes: 8 << 20,
            ..Lifecycle::default()
        };
        let (_registry, live) = live(
            setup::azblob().await,
            attributes,
            OpenOptions::default(),
            small,
        );
        let many = format!("[{}]", vec![r#"{"digest":"x"}"#; 500_000].join(","));
        let large = build_cache_host::Manifest {
            layers: Vec::new(),
            records: many,
        };
        let used = live.lease().await.expect("an instance");
        used.export(&large).await.expect("an export");
        assert!(used.peak_memory_bytes() > 8 << 20);
        let fresh = live.lease().await.expect("an instance");
        assert!(fresh.peak_memory_bytes() < 8 << 20, "it is the same one");
        used.check().await.expect("it still runs what it has");
    });
}

#[test]
fn calls_beyond_the_limit_wait_in_order_and_a_stream_counts() {
    run(async {
        let attributes = setup::attributes([("do", "endless"), ("at", "read")]);
        let two = Lifecycle {
            max_calls_at_once: 2,
            ..Lifecycle::default()
        };
        let (_registry, live) = live(hostile().await, attributes, tightly(), two);
        let lease = live.lease().await.expect("the first");
        let mut stream = lease
            .read(&Digest::of(b""), 0, None)
            .await
            .expect("a stream")
            .expect("a layer");
        stream.next().await.expect("bytes").expect("bytes");
        drop(lease);
        let second = live.lease().await.expect("the second");
        assert_eq!(live.free_calls(), 0);

        let order: Mutex<Vec<usize>> = Mutex::default();
        let mut waiting: Vec<_> = (0..4)
            .map(|number| {
                let (live, order) = (&live, &order);
                Box::pin(async move {
                    let lease = live.lease().await.expect("a turn");
                    order.lock().expect("nobody panics").push(number);
                    lease.check().await.expect("a call");
                })
            })
            .collect();
        for call in &mut waiting {
            assert!(futures::poll!(call).is_pending(), "it has a turn");
        }

        // A clone of the cache holds its place as well.
        let clone = Cache::clone(&second);
        drop(second);
        assert_eq!(live.free_calls(), 0);
        drop(stream);
        join_all(waiting).await;
        assert_eq!(*order.lock().expect("nobody panics"), [0, 1, 2, 3]);
        drop(clone);
        assert_eq!(live.free_calls(), 2);
    });
}

#[test]
fn draining_waits_for_what_is_under_way() {
    run(async {
        let attributes = setup::attributes([("do", "endless"), ("at", "read")]);
        let (_registry, live) = live(hostile().await, attributes, tightly(), Lifecycle::default());
        let lease = live.lease().await.expect("an instance");
        let drain = live.drain();
        tokio::pin!(drain);
        let early = tokio::time::timeout(Duration::from_millis(100), &mut drain).await;
        assert!(early.is_err(), "a call is under way");
        lease.check().await.expect("it still runs");
        drop(lease);
        drain.await;
        let next = live.lease().await.expect("another instance");
        next.check().await.expect("a call");
    });
}

#[test]
fn a_call_that_moves_nothing_is_given_up_although_others_move() {
    run(async {
        let attributes = setup::attributes([
            ("do", "wait"),
            ("at", "import"),
            ("also-do", "endless"),
            ("also-at", "read"),
        ]);
        let options = OpenOptions {
            grants: Grants {
                idle_time: Duration::from_millis(100),
                ..tight()
            },
            ..OpenOptions::default()
        };
        let (_registry, live) = live(hostile().await, attributes, options, Lifecycle::default());
        let (waiting, moving) = (live.lease().await, live.lease().await);
        let (waiting, moving) = (waiting.expect("a lease"), moving.expect("a lease"));
        let stream = moving.read(&Digest::of(b""), 0, None).await;
        let mut stream = stream.expect("a stream").expect("a layer");
        let keep_moving = async {
            loop {
                stream.next().await.expect("more").expect("bytes");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let error = tokio::select! {
            () = keep_moving => unreachable!("it never ends"),
            outcome = waiting.import() => outcome.expect_err("it is given up"),
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("it waits for ever"),
        };
        assert_failed(&error, "moved nothing for 2s");
        // What moves goes on, and what comes next goes elsewhere.
        stream.next().await.expect("more").expect("bytes");
        let next = live.lease().await.expect("another instance");
        next.check().await.expect("a call");
        stream.next().await.expect("more").expect("bytes");
    });
}

#[test]
fn a_swap_is_followed_and_a_removal_is_an_error_until_the_next_plugin() {
    run(async {
        let store = setup::blob_store();
        let attributes = setup::azblob_attributes(&store, "test");
        let (registry, live) = live(
            setup::azblob().await,
            attributes,
            OpenOptions::default(),
            Lifecycle::default(),
        );
        live.lease().await.expect("an instance");
        let azblob = registry.remove(TYPE).expect("the plugin");
        let error = live.lease().await.expect_err("no plugin");
        assert!(matches!(error, Error::UnknownType { .. }), "{error:?}");
        registry.install_as(TYPE, azblob);
        let lease = live.lease().await.expect("an instance");
        assert!(lease.import().await.expect("an import").is_empty());
        assert_eq!(store.stats().of(OperationKind::GetBlob), 1);
    });
}
