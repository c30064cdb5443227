//! The environment variables as credentials read them: an empty one is none.

use crate::config::boolean;
use crate::error::Error;
use crate::secret::{Secret, unquoted};

/// The variables that the host lets us see.
#[derive(Default)]
pub(crate) struct Variables(Vec<(String, Secret)>);

impl Variables {
    /// Takes a copy that is wiped when it is dropped.
    pub(crate) fn new(environment: &[(String, String)]) -> Self {
        let kept = environment.iter();
        let kept = kept.map(|(name, value)| (name.clone(), Secret::new(value.clone())));
        Self(kept.collect())
    }

    /// A variable's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// A variable's value, as one that is never shown.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| Secret::new(value.to_owned()))
    }

    /// The same without white space around it, such as the line end of a file
    /// that it was read from. Only for secrets that cannot have any.
    pub(super) fn trimmed_secret(&self, name: &str) -> Option<Secret> {
        let value = self.get(name).map(str::trim)?;
        (!value.is_empty()).then(|| Secret::new(value.to_owned()))
    }

    /// Whether a variable is set to nothing, which somebody may have meant to
    /// fill.
    pub(super) fn is_set_but_empty(&self, name: &str) -> bool {
        self.value(name) == Some("")
    }

    /// Those of these variables that have no value.
    pub(super) fn missing<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let names = names.iter().copied();
        names.filter(|name| self.get(name).is_none()).collect()
    }

    /// A variable's value that is an id or a name, in which no white space and
    /// no quotation mark can be.
    pub(super) fn id(&self, name: &str) -> Option<&str> {
        let id = self.get(name).map(unquoted);
        id.filter(|id| !id.is_empty())
    }

    /// Whether a variable says yes, in any form of a boolean. Azure's SDKs know
    /// `1` and `true` in any case.
    pub(super) fn is_on(&self, name: &'static str) -> Result<bool, Error> {
        let Some(value) = self.get(name) else {
            return Ok(false);
        };
        boolean(&value.to_ascii_lowercase())
            .ok_or_else(|| Error::attribute(name, "it must be `true` or `false`"))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut variables = self.0.iter();
        variables
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.expose())
    }
}
