//! Shows how far a transfer is: bars on a terminal, a line a layer elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use build_cache_host::{Digest, Event};
use indicatif::{DecimalBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::console::Console;
use crate::tally::Tally;

/// Without a terminal, a long silence is broken after this time.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// As many layers have a bar of their own at a time.
const MOST_BARS: usize = 8;
/// A smaller layer is gone before anybody has read its bar.
const LEAST_BYTES_FOR_A_BAR: u64 = 1 << 20;

/// The bar of the whole transfer.
const TOTAL: &str = "{prefix:>22} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}, \
                     {decimal_bytes_per_sec}, {eta} left";
/// The bar of a layer.
const LAYER: &str = "{prefix:>22} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}";

/// Shows one transfer.
pub struct Progress {
    console: Console,
    /// What was done to a layer: `sent` or `fetched`.
    done: &'static str,
    state: Mutex<State>,
}

struct State {
    tally: Tally,
    started: Instant,
    last_line: Instant,
    bars: Option<Bars>,
}

struct Bars {
    total: ProgressBar,
    layers: HashMap<Digest, ProgressBar>,
}

impl Progress {
    /// Shows a transfer of which nothing is known yet. `doing` and `done` are
    /// words for it, such as `sending` and `sent`.
    pub fn new(console: &Console, doing: &'static str, done: &'static str) -> Self {
        let draws = !console.is_quiet() && std::io::stderr().is_terminal();
        let now = Instant::now();
        Self {
            console: console.clone(),
            done,
            state: Mutex::new(State {
                tally: Tally::default(),
                started: now,
                last_line: now,
                bars: draws.then(|| Bars::new(console, doing)),
            }),
        }
    }

    /// These layers may have to be moved.
    pub fn expect(&self, layers: impl IntoIterator<Item = (Digest, u64)>) {
        self.change(|state| state.tally.add(layers));
    }

    /// The backend said that something happened.
    pub fn on_event(&self, event: &Event) {
        match event {
            Event::LayerReused(blob) => self.already_there(blob),
            Event::LayerStarted(blob) => self.started(blob),
            Event::LayerRead { blob, bytes } => self.moved(blob, *bytes),
            Event::LayerStored(blob) => self.finished(blob),
            other => tell(&self.console, other),
        }
    }

    /// The layer need not be moved.
    pub fn already_there(&self, blob: &Digest) {
        self.console
            .detail(&format!("{} is there already", short(blob)));
        self.change(|state| state.tally.already_there(blob));
    }

    /// The layer is being moved.
    pub fn started(&self, blob: &Digest) {
        self.console.detail(&format!("{} begins", short(blob)));
        self.change(|state| {
            let size = state.tally.size(blob);
            if let Some(bars) = &mut state.bars {
                bars.begin(&self.console, blob, size);
            }
        });
    }

    /// More bytes of the layer have been moved.
    pub fn moved(&self, blob: &Digest, bytes: u64) {
        let long_silent = self.change(|state| {
            let counted = state.tally.moved(blob, bytes);
            if let Some(bar) = state.bars.as_ref().and_then(|bars| bars.layers.get(blob)) {
                bar.inc(counted);
            }
            let is_silent = state.bars.is_none() && state.last_line.elapsed() >= LONGEST_SILENCE;
            is_silent.then(|| {
                state.last_line = Instant::now();
                so_far(&state.tally, state.started.elapsed())
            })
        });
        if let Some(line) = long_silent {
            self.console.note(&line);
        }
    }

    /// The layer is where it should be.
    pub fn finished(&self, blob: &Digest) {
        let (size, has_bars) = self.change(|state| {
            let size = state.tally.size(blob);
            state.tally.moved(blob, size);
            state.last_line = Instant::now();
            if let Some(bar) = state
                .bars
                .as_mut()
                .and_then(|bars| bars.layers.remove(blob))
            {
                bar.finish_and_clear();
            }
            (size, state.bars.is_some())
        });
        let line = format!("{} {}, {}", self.done, short(blob), DecimalBytes(size));
        if self.console.is_verbose() {
            self.console.detail(&line);
        } else if !has_bars {
            self.console.note(&line);
        }
    }

    /// Takes the bars away.
    pub fn end(&self) {
        self.change(|state| {
            let Some(bars) = state.bars.take() else {
                return;
            };
            bars.layers.values().for_each(ProgressBar::finish_and_clear);
            bars.total.finish_and_clear();
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = change(&mut state);
        if let Some(bars) = &state.bars {
            bars.total.set_length(state.tally.total_bytes());
            bars.total.set_position(state.tally.moved_bytes());
        }
        answer
    }
}

impl Bars {
    fn new(console: &Console, doing: &'static str) -> Self {
        let total = console.bars().add(ProgressBar::new(0));
        total.set_style(style(TOTAL));
        total.set_prefix(doing);
        Self {
            total,
            layers: HashMap::new(),
        }
    }

    fn begin(&mut self, console: &Console, blob: &Digest, size: u64) {
        if size < LEAST_BYTES_FOR_A_BAR || self.layers.len() >= MOST_BARS {
            return;
        }
        let bar = console
            .bars()
            .insert_before(&self.total, ProgressBar::new(size));
        bar.set_style(style(LAYER));
        bar.set_prefix(short(blob));
        self.layers.insert(blob.clone(), bar);
    }
}

/// Shows an event that is about something other than a layer.
pub fn tell(console: &Console, event: &Event) {
    match event {
        Event::ManifestStored(name) => console.detail(&format!("stored the cache as `{name}`")),
        Event::Retrying {
            request,
            reason,
            attempt,
            delay,
        } => console.detail(&format!(
            "attempt {attempt} of {request} failed: {reason}; again in {} ms",
            delay.as_millis()
        )),
        Event::Warning(text) => console.warn(text),
        _ => {}
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// The first digits of a digest, as many as tools commonly show.
fn short(blob: &Digest) -> String {
    format!("sha256:{}", &blob.hex()[..12])
}

/// How far a transfer is, in one line.
fn so_far(tally: &Tally, elapsed: Duration) -> String {
    let moved = DecimalBytes(tally.moved_bytes());
    let total = DecimalBytes(tally.total_bytes());
    match tally.pace(elapsed) {
        Some((rate, left)) => {
            format!(
                "{moved} of {total}, {}/s, {} left",
                DecimalBytes(rate),
                HumanDuration(left)
            )
        }
        None => format!("{moved} of {total}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_transfer_says_how_much_is_left() {
        let blob = Digest::of(b"layer");
        let mut tally = Tally::default();
        tally.add([(blob.clone(), 4_000_000_000)]);
        assert_eq!(so_far(&tally, Duration::from_secs(10)), "0 B of 4.00 GB");
        tally.moved(&blob, 1_000_000_000);
        let line = so_far(&tally, Duration::from_secs(10));
        assert_eq!(line, "1.00 GB of 4.00 GB, 100.00 MB/s, 30 seconds left");
    }

    #[test]
    fn the_templates_of_the_bars_are_well_formed() {
        assert!(ProgressStyle::with_template(TOTAL).is_ok());
        assert!(ProgressStyle::with_template(LAYER).is_ok());
    }
}
