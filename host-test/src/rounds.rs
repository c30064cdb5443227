//! Rounds of pushes and pulls while things go wrong: what goes wrong is drawn
//! from a seed, the program is the real one, and whatever happens, a round ends
//! in success with every byte right, or in a clear error with nothing wrong
//! stored or written.
//!
//! A round's seed decides its caches, its faults and its options. In which
//! order the requests of one run reach the store, it does not decide, so a seed
//! that failed may pass when it is tried again; most do not.

pub mod check;
mod dice;
mod plan;
pub mod program;

use std::fmt;
use std::path::Path;

use blob_store::{BlobStore, Fault, Options, RunningStore, Stats};
use build_cache_host::oci_layout::{Check, LayoutWriter};
use futures::stream::{self, StreamExt};
use tempfile::TempDir;

use crate::failure::ensure;
use crate::sample::Sample;
use crate::{Failure, Outcome};
use check::Snapshot;
use plan::{BLOCK, PATIENCE, Plan};
use program::{Program, Ran};

const CONTAINER: &str = "rounds";
const NAME: &str = "app";

/// A manifest and a list of blocks have less than this, in bytes.
const BESIDE_LAYERS: u64 = 16 << 10;

/// What rounds came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Rounds that ended as they must.
    pub rounds: u64,
    /// Requests that a fault hit.
    pub faults: u64,
    /// Pushes that ended well, and with an error.
    pub pushed: u64,
    /// Pushes that ended with an error.
    pub push_errors: u64,
    /// Pulls that brought all of the cache.
    pub pulled: u64,
    /// Pulls that brought a part of it, and said so.
    pub pulled_in_part: u64,
    /// Pulls that found no cache.
    pub pulled_nothing: u64,
    /// Pulls that ended with an error.
    pub pull_errors: u64,
    /// Bytes of bodies that went to the store, and those of them that had to.
    pub sent_bytes: u64,
    /// The bytes of the layers that had to be sent.
    pub needed_bytes: u64,
    /// The most that one fault cost, in bytes sent again.
    pub worst_waste_bytes: u64,
}

/// A round that did not end as it must.
#[derive(Debug)]
pub struct FailedRound {
    /// What gives the same round again.
    pub seed: u64,
    /// What was wrong.
    pub failure: Failure,
}

/// Runs `count` rounds from seed `first` on, some at once.
///
/// # Errors
/// Those that did not end as they must. The outer error is one of the set-up.
pub async fn run(first: u64, count: u64, at_once: usize) -> Outcome<(Tally, Vec<FailedRound>)> {
    let folder = tempfile::tempdir().map_err(no_folder)?;
    let program = &Program::find(folder.path(), PATIENCE).await?;
    let mut rounds = stream::iter((first..first.saturating_add(count)).map(|seed| async move {
        let outcome = round(seed, program).await;
        (seed, outcome)
    }))
    .buffer_unordered(at_once.max(1));
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    while let Some((seed, outcome)) = rounds.next().await {
        match outcome {
            Ok(round) => tally.add(round),
            Err(failure) => failed.push(FailedRound { seed, failure }),
        }
    }
    Ok((tally, failed))
}

fn no_folder(error: std::io::Error) -> Failure {
    Failure::Broken(format!("no folder to work in: {error}"))
}

/// One round: a store, a folder and what a user would do with them.
struct Round<'a> {
    plan: Plan,
    program: &'a Program,
    store: RunningStore,
    folder: TempDir,
    tally: Tally,
}

async fn round(seed: u64, program: &Program) -> Outcome<Tally> {
    let started = BlobStore::start(Options::default());
    let round = Round {
        plan: Plan::draw(seed),
        program,
        store: started.map_err(|error| Failure::Broken(error.to_string()))?,
        folder: tempfile::tempdir().map_err(no_folder)?,
        tally: Tally {
            rounds: 1,
            ..Tally::default()
        },
    };
    round.run().await
}

