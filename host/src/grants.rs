//! What one cache's instance may reach and use up. Nothing is granted that
//! nobody asked for: the backend says what it reads and where it sends, the
//! user's own attributes and variables say which store is meant, and the
//! [`Policy`] says what a backend of this type is trusted with. Where they meet
//! is decided in `reach` and `files`; `limits` holds it to the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::{Authorities, Description, Files, Policy};

/// What an instance may reach and use. [`Grants::default`] gives no variable.
#[derive(Debug, Clone)]
pub struct Grants {
    /// Which authorities it may send requests to.
    pub authorities: Authorities,
    /// The environment variables that it sees, by name, as far as its
    /// description asks for them. Their values may be secrets, and none of them
    /// is ever shown. One that the policy does not know lends all that it
    /// names: an embedder who adds it here grants it.
    pub variables: Variables,
    /// What the plugin is trusted with. Without one it is what comes with the
    /// product for the type that the plugin's description names.
    pub policy: Option<Policy>,
    /// Which files it may read.
    pub files: Files,
    /// The most memory of its own, in bytes. A manifest passes through it
    /// whole; layers do not.
    pub memory_bytes: usize,
    /// The most entries that its tables of functions have together.
    pub table_elements: usize,
    /// The most streams, futures, requests, answers and tasks that it has at
    /// once.
    pub handles: usize,
    /// The most that it hands to the host in one call, in bytes, as it lies in
    /// the host's memory: such as a manifest, or an error's text. What passes
    /// as a stream does not count.
    pub message_bytes: usize,
    /// The most that one listing of manifests or blobs holds, in bytes of
    /// their names and versions, and 64 for each.
    pub listing_bytes: usize,
    /// The most requests under way at once, from sending one until its answer
    /// was read or dropped. More wait for their turn.
    pub requests: usize,
    /// How long it may compute without a byte being moved before it counts as
    /// stuck. While it computes it lets other instances on.
    pub compute_time: Duration,
    /// How long a call may go without a byte being moved before the plugin
    /// counts as stuck, beyond the time that
    /// [`HttpOptions::idle_timeout`](crate::HttpOptions::idle_timeout) gives a
    /// server. Waiting before another attempt is part of it; the time that a
    /// transfer takes is not.
    pub idle_time: Duration,
}

/// Environment variables by name. Its `Debug` shows the names alone.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Grants {
    /// Room for a manifest of 64 MiB and what is made of it.
    const MEMORY_BYTES: usize = 512 << 20;
    /// More than a component of megabytes of code has.
    const TABLE_ELEMENTS: usize = 100_000;
    /// Hundreds of requests at once have some thousands.
    const HANDLES: usize = 100_000;
    /// A manifest of 64 MiB, with every layer of it beside.
    const MESSAGE_BYTES: usize = 128 << 20;
    /// Some three million blobs.
    const LISTING_BYTES: usize = 512 << 20;
    /// Beyond what a backend sends at once, and well below what a process may
    /// have open.
    const REQUESTS: usize = 512;
    /// Parsing the largest manifest takes a second or two.
    const COMPUTE_TIME: Duration = Duration::from_secs(20);
    /// Stores ask for pauses of up to a minute or two.
    const IDLE_TIME: Duration = Duration::from_secs(180);

    /// Grants a plugin the variables that its description asks for and that
    /// plugins of its type are trusted with, as far as this process has them.
    ///
    /// The type is what the description says: an embedder who loads other
    /// people's plugins compares it with the type that the user asked for, as
    /// the command does, or uses [`Grants::by_policy`].
    pub fn from_environment(description: &Description) -> Self {
        Self::by_policy(Policy::of_type(&description.r#type), description)
    }

    /// Grants a plugin the variables that its description asks for and that the
    /// policy trusts it with, as far as this process has them.
    pub fn by_policy(policy: Policy, description: &Description) -> Self {
        let asked = description.environment.iter();
        let granted = asked.filter(|v| policy.variable(&v.name).is_some());
        Self {
            variables: granted
                .filter_map(|v| Some((v.name.clone(), std::env::var(&v.name).ok()?)))
                .collect(),
            policy: Some(policy),
            ..Self::default()
        }
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            authorities: Authorities::AsAsked,
            variables: Variables::default(),
            policy: None,
            files: Files::default(),
            memory_bytes: Self::MEMORY_BYTES,
            table_elements: Self::TABLE_ELEMENTS,
            handles: Self::HANDLES,
            message_bytes: Self::MESSAGE_BYTES,
            listing_bytes: Self::LISTING_BYTES,
            requests: Self::REQUESTS,
            compute_time: Self::COMPUTE_TIME,
            idle_time: Self::IDLE_TIME,
        }
    }
}

impl Variables {
    /// The names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Takes out what the backend does not say that it reads.
    pub(crate) fn keep_described(&mut self, description: &Description) {
        let is_described = |name: &str| description.environment.iter().any(|v| v.name == name);
        self.0.retain(|name, _| is_described(name));
    }

    /// Adds a variable, or gives it another value.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
