//! What the system lets this process use at once, and how much is done at once
//! because of it: open files, threads, address space.
//!
//! None of them is short on most machines. Where one is (macOS starts programs
//! with 256 open files, containers have limits on threads, batch systems on
//! address space), fewer things are done at once, rather than all of them begun
//! and the last ones failed. What to do is decided by plain functions here; the
//! process itself is only asked.

use std::sync::mpsc;
use std::thread;

/// As many open files serve the largest transfer, and every system gives them:
/// macOS refuses more than 10,240.
const ENOUGH_FILES: u64 = 8192;
/// What a process that has no limit is taken to have.
const ANY_NUMBER: usize = 1 << 20;
/// Files that are open whatever is transferred: standard streams, the runtime's
/// own, a lock, an index, the tool that is asked for a token.
const FILES_OF_ITS_OWN: usize = 48;

/// How many files this process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFiles(usize);

impl OpenFiles {
    /// What holds for this process now.
    pub(crate) fn of_this_process() -> Self {
        #[cfg(unix)]
        let limit = {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            limit.current.and_then(|files| usize::try_from(files).ok())
        };
        #[cfg(not(unix))]
        let limit = None;
        Self(limit.unwrap_or(ANY_NUMBER).min(ANY_NUMBER))
    }

    /// Those that transfers may use.
    fn to_share(self) -> usize {
        self.0.saturating_sub(FILES_OF_ITS_OWN)
    }

    /// How many requests may be under way at once, each with its connection and
    /// the file that it sends: of one instance.
    pub(crate) fn requests_of_an_instance(self) -> usize {
        (self.to_share() / 3).max(2)
    }

    /// The same, of all instances of a host together.
    pub(crate) fn requests_of_a_host(self) -> usize {
        (self.to_share() * 2 / 5).max(2)
    }

    /// How many layers may be on their way into files at once, each with two
    /// handles on its file.
    pub(crate) fn layers(self) -> usize {
        (self.to_share() / 6).max(2)
    }
}

/// Lets this process open as many files as a transfer may need, as far as the
/// system allows it: many systems let a process raise its own limit and start it
/// with a low one. A program calls it once, at its start. Where it is not
/// possible, less is done at once.
pub fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if let Some(files) = raised(limit.current, limit.maximum) {
            let wanted = Rlimit {
                current: Some(files),
                maximum: limit.maximum,
            };
            let _ = setrlimit(Resource::Nofile, wanted);
        }
    }
}

/// What to raise a limit to that is `current` and may be `maximum`; none where it
/// is high enough or cannot be raised. No limit is `None`.
#[cfg(unix)]
fn raised(current: Option<u64>, maximum: Option<u64>) -> Option<u64> {
    let wanted = maximum.unwrap_or(ENOUGH_FILES).min(ENOUGH_FILES);
    current
        .is_some_and(|current| current < wanted)
        .then_some(wanted)
}

/// How much address space this process may have, in bytes, where that is
/// limited.
pub(crate) fn address_space() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::As).current;
    #[cfg(not(unix))]
    return None;
}

/// How an engine reserves address space for the memories of its instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// For a memory, in bytes.
    pub(crate) memory: u64,
    /// Beyond what a memory has when it has to grow beyond that, in bytes.
    pub(crate) growth: u64,
    /// Before and after it, in bytes.
    pub(crate) guard: u64,
}

impl Reservation {
    /// None where wasmtime's own will do. It reserves 4 GiB for each memory, of
    /// which nothing is used, and need not check any access then. That makes
    /// plugins faster by a tenth (a pull with a manifest of 60 MB took 0.78 s of
    /// processor time rather than 0.88), but is impossible where the address
    /// space is limited.
    pub(crate) fn within(address_space: Option<u64>) -> Option<Self> {
        /// As many as 64 instances at once would reserve.
        const PLENTY: u64 = 64 * (4 << 30);
        address_space.filter(|limit| *limit < PLENTY).map(|_| Self {
            memory: 16 << 20,
            growth: 16 << 20,
            guard: 64 << 10,
        })
    }
}