impl Round<'_> {
    async fn run(mut self) -> Outcome<Tally> {
        let new = self.plan.new.clone();
        let (to, from) = (
            self.folder.path().join("from"),
            self.folder.path().join("to"),
        );
        write(&to, &new).await?;
        let _ = self.store.create_container(CONTAINER);
        if let Some(old) = self.plan.old.clone() {
            let dir = self.folder.path().join("old");
            write(&dir, &old).await?;
            let ran = self.program("push", &dir, &[]).await?;
            ensure!(ran.is_success(), "a push without a fault failed: {ran:?}");
            if self.plan.pulls_over_old {
                write(&from, &old).await?;
            }
        }

        self.push(&to).await?;
        self.pull(&from).await?;
        self.all_goes_well_again(&to, &from).await?;
        Ok(self.tally)
    }

    /// Pushes under faults.
    async fn push(&mut self, dir: &Path) -> Outcome {
        let present = self.layers_in_store()?;
        let ran = self
            .under(self.plan.push_faults.clone(), "push", dir)
            .await?;
        let stats = self.store.stats();
        self.count_waste(&stats, present);
        check::layers_are_right(&self.store, CONTAINER)?;
        let stands = self.what_stands()?.map(Sample::digests);
        if ran.is_success() {
            self.tally.pushed += 1;
            let is_new = stands == Some(self.plan.new.digests())
                || (stands.is_none() && self.plan.store_forgets());
            ensure!(
                is_new,
                "a push that succeeded left {stands:?} under its name: {ran:?}, {:?}",
                self.plan.push_faults
            );
        } else {
            self.tally.push_errors += 1;
        }
        Ok(())
    }

    /// Pulls under faults what the push left.
    async fn pull(&mut self, dir: &Path) -> Outcome {
        let stands = self.what_stands()?.cloned();
        let before = Snapshot::of(dir);
        let ran = self
            .under(self.plan.pull_faults.clone(), "pull", dir)
            .await?;
        check::directory_is_clean(dir, false)?;
        if !ran.is_success() {
            self.tally.pull_errors += 1;
            ensure!(
                Snapshot::of(dir) == before,
                "a pull that failed changed the directory's names: {ran:?}"
            );
            return Ok(());
        }
        let caches = ran.json["caches"].as_array().map_or(0, Vec::len);
        if caches == 0 {
            self.tally.pulled_nothing += 1;
            ensure!(
                Snapshot::of(dir) == before,
                "a pull of nothing changed the directory"
            );
            return Ok(());
        }
        let Some(stands) = stands else {
            return Err(Failure::Broken(
                "a pull found a cache that is not there".to_owned(),
            ));
        };
        let found = check::cache_in(dir, NAME).await?;
        if ran.number("layers_lost") == 0 {
            self.tally.pulled += 1;
            ensure!(
                found == stands.manifest,
                "the cache came back as {found:?} instead of {:?}",
                stands.manifest
            );
        } else {
            self.tally.pulled_in_part += 1;
            let says_so = ran.stderr.contains("warning: ");
            ensure!(
                says_so && !self.plan.strict && check::is_part_of(&found, &stands.manifest),
                "a part of the cache came back as {found:?}: {ran:?}"
            );
        }
        Ok(())
    }

    /// Whatever went wrong has harmed nothing: without faults all works.
    async fn all_goes_well_again(&self, dir: &Path, into: &Path) -> Outcome {
        let pushed = self.program("push", dir, &[]).await?;
        ensure!(
            pushed.is_success(),
            "the store cannot be pushed to any more: {pushed:?}"
        );
        check::layers_are_right(&self.store, CONTAINER)?;
        let pulled = self.program("pull", into, &["--strict"]).await?;
        ensure!(
            pulled.is_success(),
            "the store cannot be pulled from any more: {pulled:?}"
        );
        let found = check::cache_in(into, NAME).await?;
        ensure!(
            found == self.plan.new.manifest,
            "the cache came back as {found:?}"
        );
        Ok(())
    }

    /// Runs the program while a script of faults plays.
    async fn under(&mut self, faults: Vec<Fault>, what: &str, dir: &Path) -> Outcome<Ran> {
        self.store.reset_stats();
        self.store.faults().set(faults);
        let options: &[&str] = match what {
            "pull" if self.plan.strict => &["--strict"],
            _ => &[],
        };
        let ran = self.program(what, dir, options).await;
        self.store.faults().clear();
        self.tally.faults += self.store.stats().faulted;
        ran
    }

    async fn program(&self, what: &str, dir: &Path, options: &[&str]) -> Outcome<Ran> {
        let retries = self.plan.max_retries;
        let more = format!(
            "name={NAME},block_size={BLOCK},max_retries={retries},stall_timeout={PATIENCE}s"
        );
        let attributes = Program::attributes(&self.store, CONTAINER, &more);
        self.program.run(what, options, &attributes, dir).await
    }

    /// The cache that stands under the name.
    fn what_stands(&self) -> Outcome<Option<&Sample>> {
        let caches: Vec<_> = [Some(&self.plan.new), self.plan.old.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let forgets = self.plan.store_forgets();
        let names = check::manifests_are_whole(&self.store, CONTAINER, &caches, forgets)?;
        Ok(names.get(NAME).copied())
    }

    /// The bytes of the new cache's layers that the store has.
    fn layers_in_store(&self) -> Outcome<u64> {
        let keys = self.store.keys(CONTAINER);
        let keys = keys.map_err(|error| Failure::Broken(error.to_string()))?;
        let layers = self.plan.new.manifest.layers.iter();
        let present = layers.filter(|layer| keys.contains(&format!("blobs/{}", layer.blob)));
        Ok(present.map(|layer| layer.size).sum())
    }

    /// Counts what was sent beyond what had to be.
    fn count_waste(&mut self, stats: &Stats, present: u64) {
        let needed = self.plan.new.size() - present;
        self.tally.sent_bytes += stats.bytes_in;
        self.tally.needed_bytes += needed;
        let waste = stats.bytes_in.saturating_sub(needed + BESIDE_LAYERS);
        let each = waste.checked_div(stats.faulted).unwrap_or(waste);
        self.tally.worst_waste_bytes = self.tally.worst_waste_bytes.max(each);
    }
}

