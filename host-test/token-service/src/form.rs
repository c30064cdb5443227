//! Parameters of a query or of a form: each name at most once.

use std::collections::BTreeMap;

/// Names and decoded values.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` text.
    ///
    /// # Errors
    /// The name that came twice.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if values
                .insert(name.to_string(), value.into_owned())
                .is_some()
            {
                return Err(name.into_owned());
            }
        }
        Ok(Self(values))
    }

    /// A value that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The names, empty values included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_keep_their_blanks() {
        let form = Form::parse(b"a=x%2By+z%0A&b=").unwrap();
        assert_eq!(form.get("a"), Some("x+y z\n"));
        assert_eq!(form.get("b"), None);
        assert_eq!(form.names().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_name_comes_once() {
        assert_eq!(Form::parse(b"a=1&a=1").err(), Some("a".to_owned()));
    }
}
