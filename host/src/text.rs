//! Text made fit to be shown. What a plugin says is somebody else's, and so are
//! the names of caches: they may hold a terminal's control sequences, a line
//! that looks like one of ours, or a secret that the host lent.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use crate::{secrets, typed};

/// What is shown in the place of a secret.
const REDACTED: &str = "[redacted]";

/// The most characters of one text that are shown.
const LONGEST: usize = 4096;
/// The most lines of one text that are shown.
const MOST_LINES: usize = 40;
/// The most characters of a name that are shown: as many as stores allow.
const LONGEST_NAME: usize = 1024;
/// The most of a text that is looked at, in bytes.
const LONGEST_READ: usize = 128 << 10;
/// Longer than any secret, in bytes, each of them percent-encoded: what is
/// shown ends so long before what was looked at, and so no secret is cut in
/// two that way.
const MARGIN: usize = 32 << 10;

/// How many secrets of one kind that were learnt while the plugin ran are kept:
/// the last ones. Each is looked for in every text, and a plugin can make as many
/// as it likes.
const MOST_LEARNT: usize = 512;
/// A longer text is not learnt while the plugin runs, in bytes: no token has so
/// many, and a plugin that sends one knows it already.
const LONGEST_LEARNT: usize = 16 << 10;

/// Takes secrets and control characters out of texts that are shown. Learns of
/// new secrets at any time.
#[derive(Default)]
pub struct Scrubber {
    /// Of the attributes and variables. They stay.
    given: Vec<Vec<u8>>,
    learnt: RwLock<Learnt>,
}

/// Secrets that turned up while the plugin ran. Those of the host have a place
/// of their own, from which a plugin that makes up tokens cannot drive them.
#[derive(Default)]
struct Learnt {
    lent: Recent,
    sent: Recent,
}

/// The last secrets of one kind, the latest at the end.
#[derive(Default)]
struct Recent(VecDeque<Vec<u8>>);

impl Recent {
    fn add(&mut self, secret: &str) {
        if secret.len() > LONGEST_LEARNT {
            return;
        }
        for form in secrets::forms(secret) {
            match self.0.iter().position(|known| *known == form) {
                Some(at) => drop(self.0.remove(at)),
                None if self.0.len() >= MOST_LEARNT => drop(self.0.pop_front()),
                None => {}
            }
            self.0.push_back(form);
        }
    }
}

