//! Counting tests over several runs of `cargo test`, which only sums up each
//! test program by itself.

use std::fmt;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// How tests ended.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    passed: u32,
    failed: u32,
    ignored: u32,
    filtered_out: u32,
}

impl Tally {
    /// Runs `cargo test`, shows what it prints, and adds its results.
    pub fn test(&mut self, cargo: &mut Command) -> Result<()> {
        process::run_and_read(cargo, |line| {
            println!("{line}");
            self.add(line);
        })
    }

    /// Adds a line such as `test result: ok. 3 passed; 0 failed; …`.
    fn add(&mut self, line: &str) {
        let Some(results) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in results.split(['.', ';']) {
            let Some((count, kind)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(count) = count.parse::<u32>() else {
                continue;
            };
            match kind {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                "filtered out" => self.filtered_out += count,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        for (count, kind) in [(self.ignored, "ignored"), (self.filtered_out, "left out")] {
            if count > 0 {
                write!(f, ", {count} {kind}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_programs_are_added() {
        let mut tally = Tally::default();
        for line in [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s",
            "test a_test_of_test_result ... ok",
            "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.00s",
        ] {
            tally.add(line);
        }
        assert_eq!(
            tally.to_string(),
            "7 passed, 1 failed, 1 ignored, 2 left out"
        );
    }
}