/// Writes a cache into a directory, as a build leaves it.
pub async fn write(dir: &Path, sample: &Sample) -> Outcome {
    let failed = |error: build_cache_host::oci_layout::LayoutError| {
        Failure::Broken(format!("cannot write a cache to start from: {error}"))
    };
    let writer = LayoutWriter::create(dir).await.map_err(failed)?;
    for layer in &sample.manifest.layers {
        let incoming = writer.begin(layer).await.map_err(failed)?;
        let mut file = incoming.file().map_err(failed)?;
        let bytes = sample.bytes(&layer.blob, 0, layer.size);
        std::io::Write::write_all(&mut file, &bytes).map_err(no_folder)?;
        incoming.commit(Check::Size).await.map_err(failed)?;
    }
    let tags = ["latest", NAME].map(ToOwned::to_owned);
    writer
        .finish(&sample.manifest, &tags)
        .await
        .map_err(failed)?;
    Ok(())
}

impl Tally {
    fn add(&mut self, round: Self) {
        self.rounds += round.rounds;
        self.faults += round.faults;
        self.pushed += round.pushed;
        self.push_errors += round.push_errors;
        self.pulled += round.pulled;
        self.pulled_in_part += round.pulled_in_part;
        self.pulled_nothing += round.pulled_nothing;
        self.pull_errors += round.pull_errors;
        self.sent_bytes += round.sent_bytes;
        self.needed_bytes += round.needed_bytes;
        self.worst_waste_bytes = self.worst_waste_bytes.max(round.worst_waste_bytes);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            faults,
            pushed,
            push_errors,
            pulled,
            pulled_in_part,
            pulled_nothing,
            pull_errors,
            sent_bytes,
            needed_bytes,
            worst_waste_bytes,
        } = self;
        writeln!(f, "{rounds} rounds, {faults} requests hit by a fault")?;
        writeln!(f, "pushes: {pushed} done, {push_errors} errors")?;
        writeln!(
            f,
            "pulls: {pulled} whole, {pulled_in_part} in part with a warning, {pulled_nothing} of \
             nothing, {pull_errors} errors"
        )?;
        write!(
            f,
            "bytes: {needed_bytes} had to be sent, {sent_bytes} were; at most {worst_waste_bytes} \
             again for a fault"
        )
    }
}

impl fmt::Display for FailedRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, failure } = self;
        let plan = Plan::draw(*seed);
        let script = |faults: &[Fault]| serde_json::to_string(faults).unwrap_or_default();
        writeln!(f, "seed {seed}: {failure}")?;
        writeln!(f, "  while it pushed: {}", script(&plan.push_faults))?;
        write!(f, "  while it pulled: {}", script(&plan.pull_faults))
    }
}
