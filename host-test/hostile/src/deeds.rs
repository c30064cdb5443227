//! Using up what there is: time, memory, the stack, handles, the user's
//! patience.

use std::future::pending;
use std::hint::black_box;
use std::mem::forget;

use wasip3::clocks::monotonic_clock;
use wasip3::http::types::Fields;

use crate::bindings::build_cache::plugin::content;
use crate::bindings::build_cache::plugin::events::{Event, Retry, emit};
use crate::bindings::wit_stream;

/// Does one of the deeds that need nobody else; returns where the word names
/// none of them.
pub(crate) fn exhaust(deed: &str) {
    match deed {
        "spin" => loop {
            black_box(());
        },
        // Each of these asks the host for something that it can give at once.
        "spin-and-ask" => loop {
            black_box(monotonic_clock::now());
            drop(Fields::new());
            drop(content::read(0, "no digest", 0, 1));
        },
        "allocate" => loop {
            forget(black_box(vec![1_u8; 1 << 20]));
        },
        "recurse" => {
            black_box(deeper(0));
        }
        "trap" => unreachable!("so it was asked"),
        "streams" => loop {
            forget(wit_stream::new::<u8>());
        },
        "resources" => loop {
            forget(Fields::new());
        },
        "events" => loop {
            emit(u64::MAX, &Event::Warning("look at me".into()));
        },
        "long-events" => {
            let text = "look at me ".repeat(400_000);
            loop {
                emit(u64::MAX, &Event::Warning(text.clone()));
            }
        }
        "forged-events" => {
            for event in forged_events() {
                emit(u64::MAX, &event);
            }
        }
        _ => {}
    }
}

/// Does one of the deeds that never end; returns where the word names none of
/// them.
pub(crate) async fn hold(deed: &str) {
    match deed {
        "wait" => pending().await,
        "sleep" => monotonic_clock::wait_for(u64::MAX).await,
        "tasks" => loop {
            wit_bindgen::spawn_local(monotonic_clock::wait_for(u64::MAX));
            wit_bindgen::yield_async().await;
        },
        "block" => wit_bindgen::block_on(monotonic_clock::wait_for(u64::MAX)),
        _ => {}
    }
}

/// Ends with the stack, and is no loop, whatever an optimiser would like.
fn deeper(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return 0;
    }
    deeper(black_box(depth + 1)) + 1
}

/// Events that would look like other lines than they are.
fn forged_events() -> Vec<Event> {
    const TEXT: &str = "\u{1b}[2K\rfine\nerror: your disk is gone\u{202e}\u{9b}31m \u{2028}\
                        ##vso[task.setvariable variable=PATH]/evil ##[error]evil";
    vec![
        Event::Warning(TEXT.into()),
        Event::ManifestStored(TEXT.into()),
        Event::Retrying(Retry {
            request: TEXT.into(),
            reason: TEXT.into(),
            attempt: u32::MAX,
            delay_milliseconds: u64::MAX,
        }),
        Event::LayerStored(TEXT.into()),
    ]
}
