//! Measuring one case: every contestant, at every distance, in turns.

use anyhow::{Context as _, Result};
use bench_contest::{Report, Set, Task};
use serde::Serialize;

use crate::contestant::Programs;
use crate::plan::{Case, Contestant};
use crate::statistics::Spread;
use crate::store::{Counted, Distance, Store};

/// What one contestant did in one case at one distance.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The case.
    pub case: &'static str,
    /// The distance.
    pub distance: Distance,
    /// Who.
    pub contestant: Contestant,
    /// How many layers the case has.
    pub layers: usize,
    /// How many bytes were moved in a run.
    pub bytes: u64,
    /// How often it was done.
    pub runs: usize,
    /// How long it took.
    pub seconds: Spread,
    /// Processor time of the contestant.
    pub cpu_seconds: Spread,
    /// Processor time of the store meanwhile.
    pub store_cpu_seconds: Spread,
    /// The most memory that the process had in any run, in bytes.
    pub peak_memory_bytes: u64,
    /// The most memory that the component had in any run, in bytes.
    pub guest_memory_bytes: Option<u64>,
    /// Requests in a run.
    pub requests: Spread,
    /// The most requests at once in any run.
    pub max_in_flight: u64,
    /// The most connections in any run.
    pub connections: u64,
}

impl Outcome {
    /// Bytes moved a second, by the median; none where nothing was moved.
    pub fn bytes_per_second(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.bytes as f64 / self.seconds.median)
    }
}

/// Where so many bytes are moved, the first turn is not counted: whoever comes first would pay for
/// the memory that this machine has to find for it.
const WARMED_UP_BYTES: u64 = 256 << 20;

/// Measures a case, and shows each distance as soon as it is done. Every contestant has its first
/// turn, then every one its second: whatever else slows the machine down, slows all of them down.
pub fn measure(
    case: &Case,
    programs: &Programs,
    store: &mut Store,
    mut show: impl FnMut(Distance, &[Outcome]),
) -> Result<Vec<Outcome>> {
    let folder = programs.folder.join("layers").join(case.set());
    Set::in_folder(&folder, &case.sizes)?;
    let task = Task {
        place: store.place(case.container()),
        set: folder,
        names: (0..case.names).map(|n| format!("name{n}")).collect(),
        work: case.work,
        limits: case.limits,
    };
    prepare(case, &task, store)?;
    let mut outcomes = Vec::new();
    for (place, distance) in case.distances.iter().enumerate() {
        let warm_up = usize::from(place == 0 && case.bytes() >= WARMED_UP_BYTES);
        let mut taken: Vec<Vec<(Report, Counted)>> = vec![Vec::new(); case.contestants.len()];
        for run in 0..warm_up + case.runs {
            for (contestant, taken) in case.contestants.iter().zip(&mut taken) {
                if run >= warm_up + case.runs_of(*contestant, *distance) {
                    continue;
                }
                if case.changes_the_store() {
                    prepare(case, &task, store)?;
                }
                store.move_to(*distance)?;
                let measured = store.count(|| programs.perform(*contestant, &task));
                let measured = measured.with_context(|| format!("in the case {}", case.name))?;
                if run >= warm_up {
                    taken.push(measured);
                }
            }
        }
        let contestants = case.contestants.iter().zip(taken);
        let here = contestants
            .map(|(contestant, taken)| summary(case, *distance, *contestant, &taken))
            .collect::<Option<Vec<_>>>()
            .context("nothing was measured")?;
        show(*distance, &here);
        outcomes.extend(here);
    }
    if case.foreign == 0 {
        store.empty(case.container())?;
    }
    Ok(outcomes)
}

/// Leaves the store as the case begins.
fn prepare(case: &Case, task: &Task, store: &mut Store) -> Result<()> {
    let container = &task.place.container;
    if case.foreign == 0 {
        store.empty(container)?;
    }
    let is_stored = case.there == case.sizes.len();
    let names: &[String] = if is_stored { &task.names } else { &[] };
    store.fill(container, &task.set, case.there, names)?;
    // Those that are there already only get their like.
    store.add_foreign(container, case.foreign)
}

fn summary(
    case: &Case,
    distance: Distance,
    contestant: Contestant,
    taken: &[(Report, Counted)],
) -> Option<Outcome> {
    let spread = |figure: fn(&(Report, Counted)) -> f64| Spread::of(taken.iter().map(figure));
    Some(Outcome {
        case: case.name,
        distance,
        contestant,
        layers: case.sizes.len(),
        bytes: case.bytes(),
        runs: taken.len(),
        seconds: spread(|(report, _)| report.seconds)?,
        cpu_seconds: spread(|(report, _)| report.cpu_seconds)?,
        store_cpu_seconds: spread(|(_, counted)| counted.cpu_seconds)?,
        peak_memory_bytes: taken
            .iter()
            .map(|(report, _)| report.peak_memory_bytes)
            .max()?,
        guest_memory_bytes: taken
            .iter()
            .map(|(report, _)| report.guest_memory_bytes)
            .max()?,
        requests: spread(|(_, counted)| counted.requests as f64)?,
        max_in_flight: taken
            .iter()
            .map(|(_, counted)| counted.max_in_flight)
            .max()?,
        connections: taken.iter().map(|(_, counted)| counted.connections).max()?,
    })
}
