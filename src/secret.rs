//! A value that must never be seen: it prints as `[redacted]` and is wiped
//! from memory when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text, such as an account key.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; no other copy should be kept.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A value without the white space and quotation marks around it, which a
/// shell, a `.env` file or a form left there. Only for values that cannot begin
/// or end with such a character themselves.
pub(crate) fn unquoted(text: &str) -> &str {
    let is_around = |c: char| {
        let is_quote = matches!(c, '"' | '\'' | '`' | '\u{201c}' | '\u{201d}');
        is_quote || c.is_whitespace() || c == '\u{feff}'
    };
    text.trim_matches(is_around)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_or_a_form_left_around_a_value_is_taken_off() {
        for text in [
            "a=",
            "\"a=\"",
            "'a='",
            " a=\r\n",
            "\u{feff}\u{201c}a=\u{201d}",
            "\"'a='\"",
        ] {
            assert_eq!(unquoted(text), "a=", "{text:?}");
        }
        assert_eq!(unquoted("\" '"), "");
    }

    #[test]
    fn a_secret_shows_in_no_output() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(secret.expose(), "hunter2");
    }
}
