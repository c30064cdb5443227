//! JSON, as much of it as a manifest needs: read value by value, the rest
//! checked and skipped; strings written as Go writes them.
//!
//! The lexing is `hifijson`'s. `serde_json` is what one would take elsewhere,
//! but reading with it costs the component 50 KB, an eighth of what it may
//! weigh: its errors can print floating-point numbers. The tests hold this
//! file against it.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use hifijson::num::LexWrite as _;
use hifijson::str::{Lex as _, LexAlloc as _};
use hifijson::token::Lex as _;
use hifijson::{Expect, SliceLexer};

/// How deep values may be nested. The component's stack is small; BuildKit's
/// manifests go 6 deep.
const MAX_DEPTH: u32 = 100;

/// Reads a text from its start, value by value.
pub(crate) struct Reader<'a> {
    text: &'a str,
    lexer: SliceLexer<'a>,
}

impl<'a> Reader<'a> {
    /// A reader at the start of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        let lexer = SliceLexer::new(text.as_bytes());
        Self { text, lexer }
    }

    /// Reads an object: `member` is called with each key, and must read or
    /// skip its value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect(b'{', "an object")?;
        self.sequence(b'}', &mut |reader| {
            let key = reader.string()?;
            reader.expect(b':', "`:`")?;
            member(&key, reader)
        })
    }

    /// Reads an array: `element` is called at each value, and must read or
    /// skip it.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect(b'[', "an array")?;
        self.sequence(b']', &mut element)
    }

    /// Reads what stands between commas, up to the end of the sequence. One
    /// instance for all of them: there are a dozen, and this is what is large.
    fn sequence(
        &mut self,
        end: u8,
        item: &mut dyn FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.take(end) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(end) {
                return Ok(());
            }
            self.expect(b',', "`,` or the end of the list")?;
        }
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<String, String> {
        self.expect(b'"', "a string")?;
        let string = self.lexer.str_string();
        string
            .map(String::from)
            .map_err(|error| self.wrong(&error.to_string()))
    }

    /// Reads a whole number.
    pub(crate) fn integer(&mut self) -> Result<i64, String> {
        let number = self.skip()?;
        number
            .parse()
            .map_err(|_| self.wrong("a whole number was expected before this"))
    }

    /// Takes a `null`, if that is what follows.
    pub(crate) fn null(&mut self) -> bool {
        self.lexer.ws_peek() == Some(b'n') && self.lexer.null_or_bool() == Some(None)
    }

    /// Checks and skips a value, and returns it as it stands.
    pub(crate) fn skip(&mut self) -> Result<&'a str, String> {
        self.lexer.eat_whitespace();
        let start = self.at();
        self.skip_within(MAX_DEPTH)?;
        Ok(&self.text[start..self.at()])
    }

    fn skip_within(&mut self, depth: u32) -> Result<(), String> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.wrong("it is nested too deep"));
        };
        let skipped = match self.lexer.ws_peek() {
            Some(b'{') => return self.object(|_, reader| reader.skip_within(depth)),
            Some(b'[') => return self.array(|reader| reader.skip_within(depth)),
            Some(b'"') => self.lexer.discarded().str_ignore().map_err(Into::into),
            Some(b'-' | b'0'..=b'9') => {
                let number = self.lexer.num_bytes().validated();
                number.map(drop).map_err(hifijson::Error::from)
            }
            Some(b'a'..=b'z') => {
                let word = self.lexer.null_or_bool().map(drop);
                word.ok_or(Expect::Value.into())
            }
            _ => Err(Expect::Value.into()),
        };
        skipped.map_err(|error| self.wrong(&error.to_string()))
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        match self.lexer.ws_peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("the end was expected")),
        }
    }

    /// Takes a byte, if it is what follows after space.
    fn take(&mut self, byte: u8) -> bool {
        self.lexer.expect(SliceLexer::ws_peek, byte).is_some()
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), String> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(self.wrong(&format!("{what} was expected"))),
        }
    }

    /// How far it has been read, in bytes.
    fn at(&self) -> usize {
        self.text.len() - self.lexer.as_slice().len()
    }

    /// What is wrong, and where.
    fn wrong(&self, what: &str) -> String {
        match self.lexer.as_slice() {
            [] => format!("its JSON is cut short: {what}"),
            _ => format!("its JSON is malformed at byte {}: {what}", self.at()),
        }
    }
}

/// Writes a string as Go's `encoding/json` does, which escapes what means
/// something in HTML, and the two separators that JavaScript minds.
pub(crate) fn write_string(json: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                json.push_str("\\u");
                for shift in [12, 8, 4, 0] {
                    let digit = (character as usize >> shift) & 0xf;
                    json.push(char::from(HEX[digit]));
                }
            }
            plain => json.push(plain),
        }
    }
    json.push('"');
}
