//! The environment variables as credentials read them: an empty one is none.

use crate::secret::Secret;

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

    /// Whether a variable says yes, as Azure's SDKs take it.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut variables = self.0.iter();
        variables
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.expose())
    }
}
