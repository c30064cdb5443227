//! What a user writes after `--to` and `--from`: buildx's cache attributes.
//!
//! Reads `type=azblob,name=app,"sas=a,b"` as buildx does
//! ([`util/buildflags/cache.go`](https://github.com/docker/buildx/blob/master/util/buildflags/cache.go))
//! and takes out what is the host's. What the rest means, only the backend
//! knows. Any of it may be a secret, so no value is in an error or in `Debug`:
//! of a wrong one there is its harmless beginning (see `shown`).

use std::fmt;
use std::str::FromStr;

use crate::shown;

/// The attribute that holds the names of a cache, as BuildKit has it. Names
/// come from outside, such as from a branch, so what is wrong with them is not
/// the user's mistake.
const NAME: &str = "name";

/// A cache as a user names it: which backend, and the attributes for it.
#[derive(Clone, PartialEq, Eq)]
pub struct CacheSpec {
    /// The backend's type, such as `azblob`.
    pub r#type: String,
    /// `mode`: how much of a cache to export. None: all that is there.
    pub mode: Option<Mode>,
    /// `ignore-error`: whether a failed export is only a warning.
    pub ignore_error: bool,
    /// Everything else, for the backend: keys in lower case, each once, values
    /// as written. Any value may be a secret.
    pub attributes: Vec<(String, String)>,
}

/// How much of a cache to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only what the final result needs.
    Min,
    /// The intermediate steps as well.
    Max,
}

/// Why attributes could not be read. Fields are counted from 1. Of a wrong value
/// there is its harmless beginning alone, since what follows may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// There was nothing to read.
    #[error("no attributes given: write `type=NAME,key=value,...`")]
    Empty,
    /// buildx's short form for a registry.
    #[error(
        "the attributes have no `=`: buildx reads that as an image in a registry, \
         but here only types with a plugin work; write `type=NAME,key=value,...`"
    )]
    Shorthand,
    /// A field that is not `key=value`.
    #[error("field {field}{} {fault}", after(.previous, .fault))]
    Field {
        /// The field, from 1.
        field: usize,
        /// The key of the field before it, whose value may have had the comma.
        previous: Option<String>,
        /// What is wrong with it.
        fault: FieldFault,
        /// Whether the field is a `name`, or follows one and so may be a part
        /// of it.
        is_of_name: bool,
    },
    /// No `type`, or an empty one.
    #[error("`type` is missing: write `type=NAME,key=value,...`")]
    NoType,
    /// A `type` that is not one.
    #[error(
        "`type={0}` is not a type, which has letters, digits, `-`, `_` and `.`; \
         attributes are separated by commas"
    )]
    Type(String),
    /// A `mode` that there is not.
    #[error("`mode={0}` is unknown: it is `min` or `max`; attributes are separated by commas")]
    Mode(String),
    /// An `ignore-error` that is not a truth value.
    #[error("`ignore-error={0}` is neither `true` nor `false`; attributes are separated by commas")]
    IgnoreError(String),
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// A quote where CSV allows none, or one that never closes.
    #[error(
        "has a stray `\"`: quotes go around a whole field, as in `\"key=a,b\"`, and a quote inside \
         is written twice"
    )]
    Quote,
    /// It has no `=`.
    #[error("is not `key=value`: a field that holds a comma needs quotes, as in `\"key=a,b\"`")]
    NoValue,
    /// Nothing before its `=`.
    #[error("has no key before its `=`")]
    NoKey,
    /// A key that no attribute can have.
    #[error(
        "has the key `{0}`, which is not the name of an attribute: that has letters, digits, `-`, \
         `_` and `.`; attributes are separated by commas"
    )]
    Key(String),
    /// An attribute that was given before.
    #[error("gives `{0}` a second time: an attribute is given once")]
    Twice(String),
}

/// Where a field without a value is, which may be the rest of the one before.
fn after(previous: &Option<String>, fault: &FieldFault) -> String {
    match (previous, fault) {
        (Some(key), FieldFault::NoValue) => format!(", after `{key}`,"),
        _ => String::new(),
    }
}