/// How many threads a program may start, and how it shares them out: what to
/// build its Tokio runtime with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// For tasks of the runtime that do not block.
    pub workers: usize,
    /// For work that blocks. Tokio calls them `max_blocking_threads`.
    pub blocking: usize,
}

/// There are not enough threads to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this program needs {needed} threads at least, and the system lets it start {found}: raise the \
     limit on processes (`ulimit -u`, a container's `--pids-limit`) or on memory (`ulimit -v`), or \
     end other programs"
)]
pub struct TooFewThreads {
    /// How many can be started.
    pub found: usize,
    /// How many are needed.
    pub needed: usize,
}

impl Threads {
    /// Tokio's own number of threads for work that blocks.
    const MOST_BLOCKING: usize = 512;
    /// One that works, one that counts the time of plugins, and for work that
    /// blocks the two of a large layer and four more.
    const NEEDED: usize = 8;
    /// With so many beside those that work, there is one for everything that is
    /// done at once.
    const ENOUGH: usize = 128;
    /// What the program has beside the stacks and heaps of its threads, and
    /// what each of those reserves, in bytes of address space: a stack of 2 MiB
    /// and, with glibc, a heap of 64 MiB.
    const ADDRESS_SPACE_BESIDE: u64 = 640 << 20;
    const ADDRESS_SPACE_EACH: u64 = 66 << 20;
    /// With so much, in bytes, the threads that are needed share their heaps.
    const LEAST_ADDRESS_SPACE: u64 = 768 << 20;

    /// Finds out how many threads this process may start, by starting them where
    /// a limit may be near: a runtime that cannot start one ends the program, or
    /// waits for it for ever.
    ///
    /// # Errors
    /// When they are too few to run at all.
    pub fn of_this_process() -> Result<Self, TooFewThreads> {
        let processors = thread::available_parallelism().map_or(2, usize::from);
        let fitting = within_address_space(address_space());
        let wanted = match may_be_short(fitting) {
            true => (Self::ENOUGH + processors).min(fitting),
            // Costs next to nothing, and tells where there are none at all.
            false => Self::NEEDED,
        };
        match started_at_once(wanted) {
            found if found < Self::NEEDED => Err(TooFewThreads {
                found,
                needed: Self::NEEDED,
            }),
            found if found == wanted && wanted != fitting => {
                Ok(Self::shared_out(usize::MAX, processors))
            }
            found => Ok(Self::shared_out(found, processors)),
        }
    }

    /// How to share out so many threads.
    fn shared_out(threads: usize, processors: usize) -> Self {
        if threads >= Self::ENOUGH + processors {
            return Self {
                workers: processors,
                blocking: Self::MOST_BLOCKING,
            };
        }
        let workers = (threads / 6).clamp(1, processors);
        Self {
            workers,
            // One counts the time.
            blocking: threads.saturating_sub(workers + 1).max(1),
        }
    }
}

/// How many threads fit into the address space.
fn within_address_space(limit: Option<u64>) -> usize {
    let Some(limit) = limit else {
        return usize::MAX;
    };
    let left = limit.saturating_sub(Threads::ADDRESS_SPACE_BESIDE);
    let fitting = usize::try_from(left / Threads::ADDRESS_SPACE_EACH).unwrap_or(usize::MAX);
    match limit >= Threads::LEAST_ADDRESS_SPACE {
        true => fitting.max(Threads::NEEDED),
        false => fitting.min(Threads::NEEDED - 1),
    }
}

/// Whether a component may be compiled on all processors at once. The threads
/// for that are never given back, and where they cannot be had that is a panic.
pub(crate) fn may_compile_in_parallel() -> bool {
    let wanted = Threads::ENOUGH + thread::available_parallelism().map_or(2, usize::from);
    let fitting = within_address_space(address_space());
    !may_be_short(fitting) || (fitting >= wanted && started_at_once(wanted) == wanted)
}

