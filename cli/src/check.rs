//! `build-cache check`: which credential would be used, and what it may do.

use std::sync::Arc;

use anyhow::{Context, Result};
use build_cache_host::{Access, CacheSpec};
use serde::Serialize;

use crate::args::CheckArgs;
use crate::console::Console;
use crate::failure::Answered;
use crate::progress::Progress;
use crate::session;

/// What a pull and a push need. Listing and deleting are for looking after a
/// store, and a credential may well do without.
const NEEDED: [&str; 2] = ["read", "write"];

/// What a check found.
#[derive(Serialize)]
struct Checked {
    r#type: String,
    credential: String,
    store: String,
    attempts: Vec<Tried>,
    /// Whether it does for a pull and a push.
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

/// Checks and reports. Fails where the credential does not do for a pull and a
/// push.
pub async fn run(args: &CheckArgs, console: &Console) -> Result<()> {
    let spec: CacheSpec = args.to.parse().context("--to")?;
    let plugin = session::load(&spec, &args.plugin, &args.network).await?;
    let progress = Progress::new(console, "checking", "checked");
    let on_event = Arc::new(move |event| progress.on_event(&event));
    let cache = session::open(&plugin, &spec, None, on_event).await?;
    let checked = Checked::new(spec.r#type, &cache.check().await?);
    if checked.sufficient {
        console.summary(&checked.text(), &checked)
    } else {
        console.answer(&checked.text(), &checked)?;
        Err(Answered.into())
    }
}

impl Checked {
    fn new(r#type: String, access: &Access) -> Self {
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
            sufficient: NEEDED.iter().all(|what| access.may(what)),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![
            format!("{}: {}", self.r#type, self.store),
            format!("credential: {}", self.credential),
        ];
        lines.extend(self.attempts.iter().map(|tried| match &tried.error {
            None => format!("  ✓ {:<7} works", tried.what),
            Some(error) => format!("  ✗ {:<7} fails: {error}", tried.what),
        }));
        lines.push(if self.sufficient {
            "This does for push and pull.".to_owned()
        } else {
            format!(
                "This does not do: push and pull need {}.",
                NEEDED.join(" and ")
            )
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use build_cache_host::{Attempt, Error};

    use super::*;

    fn checked(attempts: &[(&str, bool)]) -> Checked {
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
        Checked::new("test".into(), &access)
    }

    #[test]
    fn reading_and_writing_do_and_less_does_not() {
        assert!(checked(&[("read", true), ("write", true), ("list", false)]).sufficient);
        assert!(!checked(&[("read", true), ("write", false)]).sufficient);
        assert!(!checked(&[("read", true)]).sufficient);
    }

    #[test]
    fn each_attempt_is_told_in_words() {
        let text = checked(&[("read", true), ("write", false)]).text();
        for part in [
            "container `c`",
            "credential: a key",
            "✓ read    works",
            "✗ write   fails: not allowed: no role",
            "does not do",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
