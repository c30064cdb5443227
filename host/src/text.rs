//! Text that a plugin wrote, made fit to be shown: a plugin is somebody
//! else's code, so what it says may hold a terminal's control sequences, or a
//! secret that the host lent it.

use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use crate::secrets;

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// The most characters of one text that are shown.
const LONGEST: usize = 4096;

/// Takes secrets and control characters out of a plugin's texts. Learns of new
/// secrets while the plugin runs.
#[derive(Default)]
pub(crate) struct Scrubber {
    secrets: RwLock<Vec<Vec<u8>>>,
}

impl Scrubber {
    /// A scrubber that knows these secrets, and the parts of each that are
    /// secret by themselves.
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let scrubber = Self::default();
        for secret in secrets {
            scrubber.learn(&secret);
        }
        scrubber
    }

    /// Redacts this from now on, and its parts.
    pub(crate) fn learn(&self, secret: &str) {
        let mut known = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets::forms(secret) {
            if !known.contains(&secret) {
                known.push(secret);
            }
        }
    }

    /// Redacts what a file holds, where it can be a secret at all: a bundle of
    /// certificates is longer than what anybody would repeat.
    pub(crate) fn learn_file(&self, contents: &[u8]) {
        const LONGEST_SECRET: usize = 8192;
        if let Ok(text) = str::from_utf8(contents)
            && text.len() <= LONGEST_SECRET
        {
            self.learn(text.trim());
        }
    }

    /// The text without secrets, with control characters replaced (but for
    /// line ends) and of bounded length.
    pub(crate) fn clean(&self, text: &str) -> String {
        let text = self.redact(text);
        let mut clean: String = text
            .chars()
            .take(LONGEST)
            .map(|c| match c {
                '\n' => '\n',
                '\t' => ' ',
                c if c.is_control() || is_bidirectional_control(c) => '\u{fffd}',
                c => c,
            })
            .collect();
        if text.chars().nth(LONGEST).is_some() {
            clean.push('…');
        }
        clean
    }

    fn redact(&self, text: &str) -> String {
        let known = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = secrets::tokens(text);
        for secret in known.iter() {
            found.extend(secrets::occurrences(text, secret));
        }
        drop(known);
        replace(text, found)
    }
}

/// The text with what these ranges cover replaced, each stretch once.
fn replace(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| range.start);
    let mut replaced = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        if range.start >= at {
            replaced.push_str(&text[at..range.start]);
            replaced.push_str(REDACTED);
        }
        at = at.max(range.end);
    }
    replaced.push_str(&text[at..]);
    replaced
}

/// Characters that make a terminal show text in another order than it has.
fn is_bidirectional_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_redacted_wherever_it_stands() {
        let scrub = Scrubber::new(["hunter22".into(), "hunter22-longer".into()]);
        assert_eq!(
            scrub.clean("key hunter22-longer, then hunter22."),
            "key [redacted], then [redacted]."
        );
    }

    #[test]
    fn a_secret_is_redacted_however_it_is_escaped() {
        let scrub = Scrubber::new(["ab+c/d==ef".into()]);
        for text in [
            "ab+c/d==ef",
            "ab%2Bc%2Fd%3D%3Def",
            "ab%2bc/d%3d%3Def",
            "%61b+c/d==ef",
        ] {
            assert_eq!(scrub.clean(&format!("<{text}>")), "<[redacted]>", "{text}");
        }
        let escaped = Scrubber::new(["ab%2Bc%2Fd%3D%3Def".into()]);
        assert_eq!(escaped.clean("<ab+c/d==ef>"), "<[redacted]>");
        assert_eq!(escaped.clean("<ab%2Bc%2Fd%3D%3Def>"), "<[redacted]>");
    }

    #[test]
    fn a_part_of_a_secret_is_redacted_by_itself() {
        let scrub = Scrubber::new([
            "?sv=2026-02-06&se=2026-11-23T16%3A00Z&sig=Zm9vYmFyYmF6cXV4Xy%3D".into(),
        ]);
        assert_eq!(
            scrub.clean("GET /c?comp=list&sig=Zm9vYmFyYmF6cXV4Xy%3D&sv=2026-02-06"),
            "GET /c?comp=list&sig=[redacted]&sv=2026-02-06"
        );
    }

    #[test]
    fn what_a_file_holds_is_redacted_once_it_was_read() {
        let scrub = Scrubber::default();
        assert_eq!(scrub.clean("swordfish"), "swordfish");
        scrub.learn_file(b"swordfish\n");
        assert_eq!(scrub.clean("swordfish"), "[redacted]");
    }

    #[test]
    fn a_token_that_nobody_lent_is_redacted_as_well() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl-_";
        let scrub = Scrubber::default();
        assert_eq!(
            scrub.clean(&format!("Bearer {token}, it said")),
            "Bearer [redacted], it said"
        );
        assert_eq!(scrub.clean("eyJ is no token"), "eyJ is no token");
    }

    #[test]
    fn text_that_is_no_ascii_stays_whole() {
        let scrub = Scrubber::new(["geheim-ß-1".into()]);
        assert_eq!(scrub.clean("ä%ß geheim-ß-1 €%zz%"), "ä%ß [redacted] €%zz%");
    }

    #[test]
    fn a_terminal_escape_is_disarmed_and_line_ends_stay() {
        let scrub = Scrubber::default();
        assert_eq!(scrub.clean("a\u{1b}[2Jb\nc\td"), "a\u{fffd}[2Jb\nc d");
        assert_eq!(scrub.clean("x\u{202e}y"), "x\u{fffd}y");
    }

    #[test]
    fn a_flood_of_text_is_cut() {
        let clean = Scrubber::default().clean(&"x".repeat(10 * LONGEST));
        assert_eq!(clean.chars().count(), LONGEST + 1);
    }
}
