//! Where the system gives little: open files, threads, address space, room on
//! the disk. A command works, or says in a sentence what is short: it does not
//! panic, and it does not wait for ever.
#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use build_cache_host::oci_layout::Layout;
use build_cache_host::{Digest, Manifest};

use crate::world::{Ran, World, text};

/// Longer than any of these runs takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(120);

const MIB: usize = 1 << 20;

/// Many small layers and some large ones, which are sent and fetched in parts.
fn many_layers() -> Vec<usize> {
    let small = (0..500).map(|number| 1000 + number * 37);
    small.chain([20 * MIB, 17 * MIB, 9 * MIB]).collect()
}

/// Runs the command, which must end by itself.
fn run(world: &World, mut command: Command) -> Ran {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let reading = std::thread::spawn(move || child.wait_with_output().expect("its output"));
    let started = Instant::now();
    while !reading.is_finished() {
        assert!(started.elapsed() < LONGEST, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = reading.join().expect("its output");
    let ran = Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    };
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    assert!(!ran.stderr.contains(&world.store.key()), "the key is shown");
    ran
}

/// Pushes and pulls under these limits, and compares.
fn push_and_pull(world: &World, limits: &str, dir: &Path) {
    let cache = world.cache("name=app");
    let to = world.path("to");
    let pushed = world.limited(limits, &["push", "--json", "--to", &cache, text(dir)]);
    let pushed = run(world, pushed).succeeded().json();
    assert_eq!(pushed["layers_stored"], pushed["layers"]);
    let pulled = world.limited(limits, &["pull", "--json", "--from", &cache, text(&to)]);
    let pulled = run(world, pulled).succeeded().json();
    assert_eq!(pulled["layers_fetched"], pushed["layers"]);
    assert_eq!(read(&to), read(dir));
}

/// The cache in a directory, with its layers checked.
fn read(dir: &Path) -> Manifest {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let layout = Layout::open(dir).await.expect("a cache");
        let manifest = layout.read(None).await.expect("a manifest");
        layout.check(&manifest).await.expect("the layers");
        layout.verify(&manifest).await.expect("the layers' bytes");
        manifest
    })
}

#[test]
fn two_hundred_and_fifty_six_open_files_suffice() {
    let world = World::new();
    let dir = world.cache_of_layers("from", &many_layers());
    push_and_pull(&world, "ulimit -n 256", &dir);
}

#[test]
fn even_sixty_four_open_files_suffice() {
    let world = World::new();
    let dir = world.cache_of_layers("from", &many_layers());
    push_and_pull(&world, "ulimit -n 64", &dir);
}

#[test]
fn a_low_limit_that_may_be_raised_is_raised() {
    // The hard limit stays, and with it the speed.
    let world = World::new();
    let dir = world.cache_of_layers("from", &[1000; 3]);
    push_and_pull(&world, "ulimit -S -n 32", &dir);
}

#[test]
fn too_few_open_files_are_said_in_a_sentence() {
    let world = World::new();
    let dir = world.cache_of_layers("from", &[1000]);
    let to = world.cache("name=app");
    for files in [4, 8, 12] {
        let limits = format!("ulimit -n {files}");
        let ran = run(
            &world,
            world.limited(&limits, &["push", "--to", &to, text(&dir)]),
        );
        if ran.code != Some(0) {
            ran.failed(1, &["open files", "ulimit -n"]);
        }
    }
}

#[test]
fn two_gigabytes_of_address_space_suffice() {
    let world = World::new();
    let dir = world.cache_of_layers("from", &[1000, 300_000, 9 * MIB, 20 * MIB]);
    push_and_pull(&world, "ulimit -v 2097152", &dir);
}

#[test]
fn too_little_address_space_is_said_in_a_sentence() {
    let world = World::new();
    let dir = world.cache_of_layers("from", &[1000]);
    let to = world.cache("name=app");
    let limits = "ulimit -v 700000";
    let ran = run(
        &world,
        world.limited(limits, &["push", "--to", &to, text(&dir)]),
    );
    ran.failed(1, &["threads", "ulimit -v"]);
}

/// A user of this test's own: the limit is on all that a user runs, and root has
/// none. Where the tests do not run as root, this is the user who runs them.
fn as_another_user(command: &mut Command, world: &World) -> bool {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    let id = Command::new("id").arg("-u").output().expect("id runs");
    if id.stdout.trim_ascii() != b"0" {
        return false;
    }
    let user = 100_000 + std::process::id() % 50_000;
    for path in [world.folder.path().to_owned(), world.path("cache")] {
        std::fs::create_dir_all(&path).expect("a folder");
        chown(&path, Some(user), None).expect("another owner");
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, everybody).expect("a mode");
    }
    command.env("XDG_CACHE_HOME", world.path("cache"));
    command.uid(user);
    true
}