impl SpecError {
    /// Whether a name may be at fault, which holds a comma or a quote. Names come
    /// from outside, such as from a branch.
    pub fn is_of_name(&self) -> bool {
        matches!(
            self,
            Self::Field {
                is_of_name: true,
                ..
            }
        )
    }
}

impl CacheSpec {
    /// Whether attributes that cannot be read ask for errors to be ignored, as
    /// far as can be told.
    pub fn asks_to_ignore_errors(text: &str) -> bool {
        text.split(',')
            .filter_map(|field| field.trim().trim_matches('"').split_once('='))
            .any(|(key, value)| {
                key.eq_ignore_ascii_case("ignore-error") && parse_bool(value) == Ok(true)
            })
    }
}

impl FromStr for CacheSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (fields, stray) = fields(text)?;
        if let ([only], None) = (&fields[..], &stray)
            && !only.contains('=')
        {
            return Err(SpecError::Shorthand);
        }
        let mut attributes: Vec<(String, String)> = Vec::new();
        for field in &fields {
            let attribute = attribute(field, &attributes);
            let attribute = attribute.map_err(|fault| wrong_field(field, &attributes, fault))?;
            attributes.push(attribute);
        }
        if let Some(field) = stray {
            return Err(wrong_field(field, &attributes, FieldFault::Quote));
        }

        let mut take = |name: &str| {
            let at = attributes.iter().position(|(key, _)| key == name)?;
            Some(attributes.remove(at).1)
        };
        let r#type = take("type")
            .filter(|name| !name.is_empty())
            .ok_or(SpecError::NoType)?;
        if shown::beginning(&r#type, shown::is_word) != r#type {
            return Err(SpecError::Type(shown_type(&r#type)));
        }
        let mode = take("mode").map(|mode| parse_mode(&mode)).transpose()?;
        let ignore_error = take("ignore-error")
            .map(|flag| parse_bool(&flag))
            .transpose()?;
        Ok(Self {
            r#type,
            mode,
            ignore_error: ignore_error.unwrap_or(false),
            attributes,
        })
    }
}

/// The key and the value of a field that follows these.
fn attribute(field: &str, before: &[(String, String)]) -> Result<(String, String), FieldFault> {
    let (key, value) = field.split_once('=').ok_or(FieldFault::NoValue)?;
    if key.is_empty() {
        return Err(FieldFault::NoKey);
    }
    let beginning = shown::beginning(key, shown::is_word);
    if beginning != key {
        return Err(FieldFault::Key(beginning));
    }
    let key = key.to_lowercase();
    // buildx takes the last one. But an attribute that came with a name would
    // then change what the user wrote.
    if before.iter().any(|(earlier, _)| *earlier == key) {
        return Err(FieldFault::Twice(key));
    }
    Ok((key, value.to_owned()))
}

fn wrong_field(field: &str, before: &[(String, String)], fault: FieldFault) -> SpecError {
    let key = field.trim_start_matches('"').split('=').next();
    let previous = before.last().map(|(key, _)| key.clone());
    let is_name = |key: &str| key.eq_ignore_ascii_case(NAME);
    let is_of_name = key.is_some_and(is_name) || previous.as_deref().is_some_and(is_name);
    SpecError::Field {
        field: before.len() + 1,
        is_of_name,
        previous,
        fault,
    }
}

impl fmt::Debug for CacheSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type={}", self.r#type)?;
        if let Some(mode) = self.mode {
            write!(f, ",mode={}", if mode == Mode::Min { "min" } else { "max" })?;
        }
        if self.ignore_error {
            f.write_str(",ignore-error=true")?;
        }
        self.attributes
            .iter()
            .try_for_each(|(key, _)| write!(f, ",{key}=[redacted]"))
    }
}

