//! Stopping in the middle.
#![cfg(unix)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use blob_store::{Action, Fault, OperationKind};

use crate::world::{CONTAINER, World, buildkit, text};

/// Starts the program, sends it a signal once it talks to the store, and
/// returns its exit code and what it said.
fn interrupt(world: &World, args: &[&str], signal: &str) -> (Option<i32>, String) {
    world.store.reset_stats();
    let mut child = world
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let started = Instant::now();
    while world.store.stats().of(OperationKind::PutBlob)
        + world.store.stats().of(OperationKind::GetBlob)
        == 0
    {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it does not talk to the store"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let sent = Instant::now();
    let kill = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
    let status = child.wait().expect("it ends");
    assert!(
        sent.elapsed() < Duration::from_secs(1),
        "it took {:?}",
        sent.elapsed()
    );
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut stderr)
        .expect("text");
    (status.code(), stderr)
}

fn slow(operation: OperationKind) -> Fault {
    Fault::new(Action::Delay { ms: 30_000 }).on(operation)
}

#[test]
fn a_push_stops_at_once_and_leaves_no_name() {
    let world = World::new();
    world.store.faults().push(slow(OperationKind::PutBlob));
    let (to, cache) = (world.cache("name=app"), buildkit("local-max"));
    let (code, stderr) = interrupt(&world, &["push", "--to", &to, text(&cache)], "-INT");
    assert_eq!(code, Some(130));
    assert!(stderr.contains("stopped"), "{stderr}");
    assert_eq!(
        world.store.blob(CONTAINER, "manifests/app").ok().flatten(),
        None
    );
}

#[test]
fn a_pull_stops_at_once_and_leaves_nothing_half_written() {
    let world = World::new();
    world.push(&buildkit("local-max"), "name=app");
    let stall = Fault::new(Action::StallResponse {
        after: 100,
        ms: 30_000,
    });
    world
        .store
        .faults()
        .push(stall.on(OperationKind::GetBlob).key("blobs/"));
    let (from, dir) = (world.cache("name=app"), world.path("cache"));
    let (code, _) = interrupt(&world, &["pull", "--from", &from, text(&dir)], "-TERM");
    assert_eq!(code, Some(143));
    assert!(!dir.join("index.json").exists());

    world.store.faults().clear();
    let pulled = world.pull(&dir, "name=app");
    assert_eq!(pulled["layers_lost"], 0);
}

#[test]
fn a_check_that_is_stopped_still_takes_its_probe_away() {
    let world = World::new();
    world
        .store
        .create_container(CONTAINER)
        .expect("a container");
    let a_while = Fault::new(Action::Delay { ms: 300 });
    let operations = [OperationKind::PutBlob, OperationKind::ListBlobs];
    for operation in operations {
        world.store.faults().push(a_while.clone().on(operation));
    }
    let to = world.cache("name=app");
    let (code, stderr) = interrupt(&world, &["check", "--to", &to], "-INT");
    assert_eq!(code, Some(130));
    assert!(stderr.contains("stopped"), "{stderr}");
    let stats = world.store.stats();
    // It was written, and perhaps replaced, as a push does with a name.
    assert!((1..=2).contains(&stats.of(OperationKind::PutBlob)));
    assert!(world.store.keys(CONTAINER).expect("a container").is_empty());
}
