//! `build-cache serve`: a gateway until somebody stops it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use build_cache_gateway::{Gateway, Password, USER, Unfinished};

use super::args::ServeArgs;
use super::setup::{self, Plugins};
use super::{doorway, signals};
use crate::console::{Console, number};
use crate::failure::Exit;

/// How often `--watch` looks at the plugin's file.
const WATCH: Duration = Duration::from_secs(1);

/// Serves until a signal ends it.
pub async fn run(args: &ServeArgs, console: &Console) -> Result<()> {
    doorway::check(args)?;
    let listener = doorway::listen(args.listen).await?;
    let address = listener.local_addr().context("cannot listen")?;
    let (password, password_file) = password(args, address.port())?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(doorway::tls(cert, key)?),
        _ => None,
    };
    let mut hosts = args.allow_host.clone();
    hosts.push(args.listen.ip().to_string());
    let (gateway, plugins) = setup::gateway(&args.gateway, password, hosts, console).await?;
    let mut signals = signals::Signals::listen()?;
    let serving = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.serve(listener, tls).await }
    });
    let shown = match address.ip().is_loopback() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    };
    announce(args, &shown, password_file.as_deref(), console);
    gateway.warm_up();
    until_stopped(&mut signals, args, &plugins, console).await;

    console.note(&format!("ending; what is under way has {} s", args.grace));
    let grace = Duration::from_secs(args.grace);
    let unfinished = tokio::select! {
        unfinished = gateway.finish(grace) => unfinished,
        // Whoever insists is not kept waiting.
        () = signals.stop() => gateway.finish(Duration::ZERO).await,
    };
    drop(serving);
    report(&gateway, &unfinished, console)
}

/// Tells what the run did. What was lost is a failure.
pub fn report(gateway: &Gateway, unfinished: &Unfinished, console: &Console) -> Result<()> {
    let summary = gateway.summary();
    console.summary(&summary.lines().join("\n"), &summary)?;
    if unfinished.is_empty() {
        return Ok(());
    }
    let mut lost = Vec::new();
    if !unfinished.names.is_empty() {
        lost.push(format!("the caches {}", unfinished.names.join(", ")));
    }
    if !unfinished.layers.is_empty() {
        lost.push(number(unfinished.layers.len(), "layer"));
    }
    console.warn(&format!(
        "not stored, and lost: {}; the next push sends them again",
        lost.join(" and ")
    ));
    Err(Exit(1).into())
}

/// Waits for the signal to end, and loads plugins again meanwhile.
async fn until_stopped(
    signals: &mut signals::Signals,
    args: &ServeArgs,
    plugins: &Plugins,
    console: &Console,
) {
    let mut changes = Changes::of(plugins.files());
    let mut watch = tokio::time::interval(WATCH);
    loop {
        tokio::select! {
            heard = signals.next() => match heard {
                signals::Heard::Stop => return,
                signals::Heard::Reload => plugins.reload(&args.gateway, console).await,
            },
            _ = watch.tick(), if args.watch => {
                if changes.settled() {
                    plugins.reload(&args.gateway, console).await;
                }
            }
        }
    }
}

/// Files that may change.
struct Changes {
    files: Vec<PathBuf>,
    used: Vec<Option<(SystemTime, u64)>>,
    last: Vec<Option<(SystemTime, u64)>>,
}

impl Changes {
    fn of(files: Vec<PathBuf>) -> Self {
        let used = look(&files);
        Self {
            last: used.clone(),
            used,
            files,
        }
    }

    /// Whether a file is another one since, and stands still: one that is being
    /// written is not looked at yet.
    fn settled(&mut self) -> bool {
        let now = look(&self.files);
        let settled = now == self.last && now != self.used;
        if settled {
            self.used.clone_from(&now);
        }
        self.last = now;
        settled
    }
}

fn look(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let look = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(look).collect()
}

/// The password that clients need, and where they find it.
fn password(args: &ServeArgs, port: u16) -> Result<(Option<Password>, Option<PathBuf>)> {
    if !args.auth {
        return Ok((None, None));
    }
    if let Some(path) = &args.password_file {
        return Ok((Some(doorway::read_password(path)?), Some(path.clone())));
    }
    let password = Password::random().context("cannot draw a password")?;
    let folder = args
        .gateway
        .spool
        .clone()
        .unwrap_or_else(setup::default_spool);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("password-{port}"));
    doorway::write_password(&path, &password)?;
    Ok((Some(password), Some(path)))
}

/// The lines to paste.
fn announce(
    args: &ServeArgs,
    address: &str,
    password_file: Option<&std::path::Path>,
    console: &Console,
) {
    let mut text =
        format!("listening on {address}; Ctrl-C ends it; http://{address}/ shows what it does");
    if let Some(path) = password_file {
        text.push_str(&format!(
            "\n  docker login {address} --username {USER} --password-stdin < {}",
            path.display()
        ));
    }
    text.push_str(&format!(
        "\n  --cache-from type=registry,ref={address}/REPO:TAG"
    ));
    if args.gateway.to.is_some() {
        text.push_str(&format!(
            "\n  --cache-to   type=registry,ref={address}/REPO:TAG,mode=max"
        ));
    }
    if console.is_json() {
        console.event(&serde_json::json!({ "event": "listening", "address": address }));
    } else {
        console.note(&text);
    }
}
