//! What is wrong with a command line that cannot be understood. clap's message
//! repeats what it did not expect, which may be a part of a line that was not
//! quoted, with a key in it: no more of it is shown than can do no harm.

use build_cache_host::Scrubber;
use build_cache_host::shown;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options whose values are a user's own words, so that what follows the value
/// is not a secret.
const OPTIONS_WITH_WORDS: &[&str] = &["--name", "--tag", "--grant", "--keep-name"];

/// Learns every secret that is anywhere in a command line.
pub fn learn_secrets<'a>(scrubber: &Scrubber, arguments: impl Iterator<Item = &'a str>) {
    let mut before = ["", ""];
    for argument in arguments {
        scrubber.learn_typed(argument);
        let [option, name] = before;
        // As in `secret_access_key KEY`, without quotes.
        let is_name = name
            .trim_end_matches(['=', ':'])
            .chars()
            .all(shown::is_word);
        if is_name && !OPTIONS_WITH_WORDS.contains(&option) {
            scrubber.learn_typed(&format!("{} {argument}", name.trim_end_matches(['=', ':'])));
        }
        before = [name, argument];
    }
}

/// clap's message without its `error: `.
pub fn message(mut error: clap::Error) -> String {
    let unexpected: &[ContextKind] = match error.kind() {
        ErrorKind::UnknownArgument => &[ContextKind::InvalidArg],
        ErrorKind::InvalidSubcommand => &[ContextKind::InvalidSubcommand],
        _ => &[ContextKind::InvalidValue],
    };
    for kind in unexpected {
        let Some(ContextValue::String(value)) = error.get(*kind) else {
            continue;
        };
        let shown = shown::beginning(value, |c| shown::is_word(c) || "/ ".contains(c));
        if shown != *value {
            error.insert(*kind, ContextValue::String(shown));
            // It has the value as well.
            error.remove(ContextKind::Suggested);
        }
    }
    let message = error.render().to_string();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    message.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    const KEY: &str = "U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU";

    /// What is shown of a command line that clap refuses.
    fn shown(line: &[&str]) -> String {
        let scrubber = Scrubber::default();
        learn_secrets(&scrubber, line.iter().copied());
        let arguments = ["build-cache"].iter().chain(line);
        let error = Args::try_parse_from(arguments).expect_err("it is wrong");
        scrubber.clean_page(&message(error))
    }

    #[test]
    fn no_secret_is_shown_of_a_line_that_was_not_quoted() {
        let named = format!("secret_access_key={KEY}");
        let hunter = "--secret-access-key=hunter22";
        for line in [
            &["push", "--to", "type=azblob", "dir", &named][..],
            &[
                "push",
                "--to",
                "type=azblob",
                "secret_access_key",
                KEY,
                "dir",
            ],
            &[
                "push",
                "--to",
                "type=azblob",
                "sas_token",
                "hunter22",
                "dir",
            ],
            &["push", "--to", "type=azblob", "dir", KEY],
            &["push", hunter, "--to", "type=azblob", "dir"],
            &["push", "--secret-access-key", "hunter22", "dir"],
            &["push", "--idle-timeout", KEY, "--to", "type=x", "dir"],
            &["push", "--idle-timeout", &named, "--to", "type=x", "dir"],
            &[&named],
            &[KEY],
            &["plugin", &named],
            &["push", "--to", "type=x", "dir", "a;password=hunter22"],
        ] {
            let message = shown(line);
            assert!(!message.contains(&KEY[..8]), "{line:?}: {message}");
            assert!(!message.contains("hunter22"), "{line:?}: {message}");
        }
    }

    #[test]
    fn what_can_do_no_harm_is_shown_with_claps_advice() {
        let message = shown(&["push", "--tos", "type=azblob", "dir"]);
        assert!(
            message.contains("'--tos'") && message.contains("'--to'"),
            "{message}"
        );
        let message = shown(&["puhs", "x"]);
        assert!(
            message.contains("'puhs'") && message.contains("'push'"),
            "{message}"
        );
        let message = shown(&["push", "--to", "type=azblob", "dir", "two/of them"]);
        assert!(message.contains("'two/of them'"), "{message}");
        let message = shown(&["push", "--to", "x", "--idle-timeout", "many", "dir"]);
        assert!(message.contains("'many'"), "{message}");
    }
}
