//! What a failure is called and which exit code it has. Decides only; shows
//! nothing.

use build_cache_host::{Error, SpecError};

/// Something failed.
const FAILED: u8 = 1;
/// The command was given something that cannot be right.
const MISUSED: u8 = 2;

/// The command was given something that cannot be right, whatever the store
/// says.
#[derive(Debug)]
pub struct Misuse(pub String);

/// A name that cannot be used, which may come from outside, such as from a
/// branch: misuse, but one that `ignore-error=true` covers.
#[derive(Debug)]
pub struct MisusedName(pub String);

/// What was asked for has been shown, and it is bad news: there is no more to
/// say than the exit code.
#[derive(Debug)]
pub struct Answered;

/// The program ends with this code, and everything has been said.
#[derive(Debug, Clone, Copy)]
pub struct Exit(pub u8);

/// Somebody wants the program to end.
#[derive(Debug, Clone, Copy)]
pub enum Interrupted {
    /// By Ctrl-C.
    CtrlC,
    /// By the signal TERM, as a CI runner sends it.
    #[cfg_attr(not(unix), allow(dead_code))]
    Terminated,
    /// By the signal HUP, as its terminal was closed.
    #[cfg_attr(not(unix), allow(dead_code))]
    HungUp,
}

impl std::error::Error for Misuse {}
impl std::error::Error for MisusedName {}
impl std::error::Error for Answered {}
impl std::error::Error for Exit {}
impl std::error::Error for Interrupted {}

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for MisusedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer is negative")
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped before the end; run the command again to continue from here")
    }
}

/// The exit code for a failure: 1 failed, 2 misused, and what shells use for a
/// program that a signal ended.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(by) = error.downcast_ref::<Interrupted>() {
        return match by {
            Interrupted::CtrlC => 130,
            Interrupted::Terminated => 143,
            Interrupted::HungUp => 129,
        };
    }
    if let Some(Exit(code)) = error.downcast_ref() {
        return *code;
    }
    let misused = error.downcast_ref::<Misuse>().is_some()
        || error.downcast_ref::<MisusedName>().is_some()
        || error.downcast_ref::<SpecError>().is_some()
        || matches!(
            error.downcast_ref::<Error>(),
            Some(Error::InvalidAttribute { .. } | Error::UnknownType { .. })
        );
    if misused { MISUSED } else { FAILED }
}

/// The failure and its causes, each said once: some errors already name their
/// cause.
pub fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.is_empty() {
            message = text;
        } else if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
    }
    if message.contains(TOO_MANY_OPEN_FILES) {
        message += "; raise the limit on open files (`ulimit -n`): 256 are enough";
    }
    message
}

/// How Rust shows the system's EMFILE, wherever in a message it is.
const TOO_MANY_OPEN_FILES: &str = "(os error 24)";

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn misuse_is_told_from_failure_also_under_a_context() {
        let attribute = || Error::InvalidAttribute {
            name: "nmae".into(),
            reason: "unknown".into(),
        };
        assert_eq!(exit_code(&attribute().into()), 2);
        assert_eq!(exit_code(&anyhow!(attribute()).context("cannot open")), 2);
        assert_eq!(exit_code(&Misuse("no".into()).into()), 2);
        assert_eq!(exit_code(&MisusedName("no".into()).into()), 2);
        assert_eq!(exit_code(&SpecError::NoType.into()), 2);
        assert_eq!(exit_code(&Error::Unavailable("down".into()).into()), 1);
        assert_eq!(exit_code(&Interrupted::CtrlC.into()), 130);
    }

    #[test]
    fn what_to_do_is_said_where_open_files_ran_out() {
        let io = std::io::Error::from_raw_os_error(24);
        let message = message(&anyhow!(io).context("cannot start"));
        assert!(
            message.starts_with("cannot start: Too many open files"),
            "{message}"
        );
        assert!(
            message.ends_with("(`ulimit -n`): 256 are enough"),
            "{message}"
        );
    }

    #[test]
    fn a_cause_that_the_error_already_names_is_not_said_twice() {
        let io = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = Err::<(), _>(io)
            .context("cannot read x: entity not found")
            .unwrap_err();
        assert_eq!(message(&error), "cannot read x: entity not found");
        let error = anyhow!("the inner").context("the outer");
        assert_eq!(message(&error), "the outer: the inner");
    }
}
