//! The reader and the writer, held against serde_json.

use super::*;

/// The text of the one value in `json`, as this reader takes it.
fn skipped(json: &str) -> Result<String, String> {
    let mut reader = Reader::new(json);
    let value = reader.skip()?.to_owned();
    reader.end().map(|()| value)
}

#[test]
fn what_serde_json_takes_is_taken_and_nothing_else() {
    let values = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "10",
        "-1.5",
        "1e3",
        "1E+3",
        "0.1e-2",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "0x1",
        "nul",
        "True",
        "\"\"",
        "\"a\"",
        "\"a",
        "\"\\\"\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u0041\"",
        "\"\\u00e9\"",
        "\"\t\"",
        "\"é\"",
        "\"\\é\"",
        "\"\\ué\"",
        "[]",
        "[ ]",
        "[1]",
        "[1,]",
        "[,]",
        "[1 2]",
        "[1,[2,[]]]",
        "]",
        "[",
        "{}",
        "{ }",
        "{\"a\":1}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{1:2}",
        "{\"a\":{\"b\":[null]}}",
        "}",
        "{",
        "",
        " ",
        "1 2",
        "\u{feff}1",
        "[1]x",
        "\u{a0}1",
    ];
    for value in values {
        for json in [value.to_owned(), format!(" \t[\r\n {value} ] ")] {
            let theirs = serde_json::from_str::<serde_json::Value>(&json);
            let ours = skipped(&json);
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{json}: {ours:?} {theirs:?}");
        }
    }
}

#[test]
fn strings_mean_what_they_mean_to_serde_json() {
    for json in [
        r#""""#,
        r#""a\"\\\/\b\f\n\r\t""#,
        r#""\u0041\u00e9\ud83d\ude00é😀""#,
    ] {
        let theirs: String = serde_json::from_str(json).unwrap();
        assert_eq!(Reader::new(json).string().unwrap(), theirs);
    }
}

#[test]
fn what_is_written_reads_back() {
    let text: String = ('\0'..'\u{300}')
        .chain("\u{2028}\u{2029}😀".chars())
        .collect();
    let mut json = String::new();
    write_string(&mut json, &text);
    assert_eq!(Reader::new(&json).string().unwrap(), text);
    assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    assert!(!json.contains(['<', '>', '&', '\u{2028}', '\n']), "{json}");
}

#[test]
fn whole_numbers_are_read_and_others_refused() {
    for (json, number) in [("0", 0), ("-1", -1), (" 9223372036854775807", i64::MAX)] {
        assert_eq!(Reader::new(json).integer(), Ok(number));
    }
    for json in [
        "1.0",
        "1e2",
        "9223372036854775808",
        "\"1\"",
        "null",
        "[]",
        "",
    ] {
        assert!(Reader::new(json).integer().is_err(), "{json}");
    }
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(skipped(&nested(99)).is_ok());
    assert!(skipped(&nested(101)).is_err());
    assert!(skipped(&"[".repeat(1_000_000)).is_err());
}
