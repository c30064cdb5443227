//! Programs that are killed in the middle, as machines and CI runners kill
//! them: whoever reads finds a whole cache, and whoever comes next goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blob_store::{Action, Fault, OperationKind, RunningStore};
use build_cache_host::Imported;
use futures::future::join_all;
use host_test::conformance::{Subject, check_layers};
use host_test::rounds::check::{self, Snapshot};
use host_test::rounds::program::Program;
use host_test::rounds::write;
use host_test::sample::Sample;
use host_test::store::OurContainer;
use tempfile::TempDir;

use crate::setup::{azblob, azblob_attributes, blob_store, run};

const CONTAINER: &str = "kills";
/// Small blocks and few at once, so that a kill falls between two of a layer.
const MORE: &str = "block_size=65536,parallelism=2";
/// In seconds; nothing stands still here.
const PATIENCE: u64 = 30;
/// The sizes of the layers that caches share, in bytes.
const SHARED: [u64; 6] = [150_000, 40_000, 300_000, 70_000, 10, 200_000];

/// A store, azblob on it to read with, and the program to write with.
async fn world() -> (Arc<RunningStore>, Subject, Program, TempDir) {
    let store = blob_store();
    OurContainer::new(Arc::clone(&store), CONTAINER).expect("a container");
    let subject = Subject::new(azblob().await, azblob_attributes(&store, CONTAINER));
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::find(folder.path(), PATIENCE)
        .await
        .expect("the program");
    (store, subject, program, folder)
}

/// Caches that share a chain of layers, and differ in the one on top. Another
/// seed gives other layers.
fn overlapping(seed: u64, count: u64) -> Vec<Sample> {
    let sizes = |top: u64| SHARED.into_iter().chain([250_000 + top]);
    (0..count)
        .map(|top| Sample::seeded(seed, sizes(top)))
        .collect()
}

/// Makes bodies slow, so that a program lives long enough to be killed.
fn slow(store: &RunningStore, operations: &[OperationKind]) {
    for operation in operations {
        let throttle = Action::Throttle {
            bytes_per_second: 500_000,
        };
        store.faults().push(Fault::new(throttle).on(*operation));
    }
}

/// Starts the program and kills it after a while. True where it came too late.
async fn kill_after(program: &Program, what: &str, attributes: &str, dir: &Path, ms: u64) -> bool {
    let mut child = program
        .start(what, &[], attributes, dir)
        .expect("a program");
    tokio::time::sleep(Duration::from_millis(ms)).await;
    let ended = child.try_wait().expect("a status").is_some();
    child.kill().await.expect("a kill");
    ended
}

