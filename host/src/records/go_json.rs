//! JSON as Go's `encoding/json` reads and writes it, so that what this crate
//! writes has the digest that BuildKit's own would have.
//!
//! Go escapes `<`, `>`, `&` and two line separators in strings; the rest is the
//! compact JSON that serde_json writes.
//!
//! Reading, Go takes `null` for a value that is not given, wherever it is, does
//! not mind the case of a member's name, and of two members with one name keeps
//! the later. [`Go`] reads so; [`go_struct`] makes a struct one that it can read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

/// `value` in Go's compact JSON.
pub(crate) fn to_string<T: Serialize>(value: &T) -> serde_json::Result<String> {
    let mut json = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut json,
        GoFormatter,
    ))?;
    String::from_utf8(json).map_err(serde_json::Error::custom)
}

/// Reads a JSON object. (Serde alone would also take an array for a struct, and
/// Go would not.)
pub(crate) fn object<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(serde_json::Error::custom("expected a JSON object"));
    }
    serde_json::from_slice(json)
}

/// A value that is read as Go reads it.
pub(crate) struct Go<T>(pub(crate) T);

/// What [`Go`] can read.
pub(crate) trait FromGo: Sized {
    /// Reads a value, or the type's zero for `null`.
    fn from_go<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl<'de, T: FromGo> Deserialize<'de> for Go<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::from_go(deserializer).map(Go)
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl FromGo for $type {
            fn from_go<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Option::deserialize(deserializer)?.unwrap_or_default())
            }
        }
    )*};
}
plain!(i64, u64, String);

impl<T: FromGo> FromGo for Vec<T> {
    fn from_go<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Option::<Vec<Go<T>>>::deserialize(deserializer)?;
        let list = list.unwrap_or_default().into_iter();
        Ok(list.map(|Go(element)| element).collect())
    }
}

impl<T: FromGo> FromGo for Option<T> {
    fn from_go<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(|Go(value)| value))
    }
}

impl FromGo for BTreeMap<String, String> {
    fn from_go<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Option::<BTreeMap<String, Go<String>>>::deserialize(deserializer)?;
        let map = map.unwrap_or_default().into_iter();
        Ok(map.map(|(key, Go(value))| (key, value)).collect())
    }
}

/// Kept as the text that it is.
impl FromGo for Box<RawValue> {
    fn from_go<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer)
    }
}

/// The name of a member.
pub(crate) struct Key<'de>(Cow<'de, str>);

impl Key<'_> {
    /// Whether it names this field. (Go folds some letters beyond ASCII, too.)
    pub(crate) fn is(&self, field: &str) -> bool {
        self.0.eq_ignore_ascii_case(field)
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Makes a struct one that [`Go`] can read, by its fields and their names in
/// JSON. What is not given keeps its value in the struct's default.
macro_rules! go_struct {
    ($type:ty { $($field:ident: $name:literal),* $(,)? }) => {
        impl $crate::records::go_json::FromGo for $type {
            fn from_go<'de, D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                use $crate::records::go_json::{Go, Key};

                struct Members;
                impl<'de> serde::de::Visitor<'de> for Members {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a JSON object")
                    }

                    fn visit_unit<E>(self) -> Result<$type, E> {
                        Ok(Default::default())
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut members: A,
                    ) -> Result<$type, A::Error> {
                        let mut value = <$type>::default();
                        while let Some(key) = members.next_key::<Key<'_>>()? {
                            $(
                                if key.is($name) {
                                    if let Some(Go(given)) = members.next_value()? {
                                        value.$field = given;
                                    }
                                    continue;
                                }
                            )*
                            members.next_value::<serde::de::IgnoredAny>()?;
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_any(Members)
            }
        }
    };
}
pub(crate) use go_struct;

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some(escaped) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, from) = rest.split_at(escaped);
            writer.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            if let Some(char) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(char))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let text = "a<b>&\u{2028}\u{2029}\"\\\n\u{1}é/";
        let expected = r#""a\u003cb\u003e\u0026\u2028\u2029\"\\\n\u0001é/""#;
        assert_eq!(to_string(&text).expect("JSON"), expected);
    }

    #[derive(Debug, Default, PartialEq)]
    struct Thing {
        name: String,
        sizes: Vec<i64>,
        labels: BTreeMap<String, String>,
        parts: Vec<Thing>,
    }
    go_struct!(Thing {
        name: "name",
        sizes: "Sizes",
        labels: "labels",
        parts: "parts"
    });

    fn thing(json: &str) -> serde_json::Result<Thing> {
        let Go(thing) = object(json.as_bytes())?;
        Ok(thing)
    }

    #[test]
    fn null_stands_for_what_is_not_given_wherever_it_is() {
        let nothing = r#"{"name":null,"sizes":null,"labels":null,"parts":null,"other":null}"#;
        assert_eq!(thing(nothing).expect("JSON"), Thing::default());
        let inside = thing(r#"{"sizes":[1,null],"labels":{"a":null},"parts":[null,{}]}"#);
        let inside = inside.expect("JSON");
        assert_eq!(inside.sizes, [1, 0]);
        assert_eq!(inside.labels["a"], "");
        assert_eq!(inside.parts, [Thing::default(), Thing::default()]);
    }

    #[test]
    fn the_case_of_a_name_does_not_matter_and_the_later_member_counts() {
        let name = |json| thing(json).expect("JSON").name;
        assert_eq!(name(r#"{"NAME":"a"}"#), "a");
        assert_eq!(name(r#"{"name":"a","Name":"b"}"#), "b");
        assert_eq!(name(r#"{"name":"a","name":"b","name":null}"#), "b");
        assert_eq!(name(r#"{"n\u0061me":"a","nam":"b"}"#), "a");
        let labels = thing(r#"{"labels":{"a":"1","a":"2"}}"#)
            .expect("JSON")
            .labels;
        assert_eq!(labels["a"], "2");
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        for json in [
            r#"{"name":1}"#,
            r#"{"sizes":{}}"#,
            r#"{"sizes":[1.5]}"#,
            r#"{"labels":{"a":1}}"#,
            r#"{"parts":[[]]}"#,
            "[]",
            "null",
        ] {
            assert!(thing(json).is_err(), "{json}");
        }
    }
}
