//! JSON, as much of it as a manifest needs: read value by value, the rest
//! checked and skipped; strings written as Go writes them.
//!
//! `serde_json` would do it too, for 50 KB: an eighth of what the component
//! may weigh. The tests hold this file against it.

#[cfg(test)]
mod tests;

/// How deep values may be nested. The component's stack is small; BuildKit's
/// manifests go 6 deep.
const MAX_DEPTH: u32 = 100;

/// Reads a text from its start, value by value.
pub(crate) struct Reader<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Reads an object: `member` is called with each key, and must read or
    /// skip its value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect(b'{', "an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':', "`:`")?;
            member(&key, self)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "`,` or `}`")?;
        }
    }

    /// Reads an array: `element` is called at each value, and must read or
    /// skip it.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect(b'[', "an array")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',', "`,` or `]`")?;
        }
    }

    /// Reads a string. As in Go, half of a surrogate pair counts as U+FFFD.
    pub(crate) fn string(&mut self) -> Result<String, String> {
        self.expect(b'"', "a string")?;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest
                .find(|c: char| c == '"' || c == '\\' || c < ' ')
                .ok_or_else(|| self.wrong("the end of the string"))?;
            string.push_str(&rest[..plain]);
            self.at += plain;
            match self.next() {
                Some(b'"') => return Ok(string),
                Some(b'\\') => string.push(self.escaped()?),
                _ => return Err(self.wrong("no control character")),
            }
        }
    }

    /// Reads the character that an escape stands for.
    fn escaped(&mut self) -> Result<char, String> {
        Ok(match self.next() {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.four_hex_digits()?;
                let is_high = (0xd800..0xdc00).contains(&unit);
                let pair = is_high.then(|| self.low_surrogate()).flatten();
                let code = pair.map_or(unit, |low| {
                    0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                });
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.wrong("an escape")),
        })
    }

    /// Reads the second half of a surrogate pair, if it follows.
    fn low_surrogate(&mut self) -> Option<u32> {
        let start = self.at;
        let is_escape = self.next() == Some(b'\\') && self.next() == Some(b'u');
        let low = is_escape.then(|| self.four_hex_digits().ok()).flatten();
        let low = low.filter(|low| (0xdc00..0xe000).contains(low));
        if low.is_none() {
            self.at = start;
        }
        low
    }

    fn four_hex_digits(&mut self) -> Result<u32, String> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|b| char::from(b).to_digit(16));
            value = value * 16 + digit.ok_or_else(|| self.wrong("four hex digits"))?;
        }
        Ok(value)
    }

    /// Reads a whole number.
    pub(crate) fn integer(&mut self) -> Result<i64, String> {
        let start = self.at;
        let number = self.skip()?;
        number.parse().map_err(|_| {
            self.at = start;
            self.wrong("a whole number")
        })
    }

    /// Takes a `null`, if that is what follows.
    pub(crate) fn null(&mut self) -> bool {
        self.skip_space();
        let is_null = self.text[self.at..].starts_with("null");
        if is_null {
            self.at += 4;
        }
        is_null
    }

    /// Checks and skips a value, and returns it as it stands.
    pub(crate) fn skip(&mut self) -> Result<&'a str, String> {
        self.skip_space();
        let start = self.at;
        self.skip_within(MAX_DEPTH)?;
        Ok(&self.text[start..self.at])
    }

    fn skip_within(&mut self, depth: u32) -> Result<(), String> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.wrong("no deeper nesting"));
        };
        self.skip_space();
        match self.text.as_bytes().get(self.at) {
            Some(b'{') => self.object(|_, reader| reader.skip_within(depth)),
            Some(b'[') => self.array(|reader| reader.skip_within(depth)),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ => {
                let rest = &self.text[self.at..];
                let words = ["null", "true", "false"];
                let word = words.iter().find(|word| rest.starts_with(**word));
                self.at += word.ok_or_else(|| self.wrong("a value"))?.len();
                Ok(())
            }
        }
    }

    fn skip_number(&mut self) -> Result<(), String> {
        self.take_here(b'-');
        if !self.take_here(b'0') {
            self.skip_digits()?;
        }
        if self.take_here(b'.') {
            self.skip_digits()?;
        }
        if self.take_here(b'e') || self.take_here(b'E') {
            let _ = self.take_here(b'+') || self.take_here(b'-');
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), String> {
        let rest = self.text[self.at..].bytes();
        let digits = rest.take_while(u8::is_ascii_digit).count();
        self.at += digits;
        match digits {
            0 => Err(self.wrong("a digit")),
            _ => Ok(()),
        }
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        self.skip_space();
        match self.at == self.text.len() {
            true => Ok(()),
            false => Err(self.wrong("the end")),
        }
    }

    fn skip_space(&mut self) {
        let rest = self.text[self.at..].bytes();
        self.at += rest.take_while(|b| b" \t\r\n".contains(b)).count();
    }

    /// The next byte, which is taken.
    fn next(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at).copied();
        // Callers take ASCII only, so the place stays between characters.
        let is_ascii = byte.is_some_and(|b| b.is_ascii());
        self.at += usize::from(is_ascii);
        byte
    }

    /// Takes a byte, if it is what follows at once.
    fn take_here(&mut self, byte: u8) -> bool {
        let follows = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(follows);
        follows
    }

    /// Takes a byte, if it is what follows after space.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.take_here(byte)
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), String> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(self.wrong(what)),
        }
    }

    /// The error that something else is here.
    fn wrong(&self, expected: &str) -> String {
        match self.at < self.text.len() {
            true => format!(
                "its JSON is malformed: {expected} was expected at byte {}",
                self.at
            ),
            false => format!("its JSON is cut short: {expected} was expected at the end"),
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