#[test]
fn few_threads_are_enough_or_it_is_said_in_a_sentence() {
    let world = World::new();
    let dir = world.cache_of_layers("from", &[1000, 300_000, 9 * MIB, 20 * MIB]);
    for threads in [1, 2, 4, 7, 9, 12, 20, 40, 100] {
        let to = world.cache(&format!("name=app-{threads}"));
        let from = world.path(&format!("to-{threads}"));
        // `sh` has one letter or the other for it.
        let limits = format!("{{ ulimit -u {threads} 2>/dev/null || ulimit -p {threads}; }}");
        let mut push = world.limited(&limits, &["push", "--to", &to, text(&dir)]);
        let has_limit_of_its_own = as_another_user(&mut push, &world);
        let pushed = run(&world, push);
        let mut pull = world.limited(&limits, &["pull", "--from", &to, text(&from)]);
        as_another_user(&mut pull, &world);
        let pulled = run(&world, pull);
        for ran in [pushed, pulled] {
            let must_work = has_limit_of_its_own && threads >= 20;
            if must_work || ran.code == Some(0) {
                ran.succeeded();
            } else {
                ran.failed(1, &["threads", "ulimit -u"]);
            }
        }
        if threads == 1 {
            assert!(!from.exists(), "nothing can have been pulled");
        }
    }
}

#[test]
fn a_disk_that_is_full_in_mid_pull_is_said_and_leaves_no_name() {
    let world = World::new();
    let dir = world.cache_of_layers("from", &[1000, 30 * MIB]);
    world.push(&dir, "name=app");
    let (from, to) = (world.cache("name=app"), world.path("to"));
    // No file may grow beyond 8 MiB, in blocks of 512 bytes; a shell that ignores
    // the signal for it has the write fail, as on a full disk.
    let limits = "trap '' XFSZ && ulimit -f 16384";
    let ran = run(
        &world,
        world.limited(limits, &["pull", "--from", &from, text(&to)]),
    );
    ran.failed(1, &["cannot write", "too large"]);
    assert!(!to.join("index.json").exists());
    let left = std::fs::read_dir(to.join("ingest")).expect("a folder");
    assert_eq!(left.count(), 0, "files are left that take up the disk");

    let pulled = world.pull(&to, "name=app");
    assert_eq!(pulled["layers_lost"], 0);
    assert_eq!(read(&to), read(&dir));
}

#[test]
fn a_manifest_of_64_mib_goes_there_and_back() {
    const RECORDS_BYTES: usize = 60 * MIB;
    let world = World::new();
    let record = |number: usize| {
        let step = Digest::of(&number.to_le_bytes());
        let inputs = match number {
            0 => String::new(),
            _ => format!(
                r#","inputs":[[{{"selector":"{}","link":{}}}]]"#,
                "folder/".repeat(200),
                number - 1
            ),
        };
        format!(
            r#"{{"layers":[{{"layer":0,"createdAt":"2026-01-01T00:00:00Z"}}],"digest":"{step}"{inputs}}}"#
        )
    };
    let mut records = String::from("[");
    for number in 0.. {
        if records.len() > RECORDS_BYTES {
            break;
        }
        if number > 0 {
            records.push(',');
        }
        records.push_str(&record(number));
    }
    records.push(']');
    let dir = world.cache_of("from", &[1000], records);
    push_and_pull(&world, "true", &dir);
}

/// Starts a pull that will not end by itself, and waits until it is under way.
fn start_a_pull(world: &World, command: &str) -> Child {
    use blob_store::{Action, Fault, OperationKind};
    let dir = world.cache_of_layers("from", &[1000]);
    world.push(&dir, "name=app");
    let slow = Fault::new(Action::Delay { ms: 3000 }).on(OperationKind::GetBlob);
    world.store.faults().push(slow.key("blobs/"));
    world.store.reset_stats();
    let (from, to) = (world.cache("name=app"), world.path("to"));
    let child = world
        .limited(command, &["pull", "--from", &from, text(&to)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let started = Instant::now();
    while world.store.stats().of(OperationKind::GetBlob) < 2 {
        assert!(started.elapsed() < LONGEST, "it does not talk to the store");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = child.id().to_string();
    let hung_up = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(hung_up.expect("kill runs").success());
    child
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    let world = World::new();
    let started = Instant::now();
    let status = start_a_pull(&world, "true").wait().expect("it ends");
    assert_eq!(
        status.code(),
        Some(129),
        "{status:?} {:?}",
        started.elapsed()
    );
    assert!(!world.path("to").join("index.json").exists());
}

#[test]
fn nohup_is_respected() {
    let world = World::new();
    let status = start_a_pull(&world, "trap '' HUP").wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(world.path("to").join("index.json").exists());
}