/// Reads what stands under the names again and again, and checks that it is
/// whole. Gives how often there was something.
async fn read_until(done: &AtomicBool, subject: &Subject, names: &[&str]) -> u64 {
    let mut seen = 0;
    while !done.load(Ordering::Relaxed) {
        let cache = subject.open_to_read(names).await.expect("open");
        for Imported { name, outcome } in cache.import().await.expect("an import") {
            let loaded = outcome.expect("a manifest that can be used");
            assert!(
                loaded.missing.is_empty(),
                "`{name}` stands without {:?}",
                loaded.missing
            );
            check_layers(&cache, &loaded.manifest)
                .await
                .expect("its layers");
            seen += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

#[test]
fn whoever_is_killed_readers_see_whole_caches() {
    const ROUNDS: u64 = 12;
    const PUSHES: u64 = 4;
    run(async {
        let (store, subject, program, folder) = world().await;
        // Each to a name of its own and all to one.
        let to = |number: usize| {
            let more = format!("name=all;of-{number},{MORE}");
            Program::attributes(&store, CONTAINER, &more)
        };
        slow(&store, &[OperationKind::PutBlob, OperationKind::PutBlock]);

        let mut all = Vec::new();
        for round in 0..ROUNDS {
            all.push(overlapping(round, PUSHES));
        }
        let dir = |round: usize, number: usize| folder.path().join(format!("{round}-{number}"));
        for (round, caches) in all.iter().enumerate() {
            for (number, cache) in caches.iter().enumerate() {
                write(&dir(round, number), cache)
                    .await
                    .expect("a directory");
            }
        }

        let names = ["all", "of-0", "of-1", "of-2", "of-3"];
        let done = AtomicBool::new(false);
        let writing = async {
            let mut killed = 0;
            for (round, caches) in all.iter().enumerate() {
                let pushes = (0..caches.len()).map(|number| {
                    let (to, dir, program) = (to(number), dir(round, number), &program);
                    let ms = 40 + (round * 97 + number * 131) as u64 % 1100;
                    async move { kill_after(program, "push", &to, &dir, ms).await }
                });
                let ended = join_all(pushes).await;
                killed += ended.into_iter().filter(|ended| !ended).count() as u64;
            }
            store.faults().clear();
            let last = all.len() - 1;
            for number in 0..all[last].len() {
                let ran = program
                    .run("push", &[], &to(number), &dir(last, number))
                    .await;
                let ran = ran.expect("a push");
                assert!(ran.is_success(), "{ran:?}");
            }
            done.store(true, Ordering::Relaxed);
            killed
        };
        let (killed, seen) = tokio::join!(writing, read_until(&done, &subject, &names));

        let caches: Vec<_> = all.iter().flatten().collect();
        check::layers_are_right(&store, CONTAINER).expect("right layers");
        let stand = check::manifests_are_whole(&store, CONTAINER, &caches, false).expect("whole");
        assert_eq!(stand.len(), names.len());
        let pushes = ROUNDS * PUSHES;
        println!("{killed} of {pushes} pushes killed; {seen} caches read meanwhile");
        assert!(killed >= ROUNDS && seen > 0, "{killed} killed, {seen} read");
    });
}

#[test]
fn a_pull_that_is_killed_leaves_the_directory_as_it_was_or_whole() {
    const KILLS: u64 = 16;
    run(async {
        let (store, subject, program, folder) = world().await;
        let [new, old] = &overlapping(1, 2)[..] else {
            unreachable!("two")
        };
        subject.store("app", new).await.expect("an export");
        let from = Program::attributes(&store, CONTAINER, "name=app");

        let (mut killed, mut taken_up) = (0, 0);
        for kill in 0..KILLS {
            let dir = folder.path().join(format!("cache-{kill}"));
            if kill % 2 == 0 {
                write(&dir, old).await.expect("a directory");
                // So that there is more to fetch than the layer on top.
                remove_some_layers(&dir, new);
            }
            let before = Snapshot::of(&dir);
            slow(&store, &[OperationKind::GetBlob]);
            let ms = 60 + kill * 67;
            let ended = kill_after(&program, "pull", &from, &dir, ms).await;
            killed += u64::from(!ended);
            store.faults().clear();

            check::directory_is_clean(&dir, true).expect("no half-written file with a name");
            if Snapshot::of(&dir) != before {
                let found = check::cache_in(&dir, "app").await.expect("a whole cache");
                assert_eq!(found, new.manifest);
            }
            let there = layers_in(&dir, new);
            let ran = program
                .run("pull", &["--strict"], &from, &dir)
                .await
                .expect("a pull");
            assert!(ran.is_success(), "{ran:?}");
            assert_eq!(ran.number("layers_reused"), there, "{ran:?}");
            assert_eq!(
                check::cache_in(&dir, "app").await.expect("whole"),
                new.manifest
            );
            taken_up += there;
        }
        println!("{killed} of {KILLS} pulls killed; {taken_up} layers taken up by the next");
        assert!(
            killed >= KILLS / 2 && taken_up > 0,
            "{killed} killed, {taken_up} taken up"
        );
    });
}

/// How many layers of a cache a directory has.
fn layers_in(dir: &Path, cache: &Sample) -> u64 {
    let digests = cache.digests().into_iter();
    digests
        .filter(|blob| dir.join("blobs/sha256").join(blob.hex()).exists())
        .count() as u64
}

/// Takes away every other layer that the cache would find there.
fn remove_some_layers(dir: &Path, cache: &Sample) {
    for blob in cache.digests().iter().step_by(2) {
        // The one on top is not there.
        let _ = std::fs::remove_file(dir.join("blobs/sha256").join(blob.hex()));
    }
}
