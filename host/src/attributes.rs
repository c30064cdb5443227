//! What a user writes after `--to` and `--from`: buildx's cache attributes.
//!
//! Reads `type=azblob,name=app,"sas=a,b"` as buildx does
//! ([`util/buildflags/cache.go`](https://github.com/docker/buildx/blob/master/util/buildflags/cache.go))
//! and takes out what is the host's. What the rest means, only the backend
//! knows; any of it may be a secret, so no value stands in an error or `Debug`.

use std::fmt;
use std::str::FromStr;

/// A cache as a user names it: which backend, and what the backend is told.
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

/// Why attributes could not be read. Fields are counted from 1; a field's text
/// is not shown, since it may be a secret or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// There was nothing to read.
    #[error("no attributes given: write `type=NAME,key=value,...`")]
    Empty,
    /// buildx's short form for a registry.
    #[error(
        "the attributes have no `=`: buildx takes that for an image in a registry, \
         but here only types with a plugin work; write `type=NAME,key=value,...`"
    )]
    Shorthand,
    /// A quote where CSV allows none, or one that never closes.
    #[error(
        "field {field} has a stray `\"`: quotes go around a whole field, as in \
         `\"key=a,b\"`, and a quote inside is written twice"
    )]
    Quote {
        /// The field, from 1.
        field: usize,
    },
    /// A field that is no `key=value`.
    #[error("field {field}{} is no `key=value`: a field that holds a comma needs quotes, as in `\"key=a,b\"`", after(.previous))]
    NoValue {
        /// The field, from 1.
        field: usize,
        /// The key of the field before it, whose value may have had the comma.
        previous: Option<String>,
    },
    /// A field that starts with `=`.
    #[error("field {field} has no key before its `=`")]
    NoKey {
        /// The field, from 1.
        field: usize,
    },
    /// No `type`, or an empty one.
    #[error("`type` is missing: write `type=NAME,key=value,...`")]
    NoType,
    /// A `mode` that there is not.
    #[error("`mode={0}` is unknown: it is `min` or `max`")]
    Mode(String),
    /// An `ignore-error` that is no truth value.
    #[error("`ignore-error={0}` is neither `true` nor `false`")]
    IgnoreError(String),
}

fn after(previous: &Option<String>) -> String {
    previous
        .as_ref()
        .map(|key| format!(", after `{key}`,"))
        .unwrap_or_default()
}

impl FromStr for CacheSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fields = fields(text)?;
        if let [only] = &fields[..]
            && !only.contains('=')
        {
            return Err(SpecError::Shorthand);
        }
        let mut attributes: Vec<(String, String)> = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let field_number = index + 1;
            let (key, value) = field.split_once('=').ok_or_else(|| SpecError::NoValue {
                field: field_number,
                previous: attributes.last().map(|(key, _)| key.clone()),
            })?;
            if key.is_empty() {
                return Err(SpecError::NoKey {
                    field: field_number,
                });
            }
            let key = key.to_lowercase();
            // The last one wins, as in buildx's map.
            attributes.retain(|(earlier, _)| *earlier != key);
            attributes.push((key, value.to_owned()));
        }

        let mut take = |name: &str| {
            let at = attributes.iter().position(|(key, _)| key == name)?;
            Some(attributes.remove(at).1)
        };
        let r#type = take("type")
            .filter(|name| !name.is_empty())
            .ok_or(SpecError::NoType)?;
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

fn parse_mode(mode: &str) -> Result<Mode, SpecError> {
    match mode {
        "min" => Ok(Mode::Min),
        "max" => Ok(Mode::Max),
        _ => Err(SpecError::Mode(shown(mode))),
    }
}

/// What Go's `strconv.ParseBool` takes, for BuildKit reads the flag with it.
fn parse_bool(flag: &str) -> Result<bool, SpecError> {
    match flag {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(SpecError::IgnoreError(shown(flag))),
    }
}

/// As much of a wrong value as fits a message.
fn shown(value: &str) -> String {
    value.chars().take(32).collect()
}

/// The fields of one CSV line, as strict as Go's `encoding/csv`. (The `csv`
/// crate takes a stray quote for a character, and a wrong URL would come of it.)
fn fields(line: &str) -> Result<Vec<String>, SpecError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    if rest.is_empty() {
        return Err(SpecError::Empty);
    }
    let mut fields = Vec::new();
    loop {
        let stray = SpecError::Quote {
            field: fields.len() + 1,
        };
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted).ok_or_else(|| stray.clone())?,
            None => {
                let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if field.contains('"') {
                    return Err(stray);
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(stray),
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
    fn keys_are_lower_cased_values_are_left_and_the_last_of_a_key_wins() {
        let spec = spec("TYPE=x,Name= One ,NAME=Two,Mode=min");
        assert_eq!(spec.attributes, [("name".to_owned(), "Two".to_owned())]);
        assert_eq!(spec.mode, Some(Mode::Min));
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
            ("type=x,name=a,", "field 3, after `name`, is no `key=value`"),
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
}
