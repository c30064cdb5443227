//! The texts in a Rust source that a user may see: string literals and doc
//! comments, but for those of tests. A scanner that knows just enough of the
//! language to tell them from code. The contract's comments have the same form.

use super::Text;

/// The texts in a source.
pub(super) fn texts(source: &str) -> Vec<Text> {
    let mut scanner = Scanner {
        rest: source,
        line: 1,
        texts: Vec::new(),
    };
    scanner.scan();
    scanner.texts
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    texts: Vec<Text>,
}

impl Scanner<'_> {
    fn scan(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("#[cfg(test)]") || self.rest.starts_with("#[cfg(all(test") {
                self.skip_item();
            } else if self.rest.starts_with("///") || self.rest.starts_with("//!") {
                self.doc_comment();
            } else if self.rest.starts_with("//") {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.skip(self.rest.find("*/").map_or(self.rest.len(), |at| at + 2));
            } else if let Some((open, end)) = raw_string(self.rest) {
                self.string(open, end);
            } else if c == '"' {
                self.string(1, quoted(self.rest));
            } else if c == '\'' {
                self.skip(character(self.rest));
            } else if c.is_alphanumeric() || c == '_' {
                // A word, so that no `r` within it begins a raw string.
                let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
                let end = self.rest.find(|c: char| !is_of_word(c));
                self.skip(end.unwrap_or(self.rest.len()));
            } else {
                self.skip(c.len_utf8());
            }
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.line += self.rest[..bytes].matches('\n').count();
        self.rest = &self.rest[bytes..];
    }

    /// The lines of a doc comment that follow each other are one text.
    fn doc_comment(&mut self) {
        let content = self.rest.lines().next().unwrap_or_default();
        let text = content[3..].trim();
        let line = self.line;
        match self.texts.last_mut() {
            Some(last) if last.line + last.text.split('\n').count() == line => {
                last.text.push('\n');
                last.text.push_str(text);
            }
            _ => self.texts.push(Text {
                line,
                text: text.to_owned(),
            }),
        }
        self.skip(content.len());
    }

    /// A string from behind its opening quote to before its closing one.
    fn string(&mut self, open: usize, (close, end): (usize, usize)) {
        // The lines of the text are those of the source.
        let text = self.rest[open..close].replace("\\\n", "\n");
        self.texts.push(Text {
            line: self.line,
            text: text.replace("\\n", " "),
        });
        self.skip(end);
    }

    /// An item of tests: up to the end of its braces, or to a semicolon before.
    fn skip_item(&mut self) {
        self.skip(self.rest.find(']').map_or(self.rest.len(), |at| at + 1));
        let texts = self.texts.len();
        let mut depth = 0_usize;
        while let Some(c) = self.rest.chars().next() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            let is_end = (c == '}' || c == ';') && depth == 0;
            // Braces in strings, characters and comments do not count.
            if c == '"' {
                self.skip(quoted(self.rest).1);
            } else if let Some((_, (_, end))) = raw_string(self.rest) {
                self.skip(end);
            } else if c == '\'' {
                self.skip(character(self.rest));
            } else if self.rest.starts_with("//") {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else {
                self.skip(c.len_utf8());
            }
            if is_end {
                break;
            }
        }
        self.texts.truncate(texts);
    }
}

/// Where the string that begins here has its closing quote, and where it ends.
fn quoted(rest: &str) -> (usize, usize) {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return (at, at + 1),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    (rest.len(), rest.len())
}

/// If a raw string begins here: the length of its opening, and as [`quoted`].
fn raw_string(rest: &str) -> Option<(usize, (usize, usize))> {
    let hashes = rest.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    hashes[count..].strip_prefix('"')?;
    let (open, closing) = (count + 2, format!("\"{}", "#".repeat(count)));
    let close = rest[open..].find(&closing).map(|at| open + at)?;
    Some((open, (close, close + closing.len())))
}

/// The length of a character literal, or of the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => rest[3..].find('\'').map_or(1, |at| at + 4),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_texts(source: &str, expected: &[(usize, &str)]) {
        let texts = texts(source);
        let found: Vec<_> = texts
            .iter()
            .map(|text| (text.line, text.text.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn strings_and_doc_comments_are_texts_and_code_is_none() {
        assert_texts(
            "//! Top.\n// none\n/// One\n/// two.\nfn f<'a>(x: &'a str) -> char { '\"' }\nconst A: &str = \"a \\\"b\\\"\"; /* \"no\" */\n",
            &[(1, "Top."), (3, "One\ntwo."), (6, "a \\\"b\\\"")],
        );
    }

    #[test]
    fn raw_strings_and_strings_of_several_lines_are_texts() {
        assert_texts(
            "let a = r#\"x \"y\" z\"#;\nlet b = \"one \\\n  two\";\nlet c = '\\'';\nlet d = \"d\";\nfor_r(\"e\")",
            &[(1, "x \"y\" z"), (2, "one \n  two"), (5, "d"), (6, "e")],
        );
    }

    #[test]
    fn what_is_of_tests_is_left_out() {
        assert_texts(
            "#[cfg(test)]\nmod tests;\n\"a\"\n#[cfg(test)]\nmod more {\n  fn f() { g(\"}\", '{'); }\n  // }\n}\n\"b\"",
            &[(3, "a"), (9, "b")],
        );
    }
}
