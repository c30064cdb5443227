//! Which bytes of a blob a read asks for.
//!
//! The service takes `bytes=a-b` and `bytes=a-`, and `x-ms-range` before `Range`:
//! <https://learn.microsoft.com/rest/api/storageservices/specifying-the-range-header-for-blob-service-operations>.

use http::header::{HeaderMap, RANGE};

use crate::refusal::Refusal;

/// A part of a blob: `start..end`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub start: u64,
    pub end: u64,
}

impl ByteRange {
    /// The range that the headers ask for of a blob of `size` bytes; `None` where they ask for all.
    pub fn requested(headers: &HeaderMap, size: u64) -> Result<Option<Self>, Refusal> {
        let Some(value) = headers.get("x-ms-range").or_else(|| headers.get(RANGE)) else {
            return Ok(None);
        };
        let Some((start, last)) = value.to_str().ok().and_then(parse) else {
            // A form that the service does not know, such as several ranges: it sends all.
            return Ok(None);
        };
        if start >= size {
            return Err(Refusal::invalid_range(size));
        }
        Ok(Some(Self {
            start,
            end: last.map_or(size, |last| size.min(last.saturating_add(1))),
        }))
    }
}

/// The first and the last byte's position.
fn parse(value: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    if last.is_empty() {
        return Some((first, None));
    }
    let last = last.parse().ok()?;
    (first <= last).then_some((first, Some(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(value: &str, size: u64) -> Result<Option<(u64, u64)>, u16> {
        let headers = HeaderMap::from_iter([(RANGE, value.parse().unwrap())]);
        match ByteRange::requested(&headers, size) {
            Ok(range) => Ok(range.map(|range| (range.start, range.end))),
            Err(refusal) => Err(refusal.status.as_u16()),
        }
    }

    #[test]
    fn a_range_is_cut_at_the_blob_s_end() {
        assert_eq!(requested("bytes=0-", 10), Ok(Some((0, 10))));
        assert_eq!(requested("bytes=3-5", 10), Ok(Some((3, 6))));
        assert_eq!(requested("bytes=9-100", 10), Ok(Some((9, 10))));
        assert_eq!(
            requested("bytes=0-18446744073709551615", 10),
            Ok(Some((0, 10)))
        );
    }

    #[test]
    fn a_range_behind_the_end_cannot_be_had() {
        assert_eq!(requested("bytes=10-", 10), Err(416));
        assert_eq!(requested("bytes=0-0", 0), Err(416));
    }

    #[test]
    fn a_form_that_the_service_does_not_know_means_all() {
        for value in [
            "bytes=-5",
            "bytes=5-3",
            "bytes=1-2,4-5",
            "items=0-1",
            "bytes=x-",
        ] {
            assert_eq!(requested(value, 10), Ok(None), "{value}");
        }
    }

    #[test]
    fn the_service_s_own_header_comes_first() {
        let mut headers = HeaderMap::from_iter([(RANGE, "bytes=0-0".parse().unwrap())]);
        headers.insert("x-ms-range", "bytes=1-2".parse().unwrap());
        assert_eq!(
            ByteRange::requested(&headers, 10),
            Ok(Some(ByteRange { start: 1, end: 3 }))
        );
    }
}
