//! Which cache a repository and a tag name.
//!
//! `localhost:5511/REPO:TAG` is the cache `REPO/TAG`, and `latest`, the tag of
//! those who name none, is the cache `REPO`. A [`NameTemplate`] states another
//! rule. A tag can hold what its alphabet cannot: `_.` and two hexadecimal
//! digits stand for one byte, so that the branch `Feature/X` is the tag
//! `Feature_.2FX`.

use std::fmt;
use std::str::FromStr;

use crate::reference::{Repository, Tag};

/// The tag of those who name none.
const DEFAULT_TAG: &str = "latest";
/// What begins an escaped byte in a tag.
const ESCAPE: &str = "_.";
/// The longest name of a cache, in bytes: what the keys of common stores leave
/// for it.
const MAX_NAME_BYTES: usize = 800;

/// How names are made: text with `{repo}`, `{tag}` and `{/tag}` in it. The last
/// is a slash and the tag, and nothing for `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Repository,
    Tag,
    SlashTag,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// Something else is in braces.
    #[error(
        "`{{{0}}}` is not known; a template has `{{repo}}`, `{{tag}}` and `{{/tag}}`, which is `/` and the tag, or nothing for `latest`"
    )]
    Unknown(String),
    /// A brace is not closed.
    #[error("a `{{` has no `}}`")]
    Unclosed,
    /// It would give every build the same name.
    #[error("it holds neither `{{repo}}` nor the tag, so that all builds would share one cache")]
    Constant,
}

/// Why a repository and a tag name no cache.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// An escape in the tag does not stand for text.
    #[error(
        "the tag `{0}` has a wrong escape: `_.` and two hexadecimal digits stand for one byte, and together they must be UTF-8 text without control characters"
    )]
    Escape(String),
    /// The name would lead somewhere else in the store.
    #[error(
        "`{0}` cannot be the name of a cache, because one of the parts between its slashes is empty, `.` or `..`"
    )]
    Path(String),
    /// The name is too long.
    #[error("the name of the cache would have {0} bytes; it may have {MAX_NAME_BYTES}")]
    TooLong(usize),
}

impl Default for NameTemplate {
    fn default() -> Self {
        Self(vec![Part::Repository, Part::SlashTag])
    }
}

impl FromStr for NameTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (name, after) = after.split_once('}').ok_or(InvalidTemplate::Unclosed)?;
            parts.push(match name {
                "repo" => Part::Repository,
                "tag" => Part::Tag,
                "/tag" => Part::SlashTag,
                other => return Err(InvalidTemplate::Unknown(other.chars().take(40).collect())),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Err(InvalidTemplate::Constant);
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Repository => f.write_str("{repo}"),
            Part::Tag => f.write_str("{tag}"),
            Part::SlashTag => f.write_str("{/tag}"),
        })
    }
}

impl NameTemplate {
    /// The name of the cache.
    pub fn name(&self, repository: &Repository, tag: &Tag) -> Result<String, InvalidName> {
        let is_default = tag.as_str() == DEFAULT_TAG;
        let tag = unescape(tag.as_str())?;
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Repository => name.push_str(repository.as_str()),
                Part::Tag => name.push_str(&tag),
                Part::SlashTag if is_default => {}
                Part::SlashTag => {
                    name.push('/');
                    name.push_str(&tag);
                }
            }
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(InvalidName::TooLong(name.len()));
        }
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(InvalidName::Path(name));
        }
        Ok(name)
    }

    /// The tag under which `repository` has the cache of this name, if it is
    /// one of that repository's.
    pub fn tag(&self, repository: &Repository, name: &str) -> Option<Tag> {
        let latest = Tag::parse(DEFAULT_TAG)?;
        if self.name(repository, &latest).as_deref() == Ok(name) {
            return Some(latest);
        }
        let mut before = String::new();
        let mut parts = self.0.iter();
        for part in parts.by_ref() {
            match part {
                Part::Text(text) => before.push_str(text),
                Part::Repository => before.push_str(repository.as_str()),
                Part::SlashTag => {
                    before.push('/');
                    break;
                }
                Part::Tag => break,
            }
        }
        let after: String = parts
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Repository => repository.as_str(),
                // A template that has the tag twice is not read backwards.
                Part::Tag | Part::SlashTag => "\0",
            })
            .collect();
        let text = name.strip_prefix(&before)?.strip_suffix(&after)?;
        let tag = Tag::parse(&escape(text))?;
        (self.name(repository, &tag).as_deref() == Ok(name)).then_some(tag)
    }
}

/// The tag that stands for any text, such as a branch: what a tag cannot have
/// is escaped. It may be longer than a tag may be.
pub fn escape(text: &str) -> String {
    use fmt::Write as _;
    let mut tag = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let is_escape = text.as_bytes()[at..].starts_with(ESCAPE.as_bytes());
        let is_legal = byte.is_ascii_alphanumeric()
            || (byte == b'_' && !is_escape)
            || (at > 0 && matches!(byte, b'.' | b'-'));
        if is_legal {
            tag.push(char::from(byte));
        } else {
            let _ = write!(tag, "{ESCAPE}{byte:02X}");
        }
    }
    tag
}

