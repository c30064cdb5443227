//! `build-cache check`: which credential would be used, and what it may do.

use std::sync::Arc;

use anyhow::Result;
use build_cache_host::Access;
use serde::Serialize;

use crate::args::CheckArgs;
use crate::console::Console;
use crate::failure::{Answered, Misuse};
use crate::progress::Progress;
use crate::{session, spec};

/// What a credential is meant to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Pull,
    Push,
}

impl Purpose {
    /// What it needs. Listing and deleting are for looking after a store, and a
    /// credential need not allow them.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Pull => &["read"],
            Self::Push => &["read", "write"],
        }
    }

    fn is_met(self, access: &Access) -> bool {
        self.needs().iter().all(|what| access.may(what))
    }
}

/// What a check found.
#[derive(Serialize)]
struct Checked {
    r#type: String,
    credential: String,
    store: String,
    attempts: Vec<Tried>,
    /// Whether it is sufficient for a pull.
    pull: bool,
    /// Whether it is sufficient for a push.
    push: bool,
    /// Whether it is sufficient for what was asked about.
    sufficient: bool,
}

/// One thing that was tried.
#[derive(Serialize)]
struct Tried {
    what: String,
    works: bool,
    /// Why not.
    error: Option<String>,
}

/// Checks and reports. Fails if the credential is not sufficient.
pub async fn run(args: &CheckArgs, console: &Console) -> Result<()> {
    let (attributes, option, purpose) = match (&args.to, &args.from) {
        (Some(to), _) => (to, "--to", Purpose::Push),
        (None, Some(from)) => (from, "--from", Purpose::Pull),
        (None, None) => return Err(Misuse("give --to or --from".to_owned()).into()),
    };
    let spec = spec::read(option, attributes, &args.name)?;
    let plugin = session::load(&spec, &args.plugin, &args.network).await?;
    let progress = Progress::new(console, "checking", "checked");
    let on_event = Arc::new(move |event| progress.on_event(&event));
    let cache = session::open(&plugin, &spec, None, on_event, console).await?;
    let checked = Checked::new(spec.r#type, &cache.check().await?, purpose);
    if checked.sufficient {
        console.summary(&checked.text(console.is_verbose()), &checked)
    } else {
        console.answer(&checked.text(console.is_verbose()), &checked)?;
        Err(Answered.into())
    }
}

impl Checked {
    fn new(r#type: String, access: &Access, purpose: Purpose) -> Self {
        let attempts = access.attempts.iter().map(|attempt| Tried {
            what: attempt.what.clone(),
            works: attempt.outcome.is_ok(),
            error: attempt.outcome.as_ref().err().map(ToString::to_string),
        });
        Self {
            r#type,
            credential: access.credential.clone(),
            store: access.store.clone(),
            attempts: attempts.collect(),
            pull: Purpose::Pull.is_met(access),
            push: Purpose::Push.is_met(access),
            sufficient: purpose.is_met(access),
        }
    }

    /// In words. Why something fails that neither push nor pull needs is a
    /// detail.
    fn text(&self, with_details: bool) -> String {
        let mut lines = vec![
            format!("{}: {}", self.r#type, self.store),
            format!("credential: {}", self.credential),
        ];
        for tried in &self.attempts {
            let what = &tried.what;
            match &tried.error {
                None => lines.push(format!("  ✓ {what:<7} works")),
                Some(_) if !with_details && !Purpose::Push.needs().contains(&what.as_str()) => {
                    lines.push(format!(
                        "  ✗ {what:<7} fails, but is not needed (-v shows why)"
                    ));
                }
                Some(error) => {
                    lines.push(format!("  ✗ {what:<7} fails"));
                    lines.push(format!("    {}", error.replace('\n', "\n    ")));
                }
            }
        }
        let reads = self.attempts.iter().any(|tried| tried.what == "read");
        let verdict = match (self.pull, self.push) {
            (true, true) => "Sufficient for push and pull.",
            (true, false) => "Sufficient for pull, but not for push, which needs write too.",
            (false, _) if reads => {
                "Not sufficient: pull needs read, and push needs read and write."
            }
            (false, _) => "It is unknown whether this is sufficient.",
        };
        lines.push(verdict.to_owned());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use build_cache_host::{Attempt, Error};

    use super::*;

    fn checked(purpose: Purpose, attempts: &[(&str, bool)]) -> Checked {
        let attempts = attempts.iter().map(|(what, works)| Attempt {
            what: (*what).into(),
            outcome: works
                .then_some(())
                .ok_or_else(|| Error::Forbidden("no role".into())),
        });
        let access = Access {
            credential: "a key".into(),
            store: "container `c`".into(),
            attempts: attempts.collect(),
        };
        Checked::new("test".into(), &access, purpose)
    }

    #[test]
    fn a_push_takes_reading_and_writing_and_a_pull_takes_reading() {
        let does = |purpose, attempts: &[(&str, bool)]| checked(purpose, attempts).sufficient;
        let all = [("read", true), ("write", true), ("list", false)];
        assert!(does(Purpose::Push, &all) && does(Purpose::Pull, &all));
        let read_only = [("read", true), ("write", false)];
        assert!(!does(Purpose::Push, &read_only) && does(Purpose::Pull, &read_only));
        assert!(!does(Purpose::Push, &[("read", true)]));
        assert!(!does(Purpose::Pull, &[("write", true)]));
    }

    #[test]
    fn what_is_not_needed_is_told_at_length_only_where_details_are_wanted() {
        let all = [("read", true), ("write", true), ("list", false)];
        let checked = checked(Purpose::Push, &all);
        assert!(!checked.text(false).contains("no role"));
        assert!(checked.text(true).contains("no role"));
    }

    #[test]
    fn each_attempt_is_told_in_words() {
        let text = checked(Purpose::Push, &[("read", true), ("write", false)]).text(false);
        for part in [
            "container `c`",
            "credential: a key",
            "✓ read    works",
            "✗ write   fails\n    not allowed: no role",
            "Sufficient for pull, but not for push",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
