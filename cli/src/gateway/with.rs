//! `build-cache with`: a gateway for as long as one command runs.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use build_cache_gateway::Gateway;
use tokio::process::{Child, Command};

use super::args::WithArgs;
use super::serve::report;
use super::signals::Signals;
use super::{doorway, setup};
use crate::console::Console;
use crate::failure::{Exit, Misuse};

/// What stands for the gateway's address in the command.
const PLACEHOLDER: &str = "{registry}";
/// The variable that has it as well.
const VARIABLE: &str = "BUILD_CACHE_REGISTRY";
/// What shells say of a command that is not there.
const NOT_FOUND: u8 = 127;
/// And of one that cannot be run.
const NOT_RUNNABLE: u8 = 126;

/// Runs the command. Its exit code is this program's, unless the cache that it
/// pushed is lost.
pub async fn run(args: &WithArgs, console: &Console) -> Result<()> {
    let (gateway, _plugins) = setup::gateway(&args.gateway, None, Vec::new(), console).await?;
    let mut signals = Signals::listen()?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = doorway::listen(any_port).await?;
    let port = listener.local_addr().context("cannot listen")?.port();
    let serving = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.serve(listener, None).await }
    });
    gateway.warm_up();
    let status = command(args, &format!("localhost:{port}"), &mut signals, console).await;
    let unfinished = finish(&gateway, &mut signals).await;
    drop(serving);
    let reported = report(&gateway, &unfinished, console);
    match status? {
        0 => reported,
        code => Err(Exit(code).into()),
    }
}

/// Waits until everything is stored, unless somebody does not want to wait.
async fn finish(gateway: &Gateway, signals: &mut Signals) -> build_cache_gateway::Unfinished {
    let all = async {
        gateway.flush().await;
        // Clients have gone; what they left open is not waited for.
        gateway.finish(Duration::from_secs(5)).await
    };
    tokio::select! {
        unfinished = all => unfinished,
        () = signals.stop() => gateway.finish(Duration::ZERO).await,
    }
}

/// Runs the command in this terminal, and gives its exit code.
async fn command(
    args: &WithArgs,
    registry: &str,
    signals: &mut Signals,
    console: &Console,
) -> Result<u8> {
    let command = args.command.iter().map(|part| replace(part, registry));
    let command: Vec<OsString> = command.collect();
    let [program, arguments @ ..] = &command[..] else {
        return Err(Misuse("there is no command to run".to_owned()).into());
    };
    let child = Command::new(program)
        .args(arguments)
        .env(VARIABLE, registry)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            let code = if is_missing { NOT_FOUND } else { NOT_RUNNABLE };
            console.failed(&anyhow!("cannot run `{}`: {error}", program.display()));
            return Ok(code);
        }
    };
    wait(&mut child, signals).await.map(exit_code)
}

/// Waits for the command to end. Ctrl-C reaches it by the terminal; other signals
/// are passed on.
async fn wait(child: &mut Child, signals: &mut Signals) -> Result<ExitStatus> {
    let id = child.id();
    loop {
        tokio::select! {
            status = child.wait() => return status.context("cannot wait for the command"),
            () = pass_on(id, signals) => {}
        }
    }
}

#[cfg(unix)]
async fn pass_on(child: Option<u32>, signals: &mut Signals) {
    let signal = signals.forwarded().await;
    let pid = child.and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may have ended in the meantime.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(not(unix))]
async fn pass_on(_: Option<u32>, signals: &mut Signals) {
    signals.next().await;
}

/// The exit code as shells give it.
fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status
        .code()
        .map_or(1, |code| u8::try_from(code).unwrap_or(u8::MAX))
}

/// The argument with the gateway's address in it. One that is not text stays.
fn replace(part: &OsStr, registry: &str) -> OsString {
    match part.to_str() {
        Some(text) => text.replace(PLACEHOLDER, registry).into(),
        None => part.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_put_where_it_belongs() {
        let replaced = |text: &str| replace(OsStr::new(text), "localhost:1");
        assert_eq!(
            replaced("type=registry,ref={registry}/app:main"),
            "type=registry,ref=localhost:1/app:main"
        );
        assert_eq!(replaced("{registry}{registry}"), "localhost:1localhost:1");
        assert_eq!(replaced("{registries} $HOME"), "{registries} $HOME");
    }
}
