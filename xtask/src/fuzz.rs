//! `cargo xtask fuzz`: every target of `fuzz/`, for as long as one likes.
//!
//! What the fuzzer finds new goes to `target/fuzz/found`, beside the corpora
//! that are kept in `fuzz/corpus` and that plain tests run again.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::project::Project;
use crate::tool::FUZZ;

/// What a target may take: memory in all and at once, in MiB, and seconds for
/// one input. Far more than any reader should want of 4 KiB, far less than
/// hurts.
const LIMITS: [&str; 4] = [
    "-rss_limit_mb=1024",
    "-malloc_limit_mb=256",
    "-timeout=20",
    "-max_len=4096",
];

/// Fuzzes one target or all of them, each for this long.
pub fn run(project: &Project, target: Option<&str>, minutes: u32) -> Result<()> {
    let known = targets(project)?;
    let chosen: Vec<&str> = match target {
        None => known.iter().map(String::as_str).collect(),
        Some(target) if known.iter().any(|known| known == target) => vec![target],
        Some(target) => bail!("`{target}` is no target; there is {}", known.join(", ")),
    };
    println!("building the targets");
    process::run(&mut cargo_fuzz(project, "build")?)?;
    for target in chosen {
        fuzz(project, target, minutes).with_context(|| format!("fuzzing {target} failed"))?;
    }
    Ok(())
}

/// The targets, by the names of their files.
fn targets(project: &Project) -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for file in fs::read_dir(project.file("fuzz/fuzz_targets"))? {
        let path = file?.path();
        targets.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    targets.sort();
    Ok(targets)
}

/// `cargo fuzz TASK`. It takes flags of a nightly compiler, which a stable one
/// of the same age knows as well, if it is told to.
fn cargo_fuzz(project: &Project, task: &str) -> Result<std::process::Command> {
    let mut cargo = FUZZ.command(project)?;
    cargo.args([task, "--fuzz-dir", "fuzz", "--target-dir", "target/fuzz"]);
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_TARGET_DIR");
    Ok(cargo)
}

fn fuzz(project: &Project, target: &str, minutes: u32) -> Result<()> {
    let [found, artifacts, logs] =
        ["found", "artifacts", "logs"].map(|name| project.target("fuzz").join(name));
    for folder in [found.join(target), artifacts.join(target), logs.clone()] {
        fs::create_dir_all(folder)?;
    }
    let log = logs.join(target).with_extension("log");
    println!("{target}: {minutes} min, log in {}", project.show(&log));

    let started = Instant::now();
    let mut cargo = cargo_fuzz(project, "run")?;
    cargo
        .arg(target)
        .args([found.join(target), project.file("fuzz/corpus").join(target)])
        .arg("--")
        .args(LIMITS)
        .arg(format!("-max_total_time={}", minutes * 60))
        .arg(format!(
            "-artifact_prefix={}/",
            artifacts.join(target).display()
        ))
        .arg("-print_final_stats=1")
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?);
    let ended = process::run(&mut cargo);
    let log = fs::read(&log)?;
    let log = String::from_utf8_lossy(&log);
    if let Err(error) = ended {
        let from = log.find("panicked at").or(log.find("ERROR: ")).unwrap_or(0);
        let what: Vec<&str> = log[from..].lines().take(3).collect();
        bail!(
            "{error}\n{}\n{}",
            what.join("\n"),
            how_to_go_on(project, &artifacts.join(target))
        );
    }
    let runs = statistic(&log, "number_of_executed_units").unwrap_or("?");
    let memory = statistic(&log, "peak_rss_mb").unwrap_or("?");
    println!(
        "{target}: {runs} runs in {} s, {memory} MiB",
        started.elapsed().as_secs()
    );
    Ok(())
}

/// A figure that the fuzzer prints at its end, `stat::NAME: FIGURE`.
fn statistic<'a>(log: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = log.split_once(&format!("stat::{name}:"))?;
    rest.split_whitespace().next()
}

fn how_to_go_on(project: &Project, artifacts: &Path) -> String {
    format!(
        "the input is in {}: put it in fuzz/corpus, where the tests find it too, and mend what \
         it breaks",
        project.show(artifacts)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuzzers_figures_are_read() {
        let log = "stat::number_of_executed_units: 46088\nstat::peak_rss_mb:              311\n";
        assert_eq!(statistic(log, "number_of_executed_units"), Some("46088"));
        assert_eq!(statistic(log, "peak_rss_mb"), Some("311"));
        assert_eq!(statistic(log, "cov"), None);
    }

    #[test]
    fn every_target_has_a_corpus() {
        let project = Project::here();
        let targets = targets(&project).unwrap();
        assert!(targets.len() > 10, "{targets:?}");
        for target in targets {
            let corpus = project.file("fuzz/corpus").join(&target);
            assert!(fs::read_dir(corpus).unwrap().next().is_some(), "{target}");
        }
    }
}
