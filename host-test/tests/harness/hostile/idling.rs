//! Giving no answer: waiting for ever, holding streams and answers open.

use std::time::Duration;

use blob_store::{Action, Fault};
use build_cache_host::{Digest, Grants, Host, HostOptions, HttpOptions, OpenOptions};
use futures::StreamExt;
use host_test::fixtures;

use super::{assert_failed, beside_others, hostile, import, open, orders, tight};
use crate::setup::{self, run};

#[test]
fn a_plugin_that_gives_no_answer_is_stopped() {
    run(async {
        for deed in ["wait", "sleep"] {
            let error = beside_others(import(deed, [])).await;
            assert_failed(&error, "moved nothing for 1.5s");
            let opened = open(orders(deed, "open", [])).await;
            assert_failed(&opened.expect_err(deed), "moved nothing for 1.5s");
        }
    });
}

#[test]
fn a_plugin_that_blocks_its_whole_instance_is_stopped() {
    run(async {
        let error = beside_others(import("block", [])).await;
        // wasmtime sees that nothing in the instance can go on, and says so
        // before the time is over.
        let text = error.to_string();
        assert!(
            text.contains("deadlock") || text.contains("moved nothing for 1.5s"),
            "{text}"
        );
        assert_failed(&error, "");
    });
}

#[test]
fn a_stream_that_is_held_open_and_never_written_to_is_given_up() {
    run(async {
        for deed in ["silence", "no-verdict"] {
            let cache = open(orders(deed, "read", [])).await.expect("a cache");
            let read = async {
                let bytes = cache.read(&Digest::of(b""), 0, None).await;
                let mut bytes = bytes.expect("a stream").expect("a layer");
                bytes.next().await.expect("an end").expect_err("an error")
            };
            let error = beside_others(read).await;
            assert_failed(&error, "moved nothing for 1.5s");
        }
    });
}

#[test]
fn a_reader_may_take_its_time() {
    run(async {
        let cache = open(orders("endless", "read", [])).await.expect("a cache");
        let bytes = cache.read(&Digest::of(b""), 0, None).await;
        let mut bytes = bytes.expect("a stream").expect("a layer");
        for _ in 0..3 {
            assert!(bytes.next().await.expect("more").is_ok());
            tokio::time::sleep(tight().idle_time).await;
        }
        assert!(bytes.next().await.expect("more").is_ok());
    });
}

#[test]
fn a_server_may_take_its_time() {
    run(async {
        let store = setup::blob_store();
        let slow = Fault::new(Action::Delay { ms: 4000 });
        store.faults().push(slow);
        let url = store.plain_url();
        let address = store.address().to_string();
        let more = [("url", url.as_str()), ("ask", &address)];
        let error = import("request", more).await.to_string();
        assert!(error.contains(": 4"), "an answer of the store: {error}");
    });
}

#[test]
fn requests_beyond_what_is_granted_wait_for_their_turn() {
    run(async {
        let store = setup::blob_store();
        store.faults().push(Fault::new(Action::Delay { ms: 20 }));
        let (url, address) = (store.plain_url(), store.address().to_string());
        let more = [("url", url.as_str()), ("ask", &address), ("count", "300")];
        let orders = orders("requests", "import", more);
        let options = OpenOptions {
            grants: Grants {
                requests: 8,
                ..tight()
            },
            ..OpenOptions::default()
        };
        let cache = hostile().await.open(&orders, options).await;
        let cache = cache.expect("a cache");
        let error = beside_others(cache.import()).await.expect_err("a report");
        assert_eq!(error.to_string(), "300 answered, 0 failed");
        assert_eq!(store.stats().requests(), 300);
        assert!(store.stats().max_in_flight <= 8, "{:?}", store.stats());
    });
}

#[test]
fn thousands_of_requests_at_once_end_the_plugin_that_sends_them() {
    run(async {
        let store = setup::blob_store();
        store.faults().push(Fault::new(Action::Delay { ms: 2000 }));
        let (url, address) = (store.plain_url(), store.address().to_string());
        let more = [("url", url.as_str()), ("ask", &address), ("count", "9999")];
        let error = beside_others(import("requests", more)).await;
        assert_failed(&error, "more than 2000 streams");
        assert!(store.stats().requests() <= 512, "{:?}", store.stats());
    });
}

#[test]
fn a_plugin_that_asks_for_ever_and_gets_nothing_is_stopped() {
    run(async {
        // Nobody listens there any more.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        drop(listener);
        let url = format!("http://{address}/");
        let impatient = Host::new(HostOptions {
            http: HttpOptions {
                idle_timeout: Duration::from_secs(1),
                ..HttpOptions::default()
            },
            ..HostOptions::default()
        });
        let plugin = impatient.expect("a host");
        let plugin = plugin.load(fixtures::component("hostile")).await;
        let more = [("url", url.as_str()), ("ask", &address)];
        let orders = orders("ask-for-ever", "import", more);
        let options = OpenOptions {
            grants: tight(),
            ..OpenOptions::default()
        };
        let cache = plugin.expect("a plugin").open(&orders, options).await;
        let cache = cache.expect("a cache");
        let error = beside_others(cache.import()).await.expect_err("an end");
        assert!(cache.requests() > 1, "it asked once");
        let text = error.to_string();
        assert!(
            text.contains("moved nothing for 1.5s") || text.contains("without moving a byte"),
            "{text}"
        );
        assert_failed(&error, "");
    });
}

#[test]
fn answers_that_are_held_and_never_read_are_given_up() {
    run(async {
        let store = setup::blob_store();
        let (url, address) = (store.plain_url(), store.address().to_string());
        let impatient = Host::new(HostOptions {
            http: HttpOptions {
                idle_timeout: Duration::from_secs(1),
                ..HttpOptions::default()
            },
            ..HostOptions::default()
        });
        let impatient = impatient.expect("a host");
        let plugin = impatient.load(fixtures::component("hostile")).await;
        let more = [("url", url.as_str()), ("ask", &address), ("count", "9999")];
        let orders = orders("hold-answers", "import", more);
        let options = OpenOptions {
            grants: Grants {
                requests: 16,
                ..tight()
            },
            ..OpenOptions::default()
        };
        let cache = plugin.expect("a plugin").open(&orders, options).await;
        let cache = cache.expect("a cache");
        let error = beside_others(cache.import()).await.expect_err("an end");
        assert_failed(&error, "moved nothing for 1.5s");
        assert_eq!(store.stats().requests(), 16);
    });
}
