//! The store in a process of its own: the part that runs there, and the handle to it here.
//!
//! It is `blob-store`'s own server. What the benchmark needs beside clients' requests, such as
//! layers that lie there before, comes in by commands on standard input, one line of JSON each, and
//! each is answered by one line.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use bench_contest::{Place, Set, Task, cpu_seconds};
use blob_store::{Action, BlobStore, Fault, Options, RunningStore};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What contents may take: several layers of a gigabyte.
const MEMORY_BYTES: u64 = 8 << 30;

/// How far the store is away, and how thick its lines are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distance {
    /// Each answer comes this much later.
    pub latency_ms: u64,
    /// No connection carries more than this.
    pub bytes_per_second: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Takes all blobs out of a container, which it makes where it is missing.
    Empty { container: String },
    /// Puts layers of a set into a container, which it makes where it is missing, and the set's
    /// manifest under each name.
    Fill {
        container: String,
        set: PathBuf,
        layers: usize,
        names: Vec<String>,
    },
    /// Puts blobs there that are nobody's layers, without any bytes.
    AddForeign { container: String, blobs: u64 },
    /// Lies this far away from now on.
    Move(Distance),
    /// Counts from zero again.
    Reset,
    /// Tells what was counted.
    Tell,
}

/// What the store counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counted {
    /// All requests.
    pub requests: u64,
    /// The most that were under way at once.
    pub max_in_flight: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Processor time of the store's process since the last reset.
    pub cpu_seconds: f64,
}

/// Runs a store until standard input ends.
pub fn serve() -> Result<()> {
    let store = BlobStore::start(Options {
        memory_limit: MEMORY_BYTES,
        ..Options::default()
    })?;
    let place = Place {
        account_url: store.url(),
        account: store.account().to_owned(),
        key: store.key(),
        container: String::new(),
    };
    answer(&place)?;
    let mut cpu_before = cpu_seconds();
    for line in std::io::stdin().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        if matches!(order, Order::Reset) {
            cpu_before = cpu_seconds();
        }
        let outcome = obey(&store, order, cpu_before).map_err(|error| format!("{error:#}"));
        answer(&outcome)?;
    }
    Ok(())
}

fn answer(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(value)?)?;
    Ok(out.flush()?)
}

fn obey(store: &RunningStore, order: Order, cpu_before: f64) -> Result<Value> {
    match order {
        Order::Empty { container } => {
            store.create_container(&container)?;
            for key in store.keys(&container)? {
                store.delete_blob(&container, &key)?;
            }
        }
        Order::Fill {
            container,
            set,
            layers,
            names,
        } => {
            store.create_container(&container)?;
            let set = Set::open(&set)?;
            for layer in &set.layers[..layers] {
                let bytes = layer.read(&set.folder, 0, layer.size)?;
                store.put_blob(&container, &Task::layer_key(&layer.digest), &bytes)?;
            }
            let manifest = set.manifest();
            for name in &names {
                let key = Task::manifest_key(name);
                store.put_blob(&container, &key, manifest.as_bytes())?;
            }
        }
        Order::AddForeign { container, blobs } => {
            for number in 0..blobs {
                let key = Task::layer_key(&foreign_digest(number));
                store.put_blob(&container, &key, &[])?;
            }
        }
        Order::Move(distance) => store.faults().set(faults(distance)),
        Order::Reset => store.reset_stats(),
        Order::Tell => {
            let stats = store.stats();
            return Ok(serde_json::to_value(Counted {
                requests: stats.requests(),
                max_in_flight: stats.max_in_flight,
                connections: stats.connections,
                cpu_seconds: cpu_seconds() - cpu_before,
            })?);
        }
    }
    Ok(Value::Null)
}

/// A digest that no layer has, and that lies anywhere among them.
fn foreign_digest(number: u64) -> String {
    // An odd factor maps each number to another one.
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("sha256:{scattered:016x}{number:048x}")
}

fn faults(distance: Distance) -> Vec<Fault> {
    let delay = (distance.latency_ms > 0).then_some(Action::Delay {
        ms: distance.latency_ms,
    });
    let throttle = distance
        .bytes_per_second
        .map(|bytes_per_second| Action::Throttle { bytes_per_second });
    delay.into_iter().chain(throttle).map(Fault::new).collect()
}

/// A store that runs. It ends with the value, or with this process.
#[derive(Debug)]
pub struct Store {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    place: Place,
}

impl Store {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("store")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the store")?;
        let orders = process.stdin.take();
        let stdout = process.stdout.take().context("the store has no output")?;
        let mut answers = BufReader::new(stdout).lines();
        let place = answers.next().context("the store did not start")??;
        Ok(Self {
            process,
            orders,
            answers,
            place: serde_json::from_str(&place)?,
        })
    }

    /// A container of it.
    pub fn place(&self, container: &str) -> Place {
        Place {
            container: container.to_owned(),
            ..self.place.clone()
        }
    }

    /// Takes all blobs out of a container, which it makes where it is missing.
    pub fn empty(&mut self, container: &str) -> Result<()> {
        let container = container.to_owned();
        self.order(&Order::Empty { container }).map(drop)
    }

    /// Puts the first layers of a set there, and its manifest under each name.
    pub fn fill(
        &mut self,
        container: &str,
        set: &Path,
        layers: usize,
        names: &[String],
    ) -> Result<()> {
        let order = Order::Fill {
            container: container.to_owned(),
            set: set.to_owned(),
            layers,
            names: names.to_vec(),
        };
        self.order(&order).map(drop)
    }

    /// Puts blobs there that are nobody's layers.
    pub fn add_foreign(&mut self, container: &str, blobs: u64) -> Result<()> {
        let container = container.to_owned();
        let order = Order::AddForeign { container, blobs };
        self.order(&order).map(drop)
    }

    /// Lies this far away from now on.
    pub fn move_to(&mut self, distance: Distance) -> Result<()> {
        self.order(&Order::Move(distance)).map(drop)
    }

    /// Counts what `work` does.
    pub fn count<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<(T, Counted)> {
        self.order(&Order::Reset)?;
        let done = work()?;
        let counted = serde_json::from_value(self.order(&Order::Tell)?)?;
        Ok((done, counted))
    }

    fn order(&mut self, order: &Order) -> Result<Value> {
        let orders = self.orders.as_mut().context("the store has ended")?;
        writeln!(orders, "{}", serde_json::to_string(order)?)?;
        let answer = self.answers.next().context("the store has ended")??;
        let answer: Result<Value, String> = serde_json::from_str(&answer)?;
        answer.map_err(|error| anyhow!("the store: {error}"))
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        drop(self.orders.take());
        let status = self.process.wait()?;
        ensure!(status.success(), "the store ended with {status}");
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.orders.take());
        // However it ended, there is no one left to tell.
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn foreign_blobs_have_digests_of_their_own() {
        let digests: HashSet<String> = (0..10_000).map(foreign_digest).collect();
        assert_eq!(digests.len(), 10_000);
        for digest in digests {
            digest.parse::<build_cache_host::Digest>().unwrap();
        }
    }

    #[test]
    fn a_store_far_away_delays_and_throttles() {
        assert!(faults(Distance::default()).is_empty());
        let far = Distance {
            latency_ms: 25,
            bytes_per_second: Some(60_000_000),
        };
        let expected = [
            Fault::new(Action::Delay { ms: 25 }),
            Fault::new(Action::Throttle {
                bytes_per_second: 60_000_000,
            }),
        ];
        assert_eq!(faults(far), expected);
    }
}
