//! How much of a wrong value may be shown. A value that cannot be right is
//! often right up to some character, and what follows may be the rest of the
//! line, with a key in it: `type=azblob;secret_access_key=...`. So no message
//! repeats a wrong value. It shows the beginning, up to the first character
//! that such a value cannot have, at most 40 characters of it, and nothing at all
//! of what looks like a key.

/// The most characters of a wrong value that are shown: more than any type,
/// mode or attribute has.
const LONGEST: usize = 40;
/// A key or a token has this many letters and digits in a row, in characters,
/// if it mixes capitals, small letters and digits.
const SHORTEST_KEY: usize = 16;
/// The same where it mixes less, such as the digits of a hash.
const SHORTEST_PLAIN_KEY: usize = 32;

/// Whether a type, a mode or an attribute's name may have this character.
pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// The harmless beginning of a value whose kind may have these characters, and
/// `…` where that is not all of it.
pub fn beginning(value: &str, may_have: impl Fn(char) -> bool) -> String {
    let end = value
        .char_indices()
        .find(|(_, c)| !may_have(*c))
        .map_or(value.len(), |(at, _)| at);
    let mut shown: String = value[..end].chars().take(LONGEST).collect();
    // A key in base64 has characters that the value may not have.
    let base64 = value.split(|c: char| !is_base64(c)).next();
    if looks_like_a_key(&value[..end]) || base64.is_some_and(is_key) {
        shown.clear();
    }
    if shown.len() < value.len() {
        shown.push('…');
    }
    shown
}

/// Whether there is a stretch of letters and digits in the text that nobody
/// would make up: as keys, tokens and hashes have.
pub fn looks_like_a_key(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_key)
}

fn is_key(stretch: &str) -> bool {
    let has = |is: fn(&u8) -> bool| stretch.bytes().any(|byte| is(&byte));
    let is_mixed =
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    let is_plain = stretch.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_plain && stretch.len() >= SHORTEST_PLAIN_KEY) || (is_mixed && stretch.len() >= SHORTEST_KEY)
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_up_to_what_it_cannot_have() {
        for (value, shown) in [
            ("azblob", "azblob"),
            ("azblob;secret_access_key=hush", "azblob…"),
            ("azblob\nsecret_access_key: hush", "azblob…"),
            ("azblob secret", "azblob…"),
            ("azblob\tsecret", "azblob…"),
            ("azblob&sig=x", "azblob…"),
            ("azblob|x", "azblob…"),
            (";x", "…"),
            ("", ""),
        ] {
            assert_eq!(beginning(value, is_word), shown, "{value:?}");
        }
        let long = "a-".repeat(100);
        assert_eq!(beginning(&long, is_word).chars().count(), LONGEST + 1);
    }

    #[test]
    fn nothing_is_shown_of_a_key() {
        for key in [
            "U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU",
            "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgd3Jvbmc=",
            "c2VjcmV0+LW9mLXNvbWUtbGVuZ3Ro",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(beginning(key, is_word), "…", "{key}");
        }
        assert!(looks_like_a_key("x U0VDUkVUU0VDUkVUU0VD x"));
        for text in [
            "manifests_prefix",
            "/home/runner/src/Project-1/cache",
            "/tmp/.tmpAbC1dE/missing",
            "https://acct.blob.core.windows.net",
        ] {
            assert!(!looks_like_a_key(text), "{text}");
        }
    }
}
