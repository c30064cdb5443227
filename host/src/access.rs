//! What a credential opens, as the backend found by trying.

use crate::Error;
use crate::bindings::exports::build_cache::plugin::backend;
use crate::text::Scrubber;

/// Which credential a cache uses, for which store, and what it may do there.
#[derive(Debug)]
pub struct Access {
    /// The credential in words, without its secret.
    pub credential: String,
    /// The store in words.
    pub store: String,
    /// What was tried, in the order in which it was.
    pub attempts: Vec<Attempt>,
}

/// One thing that was tried.
#[derive(Debug)]
pub struct Attempt {
    /// `read`, `write`, `list` or `delete`.
    pub what: String,
    /// Why it did not work, where it did not.
    pub outcome: Result<(), Error>,
}

impl Access {
    /// Whether everything of this name was tried and worked.
    pub fn may(&self, what: &str) -> bool {
        let mut tried = self.attempts.iter().filter(|a| a.what == what).peekable();
        tried.peek().is_some() && tried.all(|attempt| attempt.outcome.is_ok())
    }

    /// Reads what a backend answered.
    pub(crate) fn from_backend(access: backend::Access, scrub: &Scrubber) -> Self {
        Self {
            credential: scrub.clean(&access.credential),
            store: scrub.clean(&access.store),
            attempts: access
                .attempts
                .into_iter()
                .map(|attempt| Attempt {
                    what: scrub.clean(&attempt.what),
                    outcome: attempt
                        .outcome
                        .map_err(|error| Error::from_backend(error, scrub)),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_is_not_known_to_work() {
        let attempt = |what: &str, outcome| Attempt {
            what: what.into(),
            outcome,
        };
        let access = Access {
            credential: String::new(),
            store: String::new(),
            attempts: vec![
                attempt("read", Ok(())),
                attempt("write", Err(Error::Forbidden("no role".into()))),
            ],
        };
        assert!(access.may("read"));
        assert!(!access.may("write"));
        assert!(!access.may("delete"));
    }
}
