//! Limits on time are on time without progress, and the user's to set: a
//! transfer that moves may take as long as it needs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use blob_store::{Action, BlobStore, Fault, OperationKind, Options, RunningStore};
use host_test::rounds::program::{Program, Ran};
use host_test::rounds::write;
use host_test::sample::Sample;
use tempfile::TempDir;

use crate::setup::run;

const CONTAINER: &str = "patience";

/// A store that holds a cache of one layer, and the cache in a directory.
struct World {
    store: RunningStore,
    folder: TempDir,
}

impl World {
    async fn new(size: u64) -> (Self, PathBuf) {
        let store = BlobStore::start(Options::default()).expect("a store");
        store.create_container(CONTAINER).expect("a container");
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("cache");
        write(&dir, &Sample::of_sizes([size]))
            .await
            .expect("a cache");
        (Self { store, folder }, dir)
    }

    /// Runs the program, which lets a request stand still for `patience` seconds.
    async fn run(
        &self,
        what: &str,
        patience: u64,
        more: &str,
        dir: &std::path::Path,
    ) -> (Ran, Duration) {
        let program = Program::find(self.folder.path(), patience)
            .await
            .expect("the program");
        let more = format!("name=app,{more}");
        let attributes = Program::attributes(&self.store, CONTAINER, &more);
        let started = Instant::now();
        let ran = program
            .run(what, &[], &attributes, dir)
            .await
            .expect("an end");
        (ran, started.elapsed())
    }

    fn fault(&self, action: Action, operation: OperationKind) {
        self.store
            .faults()
            .push(Fault::new(action).on(operation).key("blobs/"));
    }
}

#[test]
fn a_transfer_that_moves_may_take_longer_than_a_request_may_stand_still() {
    /// So large that the system's buffers, which take some megabytes at once,
    /// drain within the patience.
    const SIZE: u64 = 32 << 20;
    const BYTES_PER_SECOND: u64 = 4 << 20;
    const PATIENCE: u64 = 4;
    run(async {
        let (world, dir) = World::new(SIZE).await;
        let slow = Action::Throttle {
            bytes_per_second: BYTES_PER_SECOND,
        };
        world.fault(slow.clone(), OperationKind::PutBlob);
        world.fault(slow, OperationKind::GetBlob);
        let more = "block_size=64MiB,max_retries=0,stall_timeout=4s";
        for (what, dir) in [("push", dir), ("pull", world.folder.path().join("to"))] {
            let (ran, took) = world.run(what, PATIENCE, more, &dir).await;
            assert!(ran.is_success(), "{ran:?}");
            println!("a {what} took {took:.1?}, and a request may stand still for {PATIENCE} s");
            // A pull reads four ranges at once, each at this pace.
            if what == "push" {
                assert!(took.as_secs() > PATIENCE, "{took:?}");
            }
        }
    });
}

#[test]
fn a_transfer_that_stands_still_is_given_up_after_the_time_that_the_user_gave() {
    run(async {
        let (world, dir) = World::new(100_000).await;
        let more = "max_retries=0,stall_timeout=1s";
        let (ran, _) = world.run("push", 1, more, &dir).await;
        assert!(ran.is_success(), "{ran:?}");
        world.fault(
            Action::StallResponse {
                after: 0,
                ms: 60_000,
            },
            OperationKind::GetBlob,
        );
        let (ran, took) = world
            .run("pull", 1, more, &world.folder.path().join("to"))
            .await;
        // It is taken up again a few times, and stands still each time.
        assert!(
            !ran.is_success() && took < Duration::from_secs(25),
            "{took:?}: {ran:?}"
        );
        assert!(ran.stderr.contains("sha256:"), "{ran:?}");
        println!("a pull that stands still ended after {took:.1?}");

        let (world, dir) = World::new(100_000).await;
        world.fault(
            Action::StallRequest {
                after: 10,
                ms: 60_000,
            },
            OperationKind::PutBlob,
        );
        let (ran, took) = world.run("push", 1, more, &dir).await;
        assert!(
            !ran.is_success() && took < Duration::from_secs(10),
            "{took:?}: {ran:?}"
        );
        println!("a push that stands still ended after {took:.1?}");
    });
}