fn unescape(tag: &str) -> Result<String, InvalidName> {
    let wrong = || InvalidName::Escape(tag.to_owned());
    let mut bytes = Vec::with_capacity(tag.len());
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once(ESCAPE) {
        bytes.extend_from_slice(before.as_bytes());
        let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match after.get(..2).filter(is_hex) {
            Some(digits) => {
                bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
                rest = &after[2..];
            }
            // Not an escape: a tag may have these two characters.
            None => {
                bytes.extend_from_slice(ESCAPE.as_bytes());
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    if text.chars().any(char::is_control) {
        return Err(wrong());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(template: &str, repository: &str, tag: &str) -> Result<String, InvalidName> {
        let template: NameTemplate = template.parse().expect("a template");
        let repository = Repository::parse(repository).expect("a repository");
        template.name(&repository, &Tag::parse(tag).expect("a tag"))
    }

    #[test]
    fn the_tag_is_the_last_part_of_the_name_and_latest_is_left_out() {
        let cases = [
            ("{repo}{/tag}", "app", "main", "app/main"),
            ("{repo}{/tag}", "team/app", "latest", "team/app"),
            ("{repo}{/tag}", "app", "Feature_.2FX", "app/Feature/X"),
            (
                "{repo}{/tag}",
                "app",
                "gr_.C3_.BC_.C3_.9Fe",
                "app/gr\u{fc}\u{df}e",
            ),
            ("{repo}{/tag}", "app", "a_.b", "app/a_.b"),
            ("{tag}", "app", "main", "main"),
            ("ci-{repo}-{tag}", "app", "latest", "ci-app-latest"),
        ];
        for (template, repository, tag, expected) in cases {
            assert_eq!(name(template, repository, tag).as_deref(), Ok(expected));
        }
        let default = NameTemplate::default();
        assert_eq!("{repo}{/tag}".parse(), Ok(default.clone()));
        assert_eq!(default.to_string(), "{repo}{/tag}");
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for tag in [
            "_.2E_.2E",
            "x_.2F_.2E_.2E_.2Fy",
            "_.2Fx",
            "x_.2F",
            "a_.2F_.2Fb",
        ] {
            let outcome = name("{repo}{/tag}", "app", tag);
            assert!(matches!(outcome, Err(InvalidName::Path(_))), "{outcome:?}");
        }
        for tag in ["_.FF", "a_.00", "a_.0A", "_.7F"] {
            let outcome = name("{repo}{/tag}", "app", tag);
            assert!(
                matches!(outcome, Err(InvalidName::Escape(_))),
                "{outcome:?}"
            );
        }
        let long = format!("{}{{repo}}", "x".repeat(MAX_NAME_BYTES));
        assert_eq!(
            name(&long, "app", "main"),
            Err(InvalidName::TooLong(MAX_NAME_BYTES + 3))
        );
    }

    #[test]
    fn every_branch_has_a_tag_and_the_tag_the_branch() {
        let repository = Repository::parse("app").expect("a repository");
        let template = NameTemplate::default();
        for branch in [
            "main",
            "Feature/X",
            "fix#1",
            "a_.2Fb",
            "_.",
            "gr\u{fc}n",
            "v1.0-rc_1",
            "a/b/c",
        ] {
            let tag = Tag::parse(&escape(branch)).expect("a tag");
            let name = template.name(&repository, &tag).expect("a name");
            assert_eq!(name, format!("app/{branch}"));
            assert_eq!(template.tag(&repository, &name), Some(tag), "{branch}");
        }
    }

    #[test]
    fn names_of_other_repositories_have_no_tag_here() {
        let repository = Repository::parse("app").expect("a repository");
        let template = NameTemplate::default();
        let tag = |name: &str| template.tag(&repository, name).map(|tag| tag.to_string());
        assert_eq!(tag("app").as_deref(), Some("latest"));
        assert_eq!(tag("app/latest"), None, "it can only be reached otherwise");
        for other in ["apps/main", "other", "app/", "app//x", "app/../x"] {
            assert_eq!(tag(other), None, "{other}");
        }
        let template: NameTemplate = "ci-{repo}-{tag}".parse().expect("a template");
        let tag = |name: &str| template.tag(&repository, name).map(|tag| tag.to_string());
        assert_eq!(tag("ci-app-main").as_deref(), Some("main"));
        assert_eq!(tag("ci-app-latest").as_deref(), Some("latest"));
        assert_eq!(tag("ci-other-main"), None);
    }

    #[test]
    fn a_template_that_cannot_be_is_refused() {
        let cases = [
            ("{repo", InvalidTemplate::Unclosed),
            ("{repo}/{name}", InvalidTemplate::Unknown("name".into())),
            ("always", InvalidTemplate::Constant),
            ("", InvalidTemplate::Constant),
        ];
        for (template, expected) in cases {
            assert_eq!(template.parse::<NameTemplate>(), Err(expected));
        }
    }
}
