//! The steps of a long task: what runs now, and what took how long.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The steps so far.
#[derive(Default)]
pub struct Steps {
    finished: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a step, with its name before it and in its error.
    pub fn run<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n=== {name}");
        let started = Instant::now();
        let result = step().with_context(|| format!("the step \"{name}\" failed"))?;
        self.finished.push((name, started.elapsed()));
        Ok(result)
    }

    /// Prints a table of the steps.
    pub fn print_times(&self) {
        println!("\n=== times");
        let total = self.finished.iter().map(|(_, time)| *time).sum();
        for (name, time) in self.finished.iter().chain([&("together", total)]) {
            println!("{:>6.1} s  {name}", time.as_secs_f64());
        }
    }
}