/// As much of a wrong type as may be shown: all of it if it is a path, as the
/// files of plugins have, else its beginning.
fn shown_type(r#type: &str) -> String {
    let path = shown::beginning(r#type, |c| shown::is_word(c) || c == '/');
    match path == r#type {
        true => path,
        false => shown::beginning(r#type, shown::is_word),
    }
}

fn parse_mode(mode: &str) -> Result<Mode, SpecError> {
    match mode {
        "min" => Ok(Mode::Min),
        "max" => Ok(Mode::Max),
        _ => Err(SpecError::Mode(shown::beginning(mode, shown::is_word))),
    }
}

/// What Go's `strconv.ParseBool` takes, for BuildKit reads the flag with it.
fn parse_bool(flag: &str) -> Result<bool, SpecError> {
    match flag {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(SpecError::IgnoreError(shown::beginning(
            flag,
            shown::is_word,
        ))),
    }
}

/// The fields of one CSV line, as strict as Go's `encoding/csv`, up to the first
/// that has a stray quote; and that one. (The `csv` crate takes a stray quote for
/// a character, and a wrong URL would come of it.)
fn fields(line: &str) -> Result<(Vec<String>, Option<&str>), SpecError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    if rest.is_empty() {
        return Err(SpecError::Empty);
    }
    let mut fields = Vec::new();
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => match quoted_field(quoted) {
                Some(field) => field,
                None => return Ok((fields, Some(rest))),
            },
            None => {
                let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if field.contains('"') {
                    return Ok((fields, Some(rest)));
                }
                (field.to_owned(), after)
            }
        };
        match after.strip_prefix(',') {
            Some(next) => {
                fields.push(field);
                rest = next;
            }
            None if after.is_empty() => {
                fields.push(field);
                return Ok((fields, None));
            }
            None => return Ok((fields, Some(rest))),
        }
    }
}

