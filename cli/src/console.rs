//! The one place that writes to the terminal. What is asked for goes to
//! standard output, everything else to standard error, so that `--json` can be
//! piped. Colours only where a terminal takes them (`NO_COLOR` included). No text
//! passes without being cleaned: of secrets, and of what a name or a path may
//! hold that a terminal or a CI system would obey.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use build_cache_host::Scrubber;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use serde_json::json;

use crate::args::OutputArgs;
use crate::{failure, json};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// A server may warn for weeks; so many are kept for the end.
const MAX_WARNINGS: usize = 1000;
const FAINT: Style = Style::new().dimmed();

/// Where everything is shown. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    quiet: bool,
    verbose: bool,
    json: bool,
    started: Instant,
    /// The bars, which lines must not tear.
    bars: MultiProgress,
    warnings: Mutex<Vec<String>>,
    scrubber: Scrubber,
}

impl Console {
    /// Shows as much as these arguments ask for, and none of the secrets that
    /// the scrubber knows.
    pub fn new(output: &OutputArgs, scrubber: Scrubber) -> Self {
        Self(Arc::new(Inner {
            quiet: output.quiet,
            verbose: output.verbose,
            json: output.json,
            started: Instant::now(),
            bars: MultiProgress::new(),
            warnings: Mutex::default(),
            scrubber,
        }))
    }

    /// Never shows this from now on.
    pub fn hide(&self, secret: &str) {
        self.0.scrubber.learn(secret);
    }

    /// The name of a cache or a tag, as it may be a part of a line.
    pub fn name(&self, name: &str) -> String {
        self.0.scrubber.name(name)
    }

    /// Several of them.
    pub fn names(&self, names: &[String]) -> String {
        let names: Vec<_> = names.iter().map(|name| self.name(name)).collect();
        names.join(", ")
    }

    /// Whether nothing but warnings and errors is to be shown.
    pub fn is_quiet(&self) -> bool {
        self.0.quiet
    }

    /// Whether every event is to be shown.
    pub fn is_verbose(&self) -> bool {
        self.0.verbose
    }

    /// Whether everything is to be shown as JSON.
    pub fn is_json(&self) -> bool {
        self.0.json
    }

    /// Something that happened, as a line of JSON. A reader that has seen enough
    /// is not a failure.
    pub fn event(&self, event: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(event) {
            let _ = print(&line);
        }
    }

    /// Where progress bars are drawn, on standard error.
    pub fn bars(&self) -> &MultiProgress {
        &self.0.bars
    }

    /// How long the program has run.
    pub fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Something that the user should know and that stops nothing.
    pub fn warn(&self, text: &str) {
        let text = self.0.scrubber.clean_page(text);
        self.line(&format!("{WARNING}warning:{WARNING:#} {text}"));
        let mut warnings = self
            .0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < MAX_WARNINGS {
            warnings.push(text);
        }
    }

    /// A line of progress.
    pub fn note(&self, text: &str) {
        if !self.0.quiet {
            self.line(&self.0.scrubber.clean_page(text));
        }
    }

    /// A line for those who asked for every event.
    pub fn detail(&self, text: &str) {
        if self.0.verbose {
            let seconds = self.elapsed().as_secs_f64();
            let text = self.0.scrubber.clean_page(text);
            self.line(&format!("{FAINT}{seconds:8.3}{FAINT:#}  {text}"));
        }
    }

    /// What was asked for, as lines for people or as one JSON object.
    pub fn answer(&self, text: &str, object: &impl Serialize) -> Result<()> {
        self.end_bars();
        if self.0.json {
            self.object(object)
        } else {
            print(&self.0.scrubber.clean_page(text))
        }
    }

    /// What the command came to, as [`Self::answer`] gives it, but left out
    /// where only warnings and errors are to be shown.
    pub fn summary(&self, text: &str, object: &impl Serialize) -> Result<()> {
        if self.0.quiet && !self.0.json {
            self.end_bars();
            Ok(())
        } else {
            self.answer(text, object)
        }
    }

    /// A failure that `ignore-error` makes a warning.
    pub fn ignored(&self, what: &str, error: &anyhow::Error) -> Result<()> {
        self.end_bars();
        let message = failure::message(error);
        self.warn(&format!(
            "{what}, which ignore-error=true allows: {message}"
        ));
        if self.0.json {
            self.object(&json!({ "ignored_error": message }))
        } else {
            Ok(())
        }
    }

    /// The failure that ends the program.
    pub fn failed(&self, error: &anyhow::Error) {
        self.end_bars();
        let message = self.0.scrubber.clean_page(&failure::message(error));
        self.line(&format!("{ERROR}error:{ERROR:#} {message}"));
        if self.0.json {
            let code = failure::exit_code(error);
            // Standard error has it already.
            let _ = self.object(&json!({ "error": message, "exit_code": code }));
        }
    }

    /// A JSON object, with the warnings so far in it.
    fn object(&self, summary: &impl Serialize) -> Result<()> {
        #[derive(Serialize)]
        struct WithWarnings<'a, T> {
            #[serde(flatten)]
            summary: &'a T,
            warnings: &'a [String],
        }
        let warnings = self
            .0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let object = WithWarnings {
            summary,
            warnings: &warnings,
        };
        let redact = |text: &str| self.0.scrubber.redact_all(text);
        let json = serde_json::to_string(&object);
        let json = json.and_then(|json| json::harmless(&json, redact));
        print(&json.context("cannot write the summary")?)
    }

    /// Takes every bar away, also those of work that was given up. What comes
    /// next is the command's last word.
    fn end_bars(&self) {
        // Where that fails, nobody sees the terminal.
        let _ = self.0.bars.clear();
        self.0.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// A line on standard error. Nobody can be told where that fails.
    fn line(&self, text: &str) {
        self.0.bars.suspend(|| {
            let _ = writeln!(anstream::stderr(), "{text}");
        });
    }
}

/// `1 layer`, `2 layers`.
pub fn number(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A time, as exact as anybody wants it.
pub fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.1} s")
    }
}

/// A line on standard output. It is not a failure if the reader has seen enough.
fn print(text: &str) -> Result<()> {
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
