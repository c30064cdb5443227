//! Texts that people read are in plain English. This finds the phrases that are
//! correct, or nearly so, and foreign all the same, and says what to write in
//! their place. It reads what a user may see: string literals and doc comments
//! outside of tests, the contract's, and the documents for users.
//!
//! The phrases are data ([`PHRASES`]). What a list of phrases cannot find is up to
//! the writer.

mod rust;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::project::Project;

/// The folders whose sources hold text for users.
const SOURCES: &[&str] = &[
    "src",
    "host/src",
    "cli/src",
    "gateway/src",
    "examples",
    "wit",
];
/// The documents for users.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "RELIABILITY.md",
    "examples/README.md",
    "wit/versions.md",
];
/// What holds no text for users: tests, and version 0.1 of the contract, which
/// stays as it was published.
const LEFT_OUT: &[&str] = &[
    "tests",
    "tests.rs",
    "fuzzing",
    "fuzzing.rs",
    "frozen",
    "plugin.wit",
    "target",
];

/// A phrase that stops a reader.
struct Phrase {
    /// In lower case, with one space between words.
    phrase: &'static str,
    /// What to write.
    instead: &'static str,
    /// Words after which it is right.
    right_after: &'static [&'static str],
    /// Words before which it is right.
    right_before: &'static [&'static str],
}

const fn never(phrase: &'static str, instead: &'static str) -> Phrase {
    Phrase {
        phrase,
        instead,
        right_after: &[],
        right_before: &[],
    }
}

const PHRASES: &[Phrase] = &[
    Phrase {
        right_before: &["you", "us"],
        ..never("does for", "is sufficient for")
    },
    Phrase {
        right_before: &["that", "this", "so", "it"],
        ..never("does not do", "is not acceptable, or: is not sufficient")
    },
    never("will do as well", "works too"),
    never("would do", "would be accepted"),
    never("do as well as", "are as good as"),
    Phrase {
        right_after: &["there", "here"],
        right_before: &[
            "longer",
            "more",
            "less",
            "better",
            "worse",
            "exception",
            "different",
        ],
        ..never("is no", "is not a")
    },
    Phrase {
        right_after: &["there", "here"],
        right_before: &[
            "longer",
            "more",
            "less",
            "better",
            "worse",
            "exception",
            "different",
        ],
        ..never("are no", "are not")
    },
    never("that is none", "that is not one"),
    never("held against", "checked against, or: compared with"),
    never("holds against", "checks against, or: compares with"),
    never(
        "stands in",
        "is in; of a replacement: replaces, or: is used instead of",
    ),
    never(
        "stand in",
        "are in; of a replacement: replace, or: are used instead of",
    ),
    never("standing in", "being in"),
    never("stood in", "was in"),
    never("stands at", "is at"),
    never("stand at", "are at"),
    never("stands under", "is stored under, or: has"),
    never("stand under", "are stored under"),
    never("stood under", "was stored under"),
    never("goes before", "takes precedence over"),
    never("go before", "take precedence over"),
    Phrase {
        right_before: &["apart"],
        ..never("is told", "reports, or: is reported")
    },
    Phrase {
        right_before: &["apart"],
        ..never("are told", "report, or: are reported")
    },
    never("says of itself", "reports"),
    never("say of themselves", "report"),
    never("belongs into", "belongs in"),
    never("belong into", "belong in"),
    never("lets one in", "authenticates"),
    never("let one in", "authenticate"),
    never("lets in", "admits"),
    never("by chance", "by accident"),
    never(
        "whoever",
        "the actor: the caller, the host, the user, the plugin, the server",
    ),
    never(
        "whomever",
        "the actor: the caller, the host, the user, the plugin, the server",
    ),
    never("token that is over", "expired token"),
    never("taken up where", "resumed where"),
    never("taken for an empty one", "treated as empty"),
    never("takes for a", "regards as a"),
    never("says so in", "reports that in"),
    never("knows nothing of", "does not know"),
    never("nothing is known of", "nothing is known about"),
    never("such as it is", "unchanged"),
];

/// A text for users, and the line on which it begins, from 1.
#[derive(Debug, PartialEq)]
struct Text {
    line: usize,
    text: String,
}

/// Fails with every phrase that should be another.
pub fn check(project: &Project) -> Result<()> {
    let mut found = Vec::new();
    for file in files(project)? {
        let content =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for (line, phrase) in faults(&texts(&file, &content)) {
            found.push(format!(
                "{}:{line}: `{}`: write `{}`",
                project.show(&file),
                phrase.phrase,
                phrase.instead
            ));
        }
    }
    if !found.is_empty() {
        let (list, count) = (found.join("\n"), found.len());
        bail!(
            "texts for users are in plain English (xtask/src/prose.rs), {count} are not:\n{list}"
        );
    }
    Ok(())
}

