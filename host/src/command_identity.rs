//! Tokens from command-line tools that print one as JSON. What the tools are
//! called and what they print is the embedder's data.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::{AccessToken, Identity};

/// A tool that asks the network takes a second or two.
const PATIENCE: Duration = Duration::from_secs(10);
/// No tool says more to give a token, in bytes.
const MOST_OUTPUT: u64 = 1 << 20;
/// What a token is taken to live for where the tool does not say when it ends,
/// in seconds: tools renew a token that is about to end before they print it.
const UNKNOWN_LIFE_SECONDS: u64 = 10 * 60;

/// A command-line tool that the user may have signed in to. It is run without
/// a shell, from the user's `PATH`, and ended when nobody waits for it. What it
/// is asked for is the host's decision: see [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandIdentity {
    /// The program's name, looked up in the absolute folders of `PATH`.
    pub program: String,
    /// Its arguments, where `{scope}` stands for the scope and `{resource}`
    /// for the scope without `/.default`.
    pub args: Vec<String>,
    /// The JSON pointer of the token.
    pub token: String,
    /// The JSON pointers of the token's end, the best first: seconds since the
    /// Unix epoch or an RFC 3339 time.
    pub expires: Vec<String>,
}

/// Several tools: the first that gives a token is taken.
#[derive(Debug, Clone, Default)]
pub struct CommandIdentities(pub Vec<CommandIdentity>);

impl Identity for CommandIdentities {
    fn token<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<AccessToken>, String>> {
        Box::pin(async move {
            let mut failures = Vec::new();
            for tool in &self.0 {
                match tool.token(scope).await {
                    Ok(Some(token)) => return Ok(Some(token)),
                    Ok(None) => {}
                    Err(failure) => failures.push(failure),
                }
            }
            match failures.is_empty() {
                true => Ok(None),
                false => Err(failures.join("; ")),
            }
        })
    }
}

impl Identity for CommandIdentity {
    fn token<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<AccessToken>, String>> {
        Box::pin(async move {
            let path = std::env::var_os("PATH").unwrap_or_default();
            match find(&self.program, &path) {
                Some(program) => self.ask(&program, scope, PATIENCE).await.map(Some),
                None => Ok(None),
            }
        })
    }
}

impl CommandIdentity {
    async fn ask(
        &self,
        program: &Path,
        scope: &str,
        patience: Duration,
    ) -> Result<AccessToken, String> {
        let name = &self.program;
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        let args = self.args.iter();
        let args = args.map(|arg| {
            arg.replace("{scope}", scope)
                .replace("{resource}", resource)
        });
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let child = command
            .spawn()
            .map_err(|error| format!("`{name}` cannot be run: {error}"))?;
        let mut run = Run(child);
        let (succeeded, stdout, stderr) = tokio::time::timeout(patience, run.finish())
            .await
            .map_err(|_| format!("`{name}` gave no token within {} s", patience.as_secs()))?
            .map_err(|error| format!("`{name}` cannot be run to its end: {error}"))?;
        if !succeeded {
            let last = last_line(&stderr).unwrap_or("it does not say why");
            return Err(format!("`{name}` gave no token: {last}"));
        }
        // What it printed is not shown: there may be a token in it.
        self.read(&stdout, SystemTime::now())
            .ok_or_else(|| format!("`{name}` printed something that holds no token"))
    }

    /// Reads what the tool printed.
    fn read(&self, printed: &str, now: SystemTime) -> Option<AccessToken> {
        let printed: Value = serde_json::from_str(printed).ok()?;
        let token = printed.pointer(&self.token)?.as_str()?;
        let mut ends = self.expires.iter();
        let expires_at = ends
            .find_map(|pointer| seconds(printed.pointer(pointer)?))
            .or_else(|| {
                let now = now.duration_since(UNIX_EPOCH).ok()?;
                Some(now.as_secs() + UNKNOWN_LIFE_SECONDS)
            })?;
        (!token.is_empty()).then(|| AccessToken {
            token: token.to_owned(),
            expires_at,
        })
    }
}

/// A running tool. Ends what the tool itself started as well: many are scripts
/// that only start an interpreter.
struct Run(Child);

impl Run {
    /// Waits for its end. Returns whether it succeeded, and what it wrote.
    async fn finish(&mut self) -> std::io::Result<(bool, String, String)> {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let (stdout, stderr) = tokio::try_join!(read(stdout), read(stderr))?;
        Ok((self.0.wait().await?.success(), stdout, stderr))
    }
}

