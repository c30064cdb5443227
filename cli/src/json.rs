//! One line of JSON that does no harm in a terminal or in a CI system's log,
//! though its strings may be names that others chose: they stay what they are
//! for a reader of the JSON, and are escaped where they would have an effect.

/// The JSON with every string changed by `change`, and written so that no
/// terminal and no CI system finds anything in it.
pub fn harmless(json: &str, change: impl Fn(&str) -> String) -> serde_json::Result<String> {
    let mut harmless = String::with_capacity(json.len());
    let mut rest = json;
    // Outside of strings, JSON has no quotes.
    while let Some(start) = rest.find('"') {
        let mut strings = serde_json::Deserializer::from_str(&rest[start..]).into_iter::<String>();
        let Some(string) = strings.next() else { break };
        let end = start + strings.byte_offset();
        harmless.push_str(&rest[..start]);
        harmless.push_str(&escaped(&serde_json::to_string(&change(&string?))?));
        rest = &rest[end..];
    }
    harmless.push_str(rest);
    Ok(harmless)
}

/// A string of JSON, in ASCII but for letters and signs that every terminal
/// shows as they are.
fn escaped(string: &str) -> String {
    let mut escaped = String::with_capacity(string.len());
    for c in string.chars() {
        let is_second = c == '#' && escaped.ends_with('#');
        // Marks that show nothing are neither letters nor digits.
        let is_shown = c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
        if is_shown && !is_second {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn strings_stay_what_they_are_and_show_nothing() {
        let object = json!({
            "names": ["fix##1", "a\u{200b}b\u{202e}", "##vso[x]", "\u{7f}\u{9b}2J", "ü漢🧱", "\"q\\\""],
            "number": 1.5, "none": null, "##": "",
        });
        let harmless = harmless(&object.to_string(), str::to_owned).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Value>(&harmless).expect("JSON"),
            object
        );
        assert!(
            !harmless.contains("##") && harmless.contains("ü漢"),
            "{harmless}"
        );
        let odd = |c: char| c.is_control() || ('\u{2000}'..'\u{2070}').contains(&c);
        assert!(!harmless.contains(odd), "{harmless:?}");
    }

    #[test]
    fn what_is_redacted_in_a_string_leaves_json() {
        let object = json!({"a": "1 \"secret\" 2", "n": 123456});
        let redact = |text: &str| {
            text.replace("\"secret\"", "[redacted]")
                .replace("123456", "x")
        };
        let harmless = harmless(&object.to_string(), redact).expect("JSON");
        assert_eq!(harmless, r#"{"a":"1 [redacted] 2","n":123456}"#);
    }
}