impl Scrubber {
    /// A scrubber that knows these secrets, and the parts of each that are
    /// secret by themselves.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut given = Vec::new();
        for form in secrets.into_iter().flat_map(|s| secrets::forms(&s)) {
            if !given.contains(&form) {
                given.push(form);
            }
        }
        Self {
            given,
            learnt: RwLock::default(),
        }
    }

    /// Redacts this, which the host lends to a plugin or a user typed, and its
    /// parts from now on. A secret of fewer than 6 bytes is left: to replace every
    /// `a` in a text would tell more than it hides. Of many, the last ones count.
    pub fn learn(&self, secret: &str) {
        self.learning().lent.add(secret);
    }

    /// Redacts what the plugin itself sends as a secret, and its parts, from now
    /// on.
    pub(crate) fn learn_sent(&self, secret: &str) {
        self.learning().sent.add(secret);
    }

    fn learning(&self) -> RwLockWriteGuard<'_, Learnt> {
        self.learnt.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redacts from now on what in this text belongs to a name that sounds like
    /// a secret's, such as `secret_access_key`, whatever separates the two. For
    /// text that a user typed, which may be anything.
    pub fn learn_typed(&self, text: &str) {
        for secret in typed::secrets(text) {
            self.learn(&secret);
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

    /// The text in one line: without secrets, with control characters
    /// replaced, and of bounded length.
    ///
    /// What has to begin a line to be understood by somebody cannot do so then,
    /// and what CI systems understand as a command wherever it is
    /// (`##vso[...]`, `##[...]`) is taken apart.
    pub fn clean(&self, text: &str) -> String {
        let (text, was_cut) = self.redact(text);
        bounded(disarm(&text, |_| Some(' ')), LONGEST, was_cut)
    }

    /// A text of our own, of any length and of several lines, which may quote
    /// what others wrote: without secrets, and with control characters replaced.
    pub fn clean_page(&self, text: &str) -> String {
        let text = disarm(&self.redact_all(text), Some);
        let lines = text.split('\n').map(part_line_command);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The name of a cache as it may be shown: in one line, without secrets, and
    /// with every character that would not show written as `\u{200b}`, so that
    /// names that differ look different. A name is compared, stored and sent as
    /// it is, never in this form.
    pub fn name(&self, name: &str) -> String {
        let (name, was_cut) = self.redact(name);
        bounded(disarm_name(&name), LONGEST_NAME, was_cut)
    }

    /// The text without secrets, otherwise as it is.
    pub fn redact_all(&self, text: &str) -> String {
        replace(text, self.secrets_in(text))
    }

    /// Where there are secrets in a text.
    fn secrets_in(&self, text: &str) -> Vec<Range<usize>> {
        let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        let known = self.given.iter().chain(&learnt.lent.0);
        let mut found = secrets::tokens(text);
        for secret in known.chain(&learnt.sent.0) {
            found.extend(secrets::occurrences(text, secret));
        }
        found
    }

    /// The text as [`Self::clean`] makes it, but with its lines: each after the
    /// first is indented, so that none can be taken for a line of ours, nor for
    /// a command to a CI system, which some take off white space to find.
    pub fn clean_lines(&self, text: &str) -> String {
        // Before it is divided, as a secret may have several lines.
        let (text, was_cut) = self.redact(text);
        let mut lines = text.lines().map(|line| {
            let line = Self::default().clean(line);
            // A mark of a command at the start of a line is taken apart.
            match line.trim_start().starts_with("::") {
                true => line.replacen("::", ": :", 1),
                false => line,
            }
        });
        let mut clean = lines.next().unwrap_or_default();
        let mut was_cut = was_cut || text.lines().nth(MOST_LINES).is_some();
        for line in lines.take(MOST_LINES - 1) {
            if clean.len() + line.len() > LONGEST {
                was_cut = true;
                break;
            }
            let indent = if line.starts_with("  ") { "" } else { "  " };
            clean.push('\n');
            clean.push_str(indent);
            clean.push_str(line.trim_end());
        }
        if was_cut && !clean.ends_with('…') {
            clean.push('…');
        }
        clean
    }

    /// The text, or as much of it as can be shown, without secrets; and whether
    /// that is not all.
    fn redact(&self, text: &str) -> (String, bool) {
        let read = &text[..text.floor_char_boundary(LONGEST_READ)];
        let was_cut = read.len() < text.len();
        let shown = match was_cut {
            true => read.floor_char_boundary(LONGEST_READ - MARGIN),
            false => read.len(),
        };
        let mut found = self.secrets_in(read);
        found.retain(|range| range.start < shown);
        let end = found.iter().map(|range| range.end).fold(shown, usize::max);
        (replace(&read[..end], found), was_cut)
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

/// The name of a cache as it may be shown, where no secret can be in it.
pub(crate) fn shown_name(name: &str) -> String {
    bounded(disarm_name(name), LONGEST_NAME, false)
}

fn disarm_name(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        match c.is_control() || is_layout_control(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    part_commands(&shown)
}

/// The text without control characters but for the line's end, which becomes
/// what `line_end` says, and with commands to CI systems taken apart.
fn disarm(text: &str, line_end: impl Fn(char) -> Option<char>) -> String {
    let clean = text.chars().filter_map(|c| match c {
        '\n' => line_end(c),
        '\t' => Some(' '),
        c if c.is_control() || is_layout_control(c) => Some('\u{fffd}'),
        c => Some(c),
    });
    part_commands(&clean.collect::<String>())
}

/// The text with spaces in every `##` that begins a command to a CI system, such
/// as `##vso[...]`. Other ones mean nothing to anybody, and may be in a name.
fn part_commands(text: &str) -> String {
    let mut parted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("##") {
        let behind = rest[at..].trim_start_matches('#');
        let signs = &rest[at..rest.len() - behind.len()];
        let is_command = behind
            .trim_start_matches(|c: char| c.is_ascii_alphabetic())
            .starts_with('[');
        parted.push_str(&rest[..at]);
        match is_command {
            true => parted.push_str(vec!["#"; signs.len()].join(" ").as_str()),
            false => parted.push_str(signs),
        }
        rest = behind;
    }
    parted + rest
}

/// The line with a space in a `::` at its beginning, which GitHub's runners
/// understand as a command, behind spaces as well.
fn part_line_command(line: &str) -> String {
    let trimmed = line.trim_start();
    let indent = &line[..line.len() - trimmed.len()];
    match trimmed.strip_prefix("::") {
        Some(rest) => format!("{indent}: :{rest}"),
        None => line.to_owned(),
    }
}

/// At most so many characters, and `…` where that is not all.
fn bounded(mut text: String, longest: usize, was_cut: bool) -> String {
    let cut = text.char_indices().nth(longest).map(|(at, _)| at);
    if let Some(at) = cut {
        text.truncate(at);
    }
    if was_cut || cut.is_some() {
        text.push('…');
    }
    text
}

/// Characters that make a terminal show text in another order than it has, or
/// on another line, or not at all.
fn is_layout_control(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
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
    fn what_a_plugin_makes_the_host_remember_is_bounded() {
        let scrub = Scrubber::new(["given-secret".into()]);
        scrub.learn("lent-secret");
        for number in 0..10 * MOST_LEARNT {
            scrub.learn_sent(&format!("made-up-{number:06}"));
        }
        scrub.learn_sent(&"x".repeat(LONGEST_LEARNT + 1));
        let learnt = scrub.learnt.read().expect("not poisoned");
        assert_eq!(learnt.sent.0.len(), MOST_LEARNT);
        drop(learnt);
        let last = format!("made-up-{:06}", 10 * MOST_LEARNT - 1);
        assert_eq!(
            scrub.clean(&format!("given-secret lent-secret {last}")),
            "[redacted] [redacted] [redacted]"
        );
    }

    #[test]
    fn a_secret_that_is_used_again_is_kept_before_others() {
        let scrub = Scrubber::default();
        for number in 0..2 * MOST_LEARNT {
            scrub.learn_sent("used-all-the-time");
            scrub.learn_sent(&format!("made-up-{number:06}"));
        }
        assert_eq!(scrub.clean("used-all-the-time"), "[redacted]");
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
    fn a_terminal_escape_is_disarmed_and_no_line_begins_anew() {
        let scrub = Scrubber::default();
        assert_eq!(scrub.clean("a\u{1b}[2Jb\nc\td"), "a\u{fffd}[2Jb c d");
        for control in ["\r", "\u{85}", "\u{9b}", "\u{202e}", "\u{2028}", "\u{200b}"] {
            assert_eq!(scrub.clean(&format!("x{control}y")), "x\u{fffd}y");
        }
    }

    #[test]
    fn a_command_to_a_ci_system_is_taken_apart() {
        let scrub = Scrubber::default();
        for text in ["x ##vso[task.setvariable]y", "x ##[error]y", "####[error]"] {
            assert!(!scrub.clean(text).contains("##"), "{text}");
        }
        assert_eq!(scrub.clean("x\n::error::y"), "x ::error::y");
        assert_eq!(scrub.clean("fix##1, C## and ##"), "fix##1, C## and ##");
    }

    #[test]
    fn a_page_of_ours_keeps_its_lines_and_nothing_that_it_quotes_does_harm() {
        let scrub = Scrubber::new(["hunter22".into()]);
        assert_eq!(
            scrub.clean_page("one\n  two hunter22\n::set-output::\u{1b}[2J\n"),
            "one\n  two [redacted]\n: :set-output::\u{fffd}[2J\n"
        );
        let page = "x".repeat(2 * LONGEST_READ);
        assert_eq!(scrub.clean_page(&page), page);
    }

    #[test]
    fn a_name_is_shown_in_one_line_and_differs_from_every_other() {
        let scrub = Scrubber::new(["hunter22".into()]);
        for (name, shown) in [
            ("fix##1", "fix##1"),
            ("a\u{200b}b", "a\\u{200b}b"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\nerror: b", "a\\u{a}error: b"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("##vso[x]", "# #vso[x]"),
            ("for-hunter22", "for-[redacted]"),
            ("ü漢🧱", "ü漢🧱"),
        ] {
            assert_eq!(scrub.name(name), shown, "{name:?}");
        }
        assert!(scrub.name(&"n".repeat(5000)).ends_with("n…"));
        assert_eq!(shown_name("a\u{7}"), "a\\u{7}");
    }

    #[test]
    fn what_a_user_typed_is_redacted_whatever_separates_it() {
        let scrub = Scrubber::default();
        scrub.learn_typed("type=azblob;secret_access_key=c2VjcmV0;container=c");
        assert_eq!(scrub.clean("no `c2VjcmV0`"), "no `[redacted]`");
    }

    #[test]
    fn an_error_keeps_its_lines_and_none_of_them_can_be_taken_for_another_text() {
        let scrub = Scrubber::new(["-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END".into()]);
        for (text, shown) in [
            ("one\n  two\nthree", "one\n  two\n  three"),
            ("one\r\ntwo\r", "one\n  two\u{fffd}"),
            ("one\n\ntwo\n", "one\n\n  two"),
            ("\nerror: forged", "\n  error: forged"),
            (
                "a\n::error::b\n  ::warning ::c",
                "a\n  : :error::b\n  : :warning ::c",
            ),
            ("a\n##vso[x]", "a\n  # #vso[x]"),
            ("a\n\u{1b}[1A", "a\n  \u{fffd}[1A"),
            (
                "key -----BEGIN KEY-----\nMIIEvQIBADAN\n-----END\nx",
                "key [redacted]\n  x",
            ),
        ] {
            let clean = scrub.clean_lines(text);
            let no_trailing = |text: &str| {
                text.lines()
                    .map(str::trim_end)
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            assert_eq!(no_trailing(&clean), shown, "{text:?}");
        }
        let flood = scrub.clean_lines(&"x\n".repeat(1000));
        assert_eq!(flood.lines().count(), MOST_LINES);
        assert!(flood.ends_with('…'), "{flood}");
        let flood = scrub.clean_lines(&format!("{0}\n{0}", "x".repeat(LONGEST)));
        assert!(flood.len() < LONGEST + 10 && flood.ends_with('…'));
    }

    #[test]
    fn a_flood_of_text_is_cut() {
        let clean = Scrubber::default().clean(&"x".repeat(10 * LONGEST));
        assert_eq!(clean.chars().count(), LONGEST + 1);
    }

    #[test]
    fn no_secret_is_cut_in_two_where_a_flood_of_text_is_cut() {
        // Redacting makes a text shorter, so that what is shown may end where
        // what was looked at does.
        let secret = "0123456789abcdef".repeat(256);
        let scrub = Scrubber::new([secret.clone()]);
        for shift in [0, 1, 2000, 4000] {
            let flood = "x".repeat(shift) + &secret.repeat(100);
            let clean = scrub.clean(&flood);
            assert!(!clean.contains("0123"), "{shift}: {clean}");
            assert!(clean.ends_with('…'), "{clean}");
        }
    }
}
