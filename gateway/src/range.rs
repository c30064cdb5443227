//! `Range` and `Content-Range`: which part of a blob a request is about.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything: there is no range, or one that this server may ignore, such
    /// as several at once.
    Whole,
    /// This part; never empty.
    Part(Range<u64>),
    /// Nothing that the blob has.
    Nothing,
}

/// Reads a `Range` header for a blob of `size` bytes, by
/// [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-14.2).
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::Whole;
    };
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(count)) if first.is_empty() => size.saturating_sub(count)..size,
        _ => return Wanted::Whole,
    };
    if part.is_empty() {
        Wanted::Nothing
    } else {
        Wanted::Part(part)
    }
}

/// Reads the `Content-Range` of a chunk: `0-99`, as the distribution
/// specification has it, or HTTP's own `bytes 0-99/*`. The part that it names.
pub fn chunk(header: &str) -> Option<Range<u64>> {
    let header = header.trim();
    let header = header.strip_prefix("bytes").map_or(header, str::trim_start);
    let header = header.split('/').next()?;
    let (first, last) = header.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        let cases = [
            (None, Wanted::Whole),
            (Some("bytes=0-"), Wanted::Part(0..10)),
            (Some("bytes=3-"), Wanted::Part(3..10)),
            (Some("bytes=3-5"), Wanted::Part(3..6)),
            (Some(" bytes=9-9 "), Wanted::Part(9..10)),
            (Some("bytes=3-99"), Wanted::Part(3..10)),
            (Some("bytes=3-18446744073709551615"), Wanted::Part(3..10)),
            (Some("bytes=-4"), Wanted::Part(6..10)),
            (Some("bytes=-99"), Wanted::Part(0..10)),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=10-"), Wanted::Nothing),
            (Some("bytes=99-100"), Wanted::Nothing),
            (Some("bytes=5-3"), Wanted::Whole),
            (Some("bytes=0-1,3-4"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=+1-2"), Wanted::Whole),
            (Some("bytes=99999999999999999999-"), Wanted::Whole),
            (Some("lines=1-2"), Wanted::Whole),
            (Some("bytes"), Wanted::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(wanted(header, 10), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    #[test]
    fn chunks_are_read_in_both_forms() {
        let cases = [
            ("0-99", Some(0..100)),
            ("bytes 100-199/*", Some(100..200)),
            ("bytes=0-0", None),
            ("5-3", None),
            ("-3", None),
            ("0-18446744073709551615", None),
            ("", None),
        ];
        for (header, expected) in cases {
            assert_eq!(chunk(header), expected, "{header}");
        }
    }
}
