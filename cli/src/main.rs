//! `build-cache`: moves BuildKit caches between a local cache directory and a
//! backend, which is a WebAssembly component.
//!
//! From the outside in: this file parses, runs and exits; `args` is what a
//! user may write, and `usage` what is said where it cannot be understood; `push`,
//! `pull`, `check`, `inspect`, and those in `gateway` and `upkeep` are the commands;
//! `spec` reads which cache is meant; `session` gets them from there to an open
//! cache, with `search` (where plugins lie), `secrets` (attributes that come from
//! files) and `tools` (whose sign-in may be used); `console`, with `json`, and
//! `progress` show what happens, from the numbers in `tally`; `failure` decides on
//! messages and exit codes.

mod args;
mod check;
mod console;
mod failure;
mod gateway;
mod inspect;
mod json;
mod progress;
mod pull;
mod push;
mod search;
mod secrets;
mod session;
mod spec;
mod start;
mod tally;
mod tools;
mod upkeep;
mod usage;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use build_cache_host::Scrubber;
use clap::Parser;
use clap::error::ErrorKind;

use args::{Args, Command, LoginCommand, OutputArgs, PluginCommand};
use console::Console;
use failure::{Answered, Exit, Interrupted, Misuse};

/// How long a command may go on after it was stopped, to take away what it
/// should not leave behind: some requests.
const CLEANING_UP: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let scrubber = Scrubber::default();
    usage::learn_secrets(&scrubber, given.iter().map(String::as_str));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return misunderstood(error, &given, scrubber),
    };
    let console = Console::new(&args.output, scrubber);
    let outcome = run(&args, &console);
    if let Err(error) = &outcome
        && !error.is::<Answered>()
        && !error.is::<Exit>()
    {
        console.failed(error);
    }
    ExitCode::from(outcome.map_or_else(|error| failure::exit_code(&error), |()| 0))
}

/// Shows the help or the version, or what is wrong with the command line.
fn misunderstood(error: clap::Error, given: &[String], scrubber: Scrubber) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        error.exit();
    }
    let mut options = given.iter().take_while(|argument| *argument != "--");
    let output = OutputArgs {
        quiet: false,
        verbose: false,
        json: options.any(|argument| argument == "--json"),
    };
    let error = Misuse(usage::message(error)).into();
    Console::new(&output, scrubber).failed(&error);
    ExitCode::from(failure::exit_code(&error))
}

/// How long work that is under way on other threads may take when the command
/// has ended, or was stopped: nobody notices it.
const LAST_WORK: Duration = Duration::from_millis(300);

fn run(args: &Args, console: &Console) -> Result<()> {
    let runtime = start::runtime()?;
    let outcome = runtime.block_on(async {
        if args.command.heeds_signals() {
            return command(&args.command, console).await;
        }
        let mut command = pin!(command(&args.command, console));
        let by = tokio::select! {
            outcome = &mut command => return outcome,
            by = interrupted() => by?,
        };
        if args.command.cleans_up() {
            // Whoever insists is not kept waiting.
            tokio::select! {
                _ = tokio::time::timeout(CLEANING_UP, command) => {}
                again = interrupted() => drop(again?),
            }
        }
        Err(by.into())
    });
    // What other threads are at may end, and what waits for them is dropped, so
    // that no unfinished file stays behind. Nobody waits for them for long.
    runtime.shutdown_timeout(LAST_WORK);
    outcome
}

async fn command(command: &Command, console: &Console) -> Result<()> {
    match command {
        Command::Push(args) => push::run(args, console).await,
        Command::Pull(args) => pull::run(args, console).await,
        Command::Serve(args) => gateway::serve(args, console).await,
        Command::With(args) => gateway::with(args, console).await,
        Command::Check(args) | Command::Login(LoginCommand::Check(args)) => {
            check::run(args, console).await
        }
        Command::Ls(args) => upkeep::ls(args, console).await,
        Command::Rm(args) => upkeep::rm(args, console).await,
        Command::Touch(args) => upkeep::touch(args, console).await,
        Command::Plugin(PluginCommand::Inspect { file, grants }) => {
            inspect::inspect(file, grants, console).await
        }
        Command::Plugin(PluginCommand::List(folders)) => inspect::list(folders, console).await,
    }
}

/// Waits until somebody wants the program to end.
#[cfg(unix)]
async fn interrupted() -> Result<Interrupted> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    // A program that was started by `nohup` goes on when its terminal goes.
    let mut hang_up = match hanging_up_is_ignored() {
        true => None,
        false => Some(listen(SignalKind::hangup())?),
    };
    let hung_up = async {
        match &mut hang_up {
            Some(signal) => signal.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => {
            pressed.context("cannot listen for Ctrl-C")?;
            Ok(Interrupted::CtrlC)
        }
        _ = terminate.recv() => Ok(Interrupted::Terminated),
        _ = hung_up => Ok(Interrupted::HungUp),
    }
}

/// Whether this program was started so that it does not hear when its terminal
/// is closed. Where that cannot be found out, the signal is left as it is.
#[cfg(unix)]
fn hanging_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status");
    status.map_or(true, |status| ignores_hanging_up(&status))
}

/// What a process's status under Linux says of signal 1: its ignored signals are
/// the bits of a hexadecimal number, the first of which is signal 1.
#[cfg(unix)]
fn ignores_hanging_up(status: &str) -> bool {
    let mut lines = status.lines();
    let ignored = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & 1 != 0)
}

/// Waits until somebody wants the program to end.
#[cfg(not(unix))]
async fn interrupted() -> Result<Interrupted> {
    tokio::signal::ctrl_c()
        .await
        .context("cannot listen for Ctrl-C")?;
    Ok(Interrupted::CtrlC)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_nohup_started_is_told_from_others() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0001\nSigIgn:\t{mask}\nSigCgt:\t1\n");
        assert!(ignores_hanging_up(&status("0000000000001001")));
        assert!(!ignores_hanging_up(&status("0000000000001000")));
        assert!(ignores_hanging_up("Name:\tx\n"), "not known");
    }
}
