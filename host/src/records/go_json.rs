//! JSON as Go's `encoding/json` reads and writes it, so that what this crate
//! writes has the digest that BuildKit's own would have.
//!
//! Go escapes `<`, `>`, `&` and two line separators in strings; the rest is the
//! compact JSON that serde_json writes.

use std::io;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::Formatter;

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

/// Reads `null` as an empty list, as Go does; it writes `null` for some, too.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

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
}
