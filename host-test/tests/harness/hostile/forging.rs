//! Forging progress and log lines: whatever it says stays in its line, and
//! there is an end to it.

use std::sync::{Arc, Mutex};

use build_cache_host::{Event, OpenOptions};
use futures::StreamExt;

use super::{assert_failed, beside_others, hostile, import, open, orders, tight};
use crate::setup::run;

/// Has it do `deed` in `import`, and gives all that was heard of it.
async fn heard(deed: &str) -> Vec<Event> {
    let heard: Arc<Mutex<Vec<Event>>> = Arc::default();
    let on_event = {
        let heard = Arc::clone(&heard);
        move |event| heard.lock().expect("nobody panics").push(event)
    };
    let options = OpenOptions {
        grants: tight(),
        on_event: Some(Arc::new(on_event)),
        ..OpenOptions::default()
    };
    let orders = orders(deed, "import", []);
    let cache = hostile().await.open(&orders, options).await;
    let outcome = beside_others(cache.expect("a cache").import()).await;
    if let Err(error) = outcome {
        assert_failed(&error, "without moving a byte");
    }
    let mut heard = heard.lock().expect("nobody panics");
    std::mem::take(&mut heard)
}

#[track_caller]
fn assert_harmless(text: &str) {
    let harmful = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}');
    assert!(!text.contains(harmful), "{text:?}");
    assert!(!text.contains("##"), "{text:?}");
}

/// The same of an error, whose lines are kept: none of them looks like one that
/// the program itself begins.
#[track_caller]
fn assert_harmless_lines(text: &str) {
    let mut lines = text.lines();
    assert_harmless(lines.next().unwrap_or_default());
    for line in lines {
        assert!(line.is_empty() || line.starts_with("  "), "{text:?}");
        assert!(!line.trim_start().starts_with("::"), "{text:?}");
        assert_harmless(line);
    }
}

#[test]
fn no_event_moves_the_cursor_or_begins_a_line() {
    run(async {
        let events = heard("forged-events").await;
        assert_eq!(events.len(), 3, "a layer that is none is none: {events:?}");
        for event in events {
            match event {
                Event::Warning(text) | Event::ManifestStored(text) => {
                    assert!(text.contains("error: your disk is gone"), "{text}");
                    assert_harmless(&text);
                }
                Event::Retrying {
                    request, reason, ..
                } => {
                    assert_harmless(&request);
                    assert_harmless(&reason);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn no_error_moves_the_cursor_or_begins_a_line() {
    run(async {
        let text = "\u{1b}]0;title\u{7}\r\u{1b}[1A\nerror: forged ##vso[x]\n ::error::y";
        let error = import("tell", [("text", text)]).await.to_string();
        assert_harmless_lines(&error);
        assert_eq!(error.lines().count(), 3, "{error:?}");
    });
}

#[test]
fn no_name_and_no_finding_moves_the_cursor() {
    run(async {
        let cache = open(orders("huge-size", "import", [])).await;
        let cache = cache.expect("a cache");
        let imported = cache.import().await.expect("an answer");
        // A name is what it is, and is shown as something else.
        assert_eq!(imported[0].name, "app\u{1b}[2J");
        assert_eq!(cache.shown_name(&imported[0].name), "app\\u{1b}[2J");

        let cache = open(orders("escapes", "check", [])).await;
        let access = cache.expect("a cache").check().await.expect("an answer");
        assert_harmless(&format!("{}{}", access.credential, access.store));
        for attempt in access.attempts {
            let why = attempt.outcome.expect_err("an error").to_string();
            assert_harmless(&attempt.what);
            assert_harmless_lines(&why);
        }

        let cache = open(orders("escapes", "manifests", [])).await;
        let cache = cache.expect("a cache");
        let mut items = cache.manifests().await.expect("a listing");
        let item = items.next().await.expect("an item").expect("an item");
        assert_harmless(&cache.shown_name(&item.name));
    });
}

#[test]
fn a_plugin_that_never_stops_talking_is_stopped_and_fills_no_log() {
    run(async {
        let events = heard("events").await;
        assert_eq!(events.len(), 1001);
        let Some(Event::Warning(last)) = events.last() else {
            panic!("{:?}", events.last());
        };
        assert!(
            last.contains("hostile.wasm has sent 1000 warnings"),
            "{last}"
        );
    });
}

#[test]
fn long_texts_are_cut_before_they_cost_anything() {
    run(async {
        for event in heard("long-events").await {
            let Event::Warning(text) = event else {
                panic!("{event:?}");
            };
            assert!(text.len() < 5000, "{}", text.len());
        }
    });
}
