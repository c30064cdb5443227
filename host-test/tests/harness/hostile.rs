//! A component that means harm (`host-test/hostile`) is contained, whatever it
//! does: the error names it, and another cache of the same host goes on
//! working.

mod answers;
mod asking;
mod describing;
mod exhausting;
mod forging;
mod idling;

use std::cell::Cell;
use std::time::{Duration, Instant};

use build_cache_host::{Cache, Error, Grants, OpenOptions, Plugin};
use host_test::conformance::{self, Subject};
use host_test::fixtures;
use host_test::sample::Sample;
use tokio::sync::OnceCell;

use crate::setup::{self, Attributes};

/// The component that means harm.
async fn hostile() -> Plugin {
    static HOSTILE: OnceCell<Plugin> = OnceCell::const_new();
    let load = async || setup::host().load(fixtures::component("hostile")).await;
    let plugin = HOSTILE.get_or_try_init(load).await;
    plugin.expect("a plugin that loads").clone()
}

/// The component's bytes, with what `describe` is to do.
fn hostile_describing(what: &str) -> Vec<u8> {
    const MARKER: &[u8] = b"describe:plain ";
    const ROOM: usize = 64;
    let mut bytes = std::fs::read(fixtures::component("hostile")).expect("the component");
    let mut places = bytes.windows(MARKER.len()).enumerate();
    let (at, _) = places
        .find(|(_, window)| *window == MARKER)
        .expect("the marker");
    let text = format!("{:ROOM$}", format!("describe:{what}"));
    assert_eq!(text.len(), ROOM, "`{what}` is too long");
    bytes[at..at + ROOM].copy_from_slice(text.as_bytes());
    bytes
}

/// Attributes that have it do `deed` in the call `at`.
fn orders<const N: usize>(deed: &str, at: &str, more: [(&str, &str); N]) -> Attributes {
    let mut orders = setup::attributes([("do", deed), ("at", at)]);
    orders.extend(setup::attributes(more));
    orders
}

/// Limits that a test need not wait long for.
fn tight() -> Grants {
    Grants {
        memory_bytes: 32 << 20,
        handles: 2000,
        message_bytes: 8 << 20,
        listing_bytes: 1 << 20,
        compute_time: Duration::from_millis(500),
        idle_time: Duration::from_millis(1500),
        ..Grants::default()
    }
}

/// Opens the hostile component under tight limits.
async fn open(attributes: Attributes) -> Result<Cache, Error> {
    let options = OpenOptions {
        grants: tight(),
        ..OpenOptions::default()
    };
    hostile().await.open(&attributes, options).await
}

/// Has it do `deed` in `import`, and says what came of it.
async fn import<const N: usize>(deed: &str, more: [(&str, &str); N]) -> Error {
    let cache = open(orders(deed, "import", more)).await.expect("a cache");
    cache.import().await.expect_err("an error")
}

/// How much longer the others may take while a deed keeps the processors busy.
const SEVERAL: u32 = 8;

/// Does something, while other caches of the same host export, import and read,
/// and fails if they are disturbed: by an error, or because they stand still.
async fn beside_others<T>(deed: impl Future<Output = T>) -> T {
    let store = setup::blob_store();
    let others = [setup::azblob_on(&store).await, setup::http_on(&store).await];
    let (rounds, steps) = (Cell::new(0), Cell::new(0));
    let work = async {
        loop {
            round(&others[rounds.get() % others.len()], rounds.get(), &steps).await;
            rounds.set(rounds.get() + 1);
        }
    };
    tokio::pin!(work);
    // What the others take when nobody disturbs them: a round of each.
    let begun = Instant::now();
    let undisturbed = async {
        while rounds.get() < others.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = &mut work => unreachable!("it never ends"),
        () = undisturbed => {}
    }
    let (usual, before) = (begun.elapsed(), steps.get());
    let begun = Instant::now();
    let outcome = tokio::select! {
        outcome = deed => outcome,
        () = &mut work => unreachable!("it never ends"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it was not contained"),
    };
    // While something took several times as long as all those steps, one of them
    // at least was done.
    let (took, done) = (begun.elapsed(), steps.get() - before);
    assert!(
        done > 0 || took < usual * SEVERAL,
        "the others stood still for {took:?}, where all their steps take {usual:?}"
    );
    let meanwhile = rounds.get();

    // Afterwards the others go on: the round under way ends, and so does one more.
    let two_more = async {
        while rounds.get() < meanwhile + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = work => unreachable!("it never ends"),
        () = two_more => outcome,
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the others stand still"),
    }
}

/// One export and what can be done with it, each a step.
async fn round(other: &Subject, number: usize, steps: &Cell<usize>) {
    let step = || steps.set(steps.get() + 1);
    let sample = Sample::of_sizes([1000, 300_000]);
    let name = format!("round-{number}");
    other.store(&name, &sample).await.expect("an export");
    step();
    let cache = other.open_to_read(&[&name]).await.expect("a cache");
    let holds = conformance::check_holds(&cache, &sample.manifest).await;
    holds.expect("the cache that was exported");
    step();
    let layers = conformance::check_layers(&cache, &sample.manifest).await;
    layers.expect("the layers that were exported");
    step();
}

/// The plugin has failed, for this reason, and the message names it.
#[track_caller]
fn assert_failed(error: &Error, reason: &str) {
    assert!(matches!(error, Error::PluginFailed { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("the plugin ") && text.contains("hostile.wasm failed: "),
        "{text}"
    );
    assert!(text.contains(reason), "{text}");
}
