//! Who hears of what an instance does: the one way from a plugin's events to
//! the embedder's. What it says is cleaned here, and there is an end to it: a
//! plugin that never stops talking fills no log.
//!
//! The limits are on what is said during one call, since an instance may live
//! for weeks. Calls run side by side, and a plugin may give an event any call's
//! number, so each call that begins grants the instance a new allowance, and none adds up:
//! no more is ever heard than the limits times the calls that began.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Event;
use crate::bindings::build_cache::plugin::{events, types};
use crate::text::Scrubber;

/// Hears of events, on the thread that runs the plugin: it must be quick.
pub(crate) type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// The number that a host gives to a call.
pub(crate) type CallId = types::CallId;

/// The number of no particular call: what is outside of every call, such as the
/// opening of a cache, and all that a plugin of the contract 0.1 emits.
pub(crate) const NO_CALL: CallId = 0;

/// More warnings of one call than anybody reads.
const MAX_WARNINGS: u32 = 1000;
/// The largest cache has 100,000 layers, and two events for each.
const MAX_EVENTS: u32 = 1_000_000;

/// Passes an instance's events on. Clones share the counts.
#[derive(Clone)]
pub(crate) struct Listener(Arc<Inner>);

struct Inner {
    /// The plugin's file.
    plugin: String,
    on_event: OnEvent,
    scrubber: Arc<Scrubber>,
    warnings: AtomicU32,
    events: AtomicU32,
    /// How many calls have been numbered so far.
    numbered: AtomicU64,
    /// Those who hear of one call alone, by its number.
    calls: Mutex<HashMap<CallId, OnEvent>>,
}

/// A call's number, and the right of its listener to hear of it, which ends with
/// the last clone.
#[derive(Clone)]
pub(crate) struct Call {
    id: CallId,
    _heard: Option<Arc<Heard>>,
}

impl Call {
    /// The number, as the plugin gets it.
    pub(crate) fn id(&self) -> CallId {
        self.id
    }
}

/// Ends a listener's right to hear of a call.
struct Heard {
    id: CallId,
    listener: Listener,
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.listener.calls().remove(&self.id);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("plugin", &self.0.plugin)
            .finish_non_exhaustive()
    }
}

impl Listener {
    pub(crate) fn new(plugin: &str, on_event: OnEvent, scrubber: Arc<Scrubber>) -> Self {
        Self(Arc::new(Inner {
            plugin: plugin.to_owned(),
            on_event,
            scrubber,
            warnings: AtomicU32::new(0),
            events: AtomicU32::new(0),
            numbered: AtomicU64::new(NO_CALL),
            calls: Mutex::default(),
        }))
    }

    /// A call begins: the plugin may say as much again.
    pub(crate) fn call_begins(&self) {
        self.0.warnings.store(0, Ordering::Relaxed);
        self.0.events.store(0, Ordering::Relaxed);
    }

    /// Numbers a call. Its events go to `on_event`, or with none to the
    /// instance's own listener.
    pub(crate) fn number(&self, on_event: Option<OnEvent>) -> Call {
        let id = self.0.numbered.fetch_add(1, Ordering::Relaxed) + 1;
        let heard = on_event.map(|on_event| {
            self.calls().insert(id, on_event);
            Arc::new(Heard {
                id,
                listener: self.clone(),
            })
        });
        Call { id, _heard: heard }
    }

    /// Who hears of a call. The instance's own listener hears of those that have
    /// none, and of numbers that were never given.
    pub(crate) fn of(&self, call: CallId) -> OnEvent {
        let calls = self.calls();
        Arc::clone(calls.get(&call).unwrap_or(&self.0.on_event))
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, OnEvent>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plugin reported that something happened in a call.
    pub(crate) fn told(&self, call: CallId, event: events::Event) {
        let (count, max, what) = match &event {
            events::Event::Warning(_) => (&self.0.warnings, MAX_WARNINGS, "warnings"),
            _ => (&self.0.events, MAX_EVENTS, "events"),
        };
        if self.is_within(count, max, what)
            && let Some(event) = Event::from_backend(event, &self.0.scrubber)
        {
            // Not called under the lock: what it does is not ours to know.
            self.of(call)(event);
        }
    }

    /// A request of the plugin was not sent, for `reason`.
    pub(crate) fn denied(&self, authority: &str, reason: &str) {
        if self.is_within(&self.0.warnings, MAX_WARNINGS, "warnings") {
            let plugin = &self.0.plugin;
            let authority = self.0.scrubber.clean(authority);
            (self.0.on_event)(Event::Warning(format!(
                "the plugin {plugin} wanted to send a request to {authority}: {reason}; it was \
                 not sent"
            )));
        }
    }

    /// Whether one more is heard. Says once that no more are.
    fn is_within(&self, count: &AtomicU32, max: u32, what: &str) -> bool {
        let before = count.load(Ordering::Relaxed);
        if before > max {
            return false;
        }
        count.store(before + 1, Ordering::Relaxed);
        if before == max {
            let plugin = &self.0.plugin;
            (self.0.on_event)(Event::Warning(format!(
                "the plugin {plugin} has sent {max} {what} in one call; further ones are not shown"
            )));
        }
        before < max
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_plugin_that_never_stops_talking_is_not_heard_any_more() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let on_event: OnEvent = {
            let heard = Arc::clone(&heard);
            Arc::new(move |event| heard.lock().unwrap().push(event))
        };
        let listener = Listener::new("chatty.wasm", on_event, Arc::default());
        for _ in 0..3 * MAX_WARNINGS {
            listener.told(NO_CALL, events::Event::Warning("look at me".into()));
        }
        listener.told(NO_CALL, events::Event::ManifestStored("app".into()));

        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), MAX_WARNINGS as usize + 2);
        let Event::Warning(last) = &heard[MAX_WARNINGS as usize] else {
            panic!("{:?}", heard[MAX_WARNINGS as usize]);
        };
        assert!(
            last.contains("chatty.wasm") && last.contains("1000 warnings"),
            "{last}"
        );
        assert_eq!(heard.last(), Some(&Event::ManifestStored("app".into())));
    }

    #[test]
    fn each_call_may_say_as_much_again() {
        let heard = Arc::new(AtomicU32::new(0));
        let on_event: OnEvent = {
            let heard = Arc::clone(&heard);
            Arc::new(move |_| {
                heard.fetch_add(1, Ordering::Relaxed);
            })
        };
        let listener = Listener::new("chatty.wasm", on_event, Arc::default());
        for _ in 0..3 {
            listener.call_begins();
            for _ in 0..2 * MAX_WARNINGS {
                listener.told(NO_CALL, events::Event::Warning("look at me".into()));
            }
        }
        let heard = heard.load(Ordering::Relaxed);
        assert_eq!(heard, 3 * (MAX_WARNINGS + 1));
    }
}
