//! What must be reached, and whether it is.

use serde::Serialize;

use crate::loading::{self, Timing};
use crate::measure::Outcome;
use crate::ours::LIMITS;
use crate::plan::Contestant::{self, BuildkitModel, Ours, OursBytesAlone};
use crate::plan::{CAP, capped, late};
use crate::store::Distance;

/// The cases that are moves of a cache as users make them, which have a limit on memory.
const EVERYDAY: [&str; 7] = [
    "bulk-push",
    "bulk-pull",
    "many-push",
    "many-pull",
    "warm-push",
    "new-push",
    "import-five-names",
];

/// A figure, and the bound that it has to keep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What the figure is.
    pub what: String,
    /// The figure.
    pub figure: f64,
    /// What it is counted in.
    pub unit: &'static str,
    /// The bound.
    pub bound: Bound,
    /// Whether it is kept.
    pub met: bool,
}

/// A bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Verdict {
    fn new(what: impl Into<String>, figure: f64, unit: &'static str, bound: Bound) -> Self {
        Self {
            what: what.into(),
            figure,
            unit,
            bound,
            met: match bound {
                Bound::AtLeast(least) => figure >= least,
                Bound::AtMost(most) => figure <= most,
            },
        }
    }
}

/// All verdicts that these measurements allow.
pub fn verdicts(outcomes: &[Outcome], timings: &[Timing]) -> Vec<Verdict> {
    let found = Found(outcomes);
    let mut verdicts = Vec::new();
    verdicts.extend(found.bulk());
    verdicts.extend(found.capped());
    verdicts.extend(found.many());
    verdicts.extend(found.warm());
    verdicts.extend(found.memory());
    verdicts.extend(found.growth());
    for (name, most) in [
        (loading::LOAD, 0.010),
        (loading::OPEN, 0.0005),
        (loading::VERSION, 0.020),
        (loading::WARM, 0.150),
    ] {
        let timing = timings.iter().find(|timing| timing.name == name);
        verdicts.extend(timing.map(|timing| {
            let bound = Bound::AtMost(most * 1e3);
            Verdict::new(name, timing.seconds.median * 1e3, "ms", bound)
        }));
    }
    verdicts
}

/// Where verdicts find what they speak of. What was not measured has none.
struct Found<'a>(&'a [Outcome]);