/// Whether the system may give fewer threads than are enough: only then is it
/// worth the time to start them all.
fn may_be_short(fitting: usize) -> bool {
    /// Of a user or a container that has so many, enough are free.
    const PLENTY: u64 = 4096;
    let is_low = |limit: Option<u64>| limit.is_some_and(|limit| limit < PLENTY);
    #[cfg(unix)]
    let of_the_user = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    #[cfg(not(unix))]
    let of_the_user = None;
    // Where it is neither a number nor there, there is no limit.
    let of_the_container = std::fs::read_to_string("/sys/fs/cgroup/pids.max").ok();
    let of_the_container = of_the_container.and_then(|text| text.trim().parse().ok());
    fitting < Threads::ENOUGH || is_low(of_the_user) || is_low(of_the_container)
}

/// How many threads can be there at once, up to `wanted`. They end at once.
fn started_at_once(wanted: usize) -> usize {
    let mut started = Vec::new();
    while started.len() < wanted {
        let (go_on, wait) = mpsc::channel::<()>();
        let thread = thread::Builder::new().spawn(move || wait.recv());
        match thread {
            Ok(thread) => started.push((go_on, thread)),
            Err(_) => break,
        }
    }
    let count = started.len();
    let (go_on, threads): (Vec<_>, Vec<_>) = started.into_iter().unzip();
    drop(go_on);
    for thread in threads {
        let _ = thread.join();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_limit_on_open_files_is_raised_as_far_as_it_may_be() {
        for (current, maximum, expected) in [
            (Some(256), None, Some(8192)),
            (Some(1024), Some(1 << 20), Some(8192)),
            (Some(256), Some(4096), Some(4096)),
            (Some(256), Some(256), None),
            (Some(1 << 16), Some(1 << 20), None),
            (None, None, None),
        ] {
            assert_eq!(
                raised(current, maximum),
                expected,
                "{current:?} {maximum:?}"
            );
        }
    }

    #[test]
    fn what_is_open_at_once_fits_the_limit() {
        for limit in [64, 128, 256, 512, 1024, 8192] {
            let files = OpenFiles(limit);
            let (requests, layers) = (files.requests_of_an_instance(), files.layers());
            let push = FILES_OF_ITS_OWN.min(limit / 2) + 2 * requests;
            let pull = FILES_OF_ITS_OWN.min(limit / 2) + requests + 2 * layers;
            assert!(push <= limit && pull <= limit, "{limit}: {push} {pull}");
        }
        assert!(OpenFiles(256).requests_of_a_host() > OpenFiles(256).requests_of_an_instance());
        assert!(OpenFiles(8192).requests_of_an_instance() >= 512);
        assert!(OpenFiles(1).requests_of_an_instance() >= 1);
    }

    #[test]
    fn a_little_is_reserved_where_the_address_space_is_limited() {
        assert_eq!(Reservation::within(None), None);
        assert_eq!(Reservation::within(Some(1 << 40)), None);
        let little = Reservation::within(Some(2 << 30)).expect("a reservation");
        assert!(little.memory + little.growth + 2 * little.guard < 64 << 20);
    }

    #[test]
    fn few_threads_are_shared_out_so_that_all_kinds_of_work_go_on() {
        for threads in Threads::NEEDED..Threads::ENOUGH {
            let shared = Threads::shared_out(threads, 8);
            assert!(shared.workers >= 1 && shared.blocking >= 6, "{shared:?}");
            assert!(shared.workers + shared.blocking < threads, "{shared:?}");
        }
        let all = Threads::shared_out(usize::MAX, 8);
        assert_eq!((all.workers, all.blocking), (8, 512));
    }

    #[test]
    fn threads_fit_into_the_address_space() {
        assert_eq!(within_address_space(None), usize::MAX);
        assert_eq!(within_address_space(Some(2 << 30)), 21);
        assert_eq!(within_address_space(Some(1 << 30)), Threads::NEEDED);
        assert_eq!(within_address_space(Some(700 << 20)), 0);
        assert_eq!(within_address_space(Some(1 << 20)), 0);
    }

    #[test]
    fn threads_are_counted_by_starting_them() {
        assert_eq!(started_at_once(10), 10);
    }
}