/// A field from behind its opening quote, and what follows its closing one.
fn quoted_field(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> CacheSpec {
        text.parse()
            .unwrap_or_else(|error| panic!("`{text}`: {error}"))
    }

    fn error(text: &str) -> String {
        text.parse::<CacheSpec>().expect_err(text).to_string()
    }

    #[test]
    fn attributes_are_split_at_commas_and_the_first_equals_sign() {
        let spec = spec("type=azblob,name=a;b,account_url=https://acct.example/?x=1,mode=max");
        assert_eq!(spec.r#type, "azblob");
        assert_eq!(spec.mode, Some(Mode::Max));
        assert!(!spec.ignore_error);
        let expected = [
            ("name", "a;b"),
            ("account_url", "https://acct.example/?x=1"),
        ];
        assert_eq!(
            spec.attributes,
            expected.map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn quotes_keep_commas_and_double_quotes_stand_for_one() {
        let spec = spec("type=x,\"note=a,\"\"b\"\",c\",empty=\r\n");
        let expected = [("note", "a,\"b\",c"), ("empty", "")];
        assert_eq!(
            spec.attributes,
            expected.map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn keys_are_lower_cased_and_values_are_left() {
        let spec = spec("TYPE=x,Name= One ,Mode=min");
        assert_eq!(spec.attributes, [("name".to_owned(), " One ".to_owned())]);
        assert_eq!(spec.mode, Some(Mode::Min));
    }

    #[test]
    fn an_attribute_that_is_given_twice_is_refused() {
        for (text, key) in [
            ("type=x,name=a,NAME=b", "name"),
            ("type=x,name=a,type=y", "type"),
            ("type=x,mode=min,mode=min", "mode"),
            (
                "type=x,ignore-error=true,name=a,ignore-error=false",
                "ignore-error",
            ),
        ] {
            let message = error(text);
            assert!(
                message.contains(&format!("gives `{key}` a second time")),
                "{message}"
            );
        }
    }

    #[test]
    fn what_a_name_brings_along_is_told_from_a_mistake() {
        for name in [
            "fix,typo",
            "fix\"x",
            "\"fix",
            "fix,",
            "fix,=y",
            "fix,name=main",
            "fix,a b=c",
        ] {
            let text = format!("type=x,container=c,name={name}");
            let error = text.parse::<CacheSpec>().expect_err(&text);
            assert!(error.is_of_name(), "{text}: {error}");
        }
        for text in [
            "type=x,container=a,b",
            "type=x,name=a,mode=most",
            "name=a",
            "type=x;name=a",
        ] {
            let error = text.parse::<CacheSpec>().expect_err(text);
            assert!(!error.is_of_name(), "{text}: {error}");
        }
        for (text, ignored) in [
            ("type=x,ignore-error=true,name=fix,typo", true),
            ("type=x,name=fix\"x,ignore-error=1", true),
            ("type=x,name=fix,typo", false),
            ("type=x,ignore-error=false,name=fix,typo", false),
        ] {
            assert_eq!(CacheSpec::asks_to_ignore_errors(text), ignored, "{text}");
        }
    }

    #[test]
    fn ignore_error_takes_what_go_takes_for_a_truth_value() {
        for yes in ["1", "t", "T", "true", "TRUE", "True"] {
            assert!(spec(&format!("type=x,ignore-error={yes}")).ignore_error);
        }
        for no in ["0", "f", "F", "false", "FALSE", "False"] {
            assert!(!spec(&format!("type=x,ignore-error={no}")).ignore_error);
        }
        assert!(error("type=x,ignore-error=yes").contains("`ignore-error=yes`"));
        assert!(error("type=x,ignore-error=").contains("neither `true` nor `false`"));
    }

    #[test]
    fn wrong_input_is_told_apart() {
        let cases = [
            ("", "no attributes given"),
            ("user/app:latest", "image in a registry"),
            ("name=app", "`type` is missing"),
            ("type=,name=app", "`type` is missing"),
            ("type=x,mode=medium", "`mode=medium` is unknown"),
            ("type=x,=v", "field 2 has no key"),
            ("type=x,name=\"a\"", "field 2 has a stray `\"`"),
            ("type=x,\"name=a", "field 2 has a stray `\"`"),
            ("type=x,\"name=a\"b", "field 2 has a stray `\"`"),
            (
                "type=x,name=a,",
                "field 3, after `name`, is not `key=value`",
            ),
            ("type=x, name=a", "field 2 has the key `…`"),
        ];
        for (text, expected) in cases {
            let message = error(text);
            assert!(message.contains(expected), "`{text}` gave: {message}");
        }
    }

    #[test]
    fn no_value_is_ever_shown() {
        let shown = format!(
            "{:?}",
            spec("type=azblob,secret_access_key=hush==,mode=min")
        );
        assert_eq!(shown, "type=azblob,mode=min,secret_access_key=[redacted]");
        for text in [
            "type=x,key=hu,hush",
            "key=hush",
            "type=x,\"key=hush",
            "type=x,k=\"hush",
            "hush",
        ] {
            let message = error(text);
            assert!(!message.contains("hush"), "`{text}` gave: {message}");
        }
    }

    #[test]
    fn no_wrong_value_is_shown_beyond_its_harmless_beginning() {
        const KEY: &str = "U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU";
        let separators = [
            ";", "\n", "\r\n", " ", "\t", "&", "|", ":", "/", "=", "\u{a0}", "ß",
        ];
        for separator in separators {
            for begin in [
                "type=azblob",
                "type=x,mode=max",
                "type=x,ignore-error=true",
                "type=x,k",
            ] {
                for name in ["secret_access_key=", "secret_access_key: ", ""] {
                    let text = format!("{begin}{separator}{name}{KEY}==");
                    let message = match text.parse::<CacheSpec>() {
                        Err(error) => format!("{error} {error:?}"),
                        Ok(spec) => format!("{spec:?}"),
                    };
                    assert!(!message.contains(&KEY[..8]), "`{text}` gave: {message}");
                    assert!(!message.contains(&KEY[..8].to_lowercase()), "{message}");
                }
            }
        }
        for text in [
            format!("type={KEY}"),
            format!("type=x,{KEY}=="),
            format!("type=x,mode={KEY}"),
            format!("type=x,ignore-error={KEY}"),
            format!("type=x,secret_access_key:{KEY}==,container"),
        ] {
            let message = error(&text).to_lowercase();
            assert!(
                !message.contains(&KEY[..8].to_lowercase()),
                "`{text}` gave: {message}"
            );
        }
        let message = error("type=azblob;secret_access_key=x");
        assert!(message.contains("`type=azblob…`"), "{message}");
        let message = error(&format!("type=x,mode={}", "a-".repeat(1000)));
        assert!(message.len() < 200, "{message}");
    }
}
