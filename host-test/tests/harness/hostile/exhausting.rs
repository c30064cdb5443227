//! Using up what there is: time, memory, the stack, handles.

use std::time::{Duration, Instant};

use build_cache_host::{Grants, OpenOptions};

use super::{assert_failed, beside_others, hostile, import, open, orders, tight};
use crate::setup::run;

#[test]
fn a_plugin_that_only_computes_is_stopped_in_every_call() {
    run(async {
        for call in ["authorities", "open"] {
            let opened = beside_others(open(orders("spin", call, []))).await;
            let error = opened.expect_err(call);
            assert_failed(&error, "computed for 500ms without moving a byte");
        }
        let error = beside_others(import("spin", [])).await;
        assert_failed(&error, "computed for 500ms without moving a byte");
    });
}

#[test]
fn a_plugin_that_computes_and_asks_for_trifles_is_stopped_as_well() {
    run(async {
        let begun = Instant::now();
        let error = beside_others(import("spin-and-ask", [])).await;
        assert_failed(&error, "without moving a byte");
        assert!(begun.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn every_instance_that_computes_lets_the_others_on() {
    run(async {
        let plugin = hostile().await;
        let spin = async || {
            let options = OpenOptions {
                grants: Grants {
                    compute_time: Duration::from_secs(4),
                    ..tight()
                },
                ..OpenOptions::default()
            };
            let orders = orders("spin", "import", []);
            let cache = plugin.open(&orders, options).await.expect("a cache");
            cache.import().await.expect_err("an end")
        };
        let spinning = (0..4).map(|_| spin());
        for error in beside_others(futures::future::join_all(spinning)).await {
            assert_failed(&error, "was stopped");
        }
    });
}

#[test]
fn a_plugin_that_wants_all_memory_ends() {
    run(async {
        let error = beside_others(import("allocate", [])).await;
        assert_failed(&error, "bytes of memory, and may have 33554432");
    });
}

#[test]
fn a_plugin_that_calls_itself_for_ever_ends() {
    run(async {
        let error = beside_others(import("recurse", [])).await;
        assert_failed(&error, "too deep for the stack");
    });
}

#[test]
fn a_plugin_that_traps_ends_and_can_be_opened_again() {
    run(async {
        let error = beside_others(import("trap", [])).await;
        assert_failed(&error, "it gave up");
        let cache = open(orders("nothing", "", [])).await.expect("another");
        assert!(cache.import().await.expect("an answer").is_empty());
    });
}

#[test]
fn a_trap_ends_every_call_of_its_instance_and_of_no_other() {
    run(async {
        let other = open(orders("nothing", "", [])).await.expect("a cache");
        let cache = open(orders("trap", "import", [])).await.expect("a cache");
        let (one, two) = tokio::join!(cache.import(), cache.import());
        for error in [one, two] {
            assert_failed(&error.expect_err("it trapped"), "it gave up");
        }
        assert_failed(&cache.check().await.expect_err("it is gone"), "it gave up");
        assert!(other.import().await.is_ok());
    });
}

#[test]
fn a_plugin_that_opens_streams_without_end_ends() {
    run(async {
        let error = beside_others(import("streams", [])).await;
        assert_failed(&error, "more than 2000 streams");
    });
}

#[test]
fn a_plugin_that_makes_resources_without_end_ends() {
    run(async {
        let error = beside_others(import("resources", [])).await;
        assert_failed(&error, "more than 2000 streams");
    });
}

#[test]
fn a_plugin_that_starts_tasks_without_end_ends() {
    run(async {
        let error = beside_others(import("tasks", [])).await;
        assert_failed(&error, "more than 2000 streams");
    });
}

#[test]
fn a_plugin_that_starts_tasks_under_the_limits_everybody_has_ends() {
    run(async {
        let cache = hostile().await;
        let orders = orders("tasks", "import", []);
        let opened = cache.open(&orders, OpenOptions::default()).await;
        let opened = opened.expect("a cache");
        let outcome = beside_others(async { opened.import().await }).await;
        let error = outcome.expect_err("an end");
        assert_failed(&error, "");
    });
}

#[test]
fn limits_without_end_stand_in_nobodys_way() {
    run(async {
        let grants = Grants {
            compute_time: Duration::MAX,
            idle_time: Duration::MAX,
            memory_bytes: usize::MAX,
            handles: usize::MAX,
            message_bytes: usize::MAX,
            listing_bytes: usize::MAX,
            table_elements: usize::MAX,
            requests: usize::MAX,
            ..tight()
        };
        let options = OpenOptions {
            grants,
            ..OpenOptions::default()
        };
        let orders = orders("nothing", "", []);
        let cache = hostile().await.open(&orders, options).await;
        let imported = cache.expect("a cache").import().await;
        assert!(imported.expect("an answer").is_empty());
    });
}
