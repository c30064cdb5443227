//! What follows `--to`, `--from` and `--name`, as one specification of a cache.
//!
//! Names come from outside, such as from a branch. `--name` takes them as they
//! are, where in attributes a `,` begins another attribute and a `;` another
//! name. So whatever is wrong with a name is a fault of its own
//! ([`MisusedName`]), which `ignore-error=true` covers.

use anyhow::{Context, Result};
use build_cache_host::{CacheSpec, Description, SpecError};

use crate::failure::MisusedName;

/// The attribute that holds a cache's names, as BuildKit has it.
const NAME: &str = "name";
/// What separates names in it.
const SEPARATOR: char = ';';

/// Reads the attributes that follow `option`, and adds these names.
pub fn read(option: &'static str, text: &str, names: &[String]) -> Result<CacheSpec> {
    let read = text.parse::<CacheSpec>();
    let mut spec = read.map_err(|error: SpecError| match error.is_of_name() {
        true => MisusedName(format!(
            "{option}: {error}. `--name NAME` accepts a name as it is"
        ))
        .into(),
        false => anyhow::Error::new(error).context(option),
    })?;
    if let Some(names) = joined(&spec, names).context("--name")? {
        spec.attributes.push((NAME.to_owned(), names));
    }
    Ok(spec)
}

/// Whether the error is one of a name, and these attributes ask for errors to be
/// ignored.
pub fn ignores(text: &str, error: &anyhow::Error) -> bool {
    error.downcast_ref::<MisusedName>().is_some() && CacheSpec::asks_to_ignore_errors(text)
}

/// The names of the cache that is meant, each once and in order; none where the
/// backend's caches have no names.
pub fn names(spec: &CacheSpec, description: &Description) -> Option<Vec<String>> {
    let given = spec.attributes.iter().find(|(name, _)| name == NAME);
    let mut described = description.attributes.iter();
    let default = || {
        described
            .find(|attribute| attribute.name == NAME)?
            .default
            .as_ref()
    };
    let list = given.map(|(_, names)| names).or_else(default)?;
    let mut names: Vec<String> = Vec::new();
    for name in list.split(SEPARATOR).filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Some(names)
}

/// The names in the form of the attribute, if there are any.
fn joined(spec: &CacheSpec, names: &[String]) -> Result<Option<String>, MisusedName> {
    if names.is_empty() {
        return Ok(None);
    }
    if spec.attributes.iter().any(|(key, _)| key == NAME) {
        return Err(MisusedName(
            "the attributes have a `name` as well: give names in one place".to_owned(),
        ));
    }
    names.iter().try_for_each(|name| check(name))?;
    Ok(Some(names.join(&SEPARATOR.to_string())))
}

/// Refuses a name that a store would have under another: one that the contract
/// with plugins would split, and one that stands for another path.
fn check(name: &str) -> Result<(), MisusedName> {
    let reason = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.contains(SEPARATOR) {
        format!(
            "it has a `{SEPARATOR}`, which separates names in BuildKit's caches, so it would be \
             several names. Replace the `{SEPARATOR}` by another character"
        )
    } else if name.contains(char::is_control) {
        "it has a control character, such as a line's end".to_owned()
    } else if name.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        "a part of it between `/` is empty, `.` or `..`, so it would become another name".to_owned()
    } else {
        return Ok(());
    };
    Err(MisusedName(format!("`{name}` cannot be a name: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, names: &[&str]) -> Result<CacheSpec> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        super::read("--to", text, &names)
    }

    #[test]
    fn a_name_is_taken_as_it_is() {
        for name in [
            "fix,typo",
            "fix,name=main",
            "a=b",
            "\"quoted\"",
            " a ",
            "fix##1",
            "a\u{200b}b",
            "a b",
        ] {
            let spec = read("type=x,container=c", &[name]).expect(name);
            assert_eq!(spec.attributes[1], ("name".to_owned(), name.to_owned()));
            assert_eq!(
                names(&spec, &Description::default()).expect("names"),
                [name]
            );
        }
        let spec = read("type=x", &["a", "b/c", "a"]).expect("names");
        assert_eq!(
            names(&spec, &Description::default()).expect("names"),
            ["a", "b/c"]
        );
    }

    #[test]
    fn a_name_that_would_become_another_is_refused() {
        for name in [
            "",
            "x;main",
            ";",
            "a/../main",
            "../main",
            ".",
            "/main",
            "main/",
            "a//b",
            "a\nb",
            "a\u{7}",
        ] {
            let error = read("type=x,ignore-error=true", &["good", name]).expect_err(name);
            assert!(ignores("type=x,ignore-error=true", &error), "{name:?}");
            assert!(!ignores("type=x", &error), "{name:?}");
        }
        let message = format!("{:#}", read("type=x", &["x;main"]).expect_err("refused"));
        assert!(
            message.contains("--name") && message.contains("`x;main`"),
            "{message}"
        );
    }

    #[test]
    fn names_are_given_in_one_place() {
        let error = read("type=x,name=a", &["b"]).expect_err("both");
        assert!(format!("{error:#}").contains("in one place"), "{error:#}");
        assert!(error.downcast_ref::<MisusedName>().is_some());
    }

    #[test]
    fn a_name_in_the_attributes_that_breaks_them_is_a_misused_name() {
        let text = "type=x,ignore-error=true,name=fix,typo";
        let error = read(text, &[]).expect_err("refused");
        assert!(ignores(text, &error), "{error:#}");
        assert!(format!("{error:#}").contains("`--name NAME`"), "{error:#}");
        let text = "type=x,ignore-error=true,mode=most,name=a";
        assert!(!ignores(text, &read(text, &[]).expect_err("refused")));
    }
}
