//! Text that a plugin wrote, made fit to be shown: a plugin is somebody
//! else's code, so what it says may hold a terminal's control sequences, or a
//! secret that the host lent it.

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// The most characters of one text that are shown.
const LONGEST: usize = 4096;

/// Secrets shorter than this are left alone: replacing every `a` in a text
/// would tell more than it hides.
const SHORTEST_SECRET: usize = 6;

/// Takes secrets and control characters out of a plugin's texts.
#[derive(Default)]
pub(crate) struct Scrubber {
    secrets: Vec<String>,
}

impl Scrubber {
    /// A scrubber that knows these secrets.
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<_> = secrets
            .into_iter()
            .filter(|secret| secret.len() >= SHORTEST_SECRET)
            .collect();
        // A secret that contains another goes first, or its rest would show.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// The text without secrets, with control characters replaced (but for
    /// line ends) and of bounded length.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
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