impl Found<'_> {
    fn outcome(&self, case: &str, at: Distance, contestant: Contestant) -> Option<&Outcome> {
        let mut outcomes = self.0.iter();
        outcomes.find(|o| o.case == case && o.distance == at && o.contestant == contestant)
    }

    fn ours(&self, case: &str, at: Distance) -> Option<&Outcome> {
        self.outcome(case, at, Ours)
    }

    /// The one that took least of something.
    fn least(
        &self,
        case: &str,
        at: Distance,
        peers: [Contestant; 2],
        of: fn(&Outcome) -> f64,
    ) -> Option<f64> {
        let measured = peers
            .iter()
            .filter_map(|peer| self.outcome(case, at, *peer));
        measured.map(of).min_by(f64::total_cmp)
    }

    /// How the speed of one of ours compares with the faster peer's.
    fn speed(&self, case: &str, at: Distance, rivals: &Rivals) -> Option<f64> {
        let seconds = |outcome: &Outcome| outcome.seconds.median;
        let ours = self.outcome(case, at, rivals.ours)?;
        Some(self.least(case, at, rivals.peers, seconds)? / seconds(ours))
    }

    /// How the processor time of one of ours compares with the thriftier peer's.
    fn cpu(&self, case: &str, at: Distance, rivals: &Rivals) -> Option<f64> {
        let seconds = |outcome: &Outcome| outcome.cpu_seconds.median;
        let ours = self.outcome(case, at, rivals.ours)?;
        Some(seconds(ours) / self.least(case, at, rivals.peers, seconds)?)
    }

    /// How much longer the model takes.
    fn model(&self, case: &str, at: Distance) -> Option<f64> {
        let model = self.outcome(case, at, BuildkitModel)?;
        Some(model.seconds.median / self.ours(case, at)?.seconds.median)
    }

    fn bulk(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for rivals in RIVALS {
            let (case, against) = (format!("bulk-{}", rivals.work), rivals.what);
            let speed = self.speed(&case, late(0), &rivals).map(|figure| {
                let what = format!("{case}, no added latency: speed, {against}");
                Verdict::new(what, figure, "×", Bound::AtLeast(0.9))
            });
            let cpu = self.cpu(&case, late(0), &rivals).map(|figure| {
                let what = format!("{case}, no added latency: processor time, {against}");
                Verdict::new(what, figure, "×", Bound::AtMost(1.3))
            });
            verdicts.extend(speed.into_iter().chain(cpu));
        }
        verdicts
    }

    fn capped(&self) -> Vec<Verdict> {
        let share = |case| {
            let ours = self.ours(case, capped(0))?;
            let connections = LIMITS.transfers;
            let allowed = (CAP * connections as u64) as f64;
            let what = format!("{case}, 60 MB/s a connection: share of what {connections} allow");
            let figure = ours.bytes_per_second()? / allowed;
            Some(Verdict::new(what, figure, "×", Bound::AtLeast(0.9)))
        };
        ["bulk-push", "bulk-pull"]
            .into_iter()
            .filter_map(share)
            .collect()
    }

    fn many(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for latency in [5, 25] {
            let at = late(latency);
            verdicts.extend(self.model("many-push", at).map(|figure| {
                let what = format!("many-push, {latency} ms: speed against BuildKit's model");
                Verdict::new(what, figure, "×", Bound::AtLeast(20.0))
            }));
            for rivals in RIVALS {
                let (case, against) = (format!("many-{}", rivals.work), rivals.what);
                verdicts.extend(self.speed(&case, at, &rivals).map(|figure| {
                    let what = format!("{case}, {latency} ms: speed, {against}");
                    Verdict::new(what, figure, "×", Bound::AtLeast(0.95))
                }));
            }
        }
        verdicts
    }

    fn warm(&self) -> Vec<Verdict> {
        let at = late(25);
        let time = self.ours("warm-push", at).map(|ours| {
            let bound = Bound::AtMost(1.0);
            Verdict::new("warm-push, 25 ms: time", ours.seconds.median, "s", bound)
        });
        let model = self.model("warm-push", at).map(|figure| {
            let what = "warm-push, 25 ms: speed against BuildKit's model";
            Verdict::new(what, figure, "×", Bound::AtLeast(50.0))
        });
        time.into_iter().chain(model).collect()
    }

    fn memory(&self) -> Vec<Verdict> {
        let everyday = || {
            let ours = self.0.iter().filter(|outcome| outcome.contestant == Ours);
            ours.filter(|outcome| EVERYDAY.contains(&outcome.case))
        };
        let process = everyday().map(|outcome| outcome.peak_memory_bytes).max();
        let guest = everyday()
            .filter_map(|outcome| outcome.guest_memory_bytes)
            .max();
        let verdict = |what, bytes: Option<u64>, most| {
            let figure = bytes? as f64 / 1e6;
            Some(Verdict::new(what, figure, "MB", Bound::AtMost(most)))
        };
        let process = verdict(
            "memory of the process, the most in any case",
            process,
            100.0,
        );
        let guest = verdict("memory of the guest, the most in any case", guest, 4.0);
        process.into_iter().chain(guest).collect()
    }

    /// Tenfold work should take tenfold time, or less; a fifth more is noise.
    fn growth(&self) -> Vec<Verdict> {
        let grown = |less: &str, more: &str| {
            let (less, more) = (self.ours(less, late(0))?, self.ours(more, late(0))?);
            let work = |outcome: &Outcome| match outcome.layers {
                1 => outcome.bytes as f64,
                layers => layers as f64,
            };
            let figure = more.seconds.median / less.seconds.median / (work(more) / work(less));
            let what = format!("{}: time for the same work in {}", more.case, less.case);
            Some(Verdict::new(what, figure, "×", Bound::AtMost(1.2)))
        };
        let pairs = [
            ("grow-push-1000", "grow-push-10000"),
            ("grow-warm-1000", "grow-warm-10000"),
            ("grow-import-1000", "grow-import-10000"),
            ("grow-pull-1000", "grow-pull-10000"),
            ("grow-push-128mib", "bulk-push"),
            ("grow-pull-128mib", "bulk-pull"),
        ];
        pairs
            .iter()
            .filter_map(|(less, more)| grown(less, more))
            .collect()
    }
}

/// Who is compared with whom.
struct Rivals {
    /// The second half of a case's name.
    work: &'static str,
    ours: Contestant,
    peers: [Contestant; 2],
    what: &'static str,
}