/// The files that hold text for users, in order.
fn files(project: &Project) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> = DOCUMENTS.iter().map(|name| project.file(name)).collect();
    let mut folders: Vec<_> = SOURCES.iter().map(|name| project.file(name)).collect();
    folders.retain(|folder| folder.is_dir());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let is_left_out = path
                .file_name()
                .is_none_or(|name| LEFT_OUT.iter().any(|left_out| name == *left_out));
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if is_left_out => {}
                Some("rs" | "wit") => files.push(path),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

fn texts(file: &Path, content: &str) -> Vec<Text> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("md") => paragraphs(content),
        // Strings do not occur there, and doc comments are Rust's.
        _ => rust::texts(content),
    }
}

/// The paragraphs of a document, without its blocks of code.
fn paragraphs(content: &str) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let (mut in_code, mut goes_on) = (false, false);
    for (line, content) in (1..).zip(content.lines()) {
        let content = content.trim();
        if content.starts_with("```") {
            in_code = !in_code;
            goes_on = false;
            continue;
        }
        if in_code || content.is_empty() {
            goes_on = false;
            continue;
        }
        let begins = content.starts_with(['-', '|', '#', '>']);
        match texts.last_mut().filter(|_| goes_on && !begins) {
            Some(text) => {
                text.text.push('\n');
                text.text.push_str(content);
            }
            None => texts.push(Text {
                line,
                text: content.to_owned(),
            }),
        }
        goes_on = true;
    }
    texts
}

/// The phrases in these texts that should be others, each with its line.
fn faults(texts: &[Text]) -> Vec<(usize, &'static Phrase)> {
    let mut faults = Vec::new();
    for text in texts {
        let (words, lines) = words(text);
        for phrase in PHRASES {
            let wanted: Vec<&str> = phrase.phrase.split(' ').collect();
            for (at, &line) in lines.iter().enumerate() {
                let end = at + wanted.len();
                let is_there = words.get(at..end).is_some_and(|found| found == wanted);
                let before = at.checked_sub(1).map_or("", |before| &words[before]);
                let after = words.get(end).map_or("", |after| after);
                if is_there
                    && !phrase.right_after.contains(&before)
                    && !phrase.right_before.contains(&after)
                {
                    faults.push((line, phrase));
                }
            }
        }
    }
    faults.sort_by_key(|(line, _)| *line);
    faults
}

/// The words of a text in lower case, and the line of each. What ends a part of
/// a sentence is a word of its own, so that no phrase goes across it.
fn words(text: &Text) -> (Vec<String>, Vec<usize>) {
    let (mut words, mut lines) = (Vec::new(), Vec::new());
    for (line, content) in (text.line..).zip(text.text.split('\n')) {
        let mut rest = content;
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            let is_of_word = |c: char| c.is_alphanumeric() || "'’-_".contains(c);
            let length = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
            let end = match length {
                0 => rest.chars().next().map_or(1, char::len_utf8),
                length => length,
            };
            words.push(rest[..end].to_lowercase());
            lines.push(line);
            rest = &rest[end..];
        }
    }
    (words, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&'static str> {
        let text = Text {
            line: 1,
            text: text.to_owned(),
        };
        let faults = faults(&[text]).into_iter();
        faults.map(|(_, phrase)| phrase.phrase).collect()
    }

    #[test]
    fn a_foreign_phrase_is_found() {
        for (text, phrase) in [
            ("This does not do: it is empty", "does not do"),
            ("it is no manifest", "is no"),
            ("a layer is held\nagainst its digest", "held against"),
            ("Whoever embeds it", "whoever"),
            ("what stands in the file", "stands in"),
            ("An attribute goes before every variable", "goes before"),
            ("let in by chance.", "by chance"),
        ] {
            assert_eq!(found(text), [phrase], "{text}");
        }
    }

    #[test]
    fn what_is_plain_is_left() {
        for text in [
            "there is no file",
            "it is no longer there, and is no more than a megabyte",
            "what it does for you",
            "it is. No, it is not",
            "it is not a manifest",
            "the standstill, understands in part",
            "a server that does not do this; two errors are told apart",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_document_is_read_by_paragraphs_and_without_its_code() {
        let document = "# One\n\ntwo\nthree\n- four\n\n```\nis no\n```\n| five |\n";
        let text = |line, text: &str| Text {
            line,
            text: text.to_owned(),
        };
        let expected = [
            text(1, "# One"),
            text(3, "two\nthree"),
            text(5, "- four"),
            text(10, "| five |"),
        ];
        assert_eq!(paragraphs(document), expected);
        let faults = faults(&paragraphs("a\nb is\nno c"));
        assert_eq!(faults[0].0, 2);
    }

    #[test]
    fn every_phrase_is_written_as_it_is_looked_for_and_its_replacement_is_plain() {
        for phrase in PHRASES {
            assert!(
                found(phrase.phrase).contains(&phrase.phrase),
                "{}",
                phrase.phrase
            );
            assert_eq!(found(phrase.instead), [""; 0], "{}", phrase.instead);
        }
    }
}