#[cfg(unix)]
impl Drop for Run {
    fn drop(&mut self) {
        // There is an id for as long as nobody has waited for the process.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself in the meantime.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut output = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MOST_OUTPUT).read_to_end(&mut output).await?;
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

fn last_line(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim);
    lines.rfind(|line| !line.is_empty())
}

/// A number, a number in a string, or a time. A time without a zone is
/// somebody's local one, and tells nothing here.
fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok().or_else(|| {
            let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            u64::try_from(time.unix_timestamp()).ok()
        }),
        _ => None,
    }
}

/// The program in the first absolute folder of `path` that has it. A relative
/// folder may be somebody else's checkout.
fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    let endings: &[&str] = if cfg!(windows) {
        &[".exe", ".cmd", ".bat"]
    } else {
        &[""]
    };
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .flat_map(|folder| {
            endings
                .iter()
                .map(move |e| folder.join(format!("{program}{e}")))
        })
        .find(|file| file.is_file())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SCOPE: &str = "https://store.example/.default";

    fn tool() -> CommandIdentity {
        CommandIdentity {
            program: "tool".into(),
            args: ["token", "--for", "{resource}", "--scope={scope}"]
                .map(str::to_owned)
                .into(),
            token: "/accessToken".into(),
            expires: vec!["/expires_on".into(), "/expiresOn".into()],
        }
    }

    /// A folder with a tool in it that runs this.
    fn folder(script: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tool");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script");
        let runnable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&file, runnable).expect("permissions");
        folder
    }

    async fn ask(script: &str, patience: Duration) -> Result<AccessToken, String> {
        let folder = folder(script);
        let program = find("tool", folder.path().as_os_str()).expect("the tool");
        tool().ask(&program, SCOPE, patience).await
    }

    #[tokio::test]
    async fn a_tool_is_asked_for_the_scope_and_its_token_is_read() {
        let script = r#"printf '{"accessToken":"%s","expires_on":1900000000}' "$*""#;
        let token = ask(script, PATIENCE).await.expect("a token");
        assert_eq!(
            token.token,
            format!("token --for https://store.example --scope={SCOPE}")
        );
        assert_eq!(token.expires_at, 1_900_000_000);
        assert!(!format!("{token:?}").contains("store.example"));
    }

    #[tokio::test]
    async fn a_tool_that_fails_is_quoted_with_its_last_line() {
        let script = "echo first >&2; echo 'ERROR: sign in again' >&2; echo >&2; exit 1";
        let error = ask(script, PATIENCE).await.expect_err("no token");
        assert_eq!(error, "`tool` gave no token: ERROR: sign in again");
    }

    #[tokio::test]
    async fn what_a_tool_printed_in_vain_is_not_shown() {
        let error = ask("echo swordfish", PATIENCE).await.expect_err("no token");
        assert_eq!(error, "`tool` printed something that holds no token");
    }

    #[tokio::test]
    async fn a_tool_that_hangs_is_ended_with_all_that_it_started() {
        let marks = tempfile::tempdir().expect("a folder");
        let mark = marks.path().join("survived");
        let script = format!("(sleep 1; touch {}) & sleep 30", mark.display());
        let error = ask(&script, Duration::from_millis(300))
            .await
            .expect_err("no token");
        assert!(error.contains("gave no token within"), "{error}");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!mark.exists());
    }

    #[test]
    fn the_end_of_a_token_is_read_in_every_form() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let ends = |more: &str| {
            let printed = format!(r#"{{"accessToken":"t"{more}}}"#);
            tool().read(&printed, now).map(|token| token.expires_at)
        };
        assert_eq!(ends(r#","expires_on":"1900000000""#), Some(1_900_000_000));
        assert_eq!(
            ends(r#","expiresOn":"2030-03-17T17:46:40Z""#),
            Some(1_900_000_000)
        );
        assert_eq!(
            ends(r#","expiresOn":"2030-03-17 17:46:40.000000""#),
            Some(1600)
        );
        assert_eq!(ends(""), Some(1600));
    }

    #[test]
    fn a_relative_folder_of_the_path_is_not_searched() {
        let folder = folder("true");
        assert!(find("tool", folder.path().as_os_str()).is_some());
        assert_eq!(find("tool", OsStr::new("relative:.")), None);
    }
}