/// A pull is compared like with like, and the whole of it with those that do less.
const RIVALS: [Rivals; 4] = [
    Rivals {
        work: "push",
        ours: Ours,
        peers: Contestant::PEERS,
        what: "against the better peer",
    },
    Rivals {
        work: "pull",
        ours: Ours,
        peers: Contestant::HASHING_PEERS,
        what: "all check digests",
    },
    Rivals {
        work: "pull",
        ours: OursBytesAlone,
        peers: Contestant::PEERS,
        what: "nobody checks digests",
    },
    Rivals {
        work: "pull",
        ours: Ours,
        peers: Contestant::PEERS,
        what: "only ours checks digests",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Spread;

    /// What took so many seconds, and so much of a processor.
    fn outcome(case: &'static str, at: Distance, contestant: Contestant, seconds: f64) -> Outcome {
        let spread = |value| Spread::of([value]).expect("one value");
        Outcome {
            case,
            distance: at,
            contestant,
            layers: 1,
            bytes: 1 << 30,
            runs: 1,
            seconds: spread(seconds),
            cpu_seconds: spread(seconds / 2.0),
            store_cpu_seconds: spread(0.0),
            peak_memory_bytes: 90_000_000,
            guest_memory_bytes: Some(2_000_000),
            requests: spread(3.0),
            max_in_flight: 16,
            connections: 16,
        }
    }

    fn met(outcomes: &[Outcome], what: &str) -> Option<(f64, bool)> {
        let verdicts = verdicts(outcomes, &[]);
        let verdict = verdicts.iter().find(|v| v.what.starts_with(what))?;
        Some((verdict.figure, verdict.met))
    }

    #[test]
    fn speed_is_compared_with_the_faster_peer() {
        let at = late(0);
        let outcomes = [
            outcome("bulk-push", at, Ours, 2.0),
            outcome("bulk-push", at, Contestant::ObjectStore, 1.9),
            outcome("bulk-push", at, Contestant::Opendal, 1.0),
        ];
        let speed = met(&outcomes, "bulk-push, no added latency: speed");
        assert_eq!(speed, Some((0.5, false)));
        let cpu = met(&outcomes, "bulk-push, no added latency: processor");
        assert_eq!(cpu, Some((2.0, false)));
    }

    #[test]
    fn a_pull_is_compared_with_peers_that_check_and_with_those_that_do_not() {
        let at = late(0);
        let outcomes = [
            outcome("bulk-pull", at, Ours, 1.0),
            outcome("bulk-pull", at, OursBytesAlone, 0.8 / 0.9),
            outcome("bulk-pull", at, Contestant::Opendal, 0.8),
            outcome("bulk-pull", at, Contestant::OpendalHashing, 1.2),
        ];
        let speeds: Vec<_> = verdicts(&outcomes, &[])
            .into_iter()
            .filter(|verdict| verdict.what.contains("speed"))
            .map(|verdict| (verdict.figure, verdict.met))
            .collect();
        assert_eq!(speeds, [(1.2, true), (0.9, true), (0.8, false)]);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert_eq!(verdicts(&[], &[]), []);
        let alone = [outcome("many-push", late(5), Ours, 1.0)];
        assert_eq!(met(&alone, "many-push"), None);
    }

    #[test]
    fn what_the_connections_allow_is_what_they_carry_together() {
        let seconds = (1_u64 << 30) as f64 / (16 * CAP) as f64;
        let outcomes = [outcome("bulk-pull", capped(0), Ours, seconds)];
        let (share, met) = met(&outcomes, "bulk-pull, 60 MB/s").expect("a verdict");
        assert!((share - 1.0).abs() < 1e-9 && met, "{share}");
    }

    #[test]
    fn ten_times_the_layers_may_take_ten_times_as_long() {
        let layers = |case, layers, seconds| Outcome {
            layers,
            ..outcome(case, late(0), Ours, seconds)
        };
        let grown = |seconds| {
            let outcomes = [
                layers("grow-warm-1000", 1000, 1.0),
                layers("grow-warm-10000", 10_000, seconds),
            ];
            met(&outcomes, "grow-warm-10000").map(|(_, met)| met)
        };
        assert_eq!(grown(11.0), Some(true));
        assert_eq!(grown(20.0), Some(false));
    }
}
