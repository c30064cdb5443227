//! Conditional headers: plain data in, decision out.
//!
//! The tables: <https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations>.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
};

use crate::refusal::Refusal;

/// What a condition is held against: a blob's or container's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// With its quotes, as it goes over the wire.
    pub etag: String,
    /// In whole seconds, as it goes over the wire.
    pub modified: SystemTime,
}

/// The conditions of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    modified_since: Option<SystemTime>,
    unmodified_since: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    /// Without quotes.
    OneOf(Vec<String>),
}

impl Tags {
    fn parse(value: &str) -> Self {
        if value.trim() == "*" {
            return Self::Any;
        }
        Self::OneOf(
            value
                .split(',')
                .map(|tag| bare(tag.trim()).to_owned())
                .collect(),
        )
    }

    fn holds(&self, stamp: &Stamp) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|tag| tag == bare(&stamp.etag)),
        }
    }
}

fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

impl Conditions {
    pub fn parse(headers: &HeaderMap) -> Result<Self, Refusal> {
        Ok(Self {
            if_match: text(headers, IF_MATCH)?.map(Tags::parse),
            if_none_match: text(headers, IF_NONE_MATCH)?.map(Tags::parse),
            modified_since: date(headers, IF_MODIFIED_SINCE)?,
            unmodified_since: date(headers, IF_UNMODIFIED_SINCE)?,
        })
    }

    /// Whether a read may go on.
    pub fn check_read(&self, stamp: &Stamp) -> Result<(), Refusal> {
        if self.if_none_match == Some(Tags::Any) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "UnsatisfiableCondition",
                "A read cannot ask that the blob does not exist.",
            ));
        }
        if !self.expectations_hold(stamp) {
            return Err(Refusal::condition_not_met());
        }
        if !self.is_news(stamp) {
            return Err(Refusal::not_modified());
        }
        Ok(())
    }

    /// Whether a write may replace what is there (`None`: nothing).
    pub fn check_write(&self, stamp: Option<&Stamp>) -> Result<(), Refusal> {
        let Some(stamp) = stamp else {
            return if self.if_match.is_some() {
                Err(Refusal::condition_not_met())
            } else {
                Ok(())
            };
        };
        if self.if_none_match == Some(Tags::Any) {
            return Err(Refusal::blob_exists());
        }
        if self.expectations_hold(stamp) && self.is_news(stamp) {
            Ok(())
        } else {
            Err(Refusal::condition_not_met())
        }
    }

    fn expectations_hold(&self, stamp: &Stamp) -> bool {
        self.if_match.as_ref().is_none_or(|tags| tags.holds(stamp))
            && self
                .unmodified_since
                .is_none_or(|date| stamp.modified <= date)
    }

    /// Where both headers stand, one that holds is enough: the service's tables say so for reads
    /// and writes alike.
    fn is_news(&self, stamp: &Stamp) -> bool {
        let other_tag = self.if_none_match.as_ref().map(|tags| !tags.holds(stamp));
        let newer = self.modified_since.map(|date| stamp.modified > date);
        match (other_tag, newer) {
            (Some(other), Some(newer)) => other || newer,
            (one, two) => one.or(two).unwrap_or(true),
        }
    }
}

/// Cuts a time to whole seconds.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    UNIX_EPOCH
        + Duration::from_secs(
            time.duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
        )
}

fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(&name) else {
        return Ok(None);
    };
    value
        .to_str()
        .map(Some)
        .map_err(|_| Refusal::invalid_header(name.as_str(), ""))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Result<Option<SystemTime>, Refusal> {
    let Some(value) = text(headers, name.clone())? else {
        return Ok(None);
    };
    httpdate::parse_http_date(value)
        .map(Some)
        .map_err(|_| Refusal::invalid_header(name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: &str = "Mon, 23 Nov 2026 10:00:00 GMT";
    const THEN: &str = "Mon, 23 Nov 2026 11:00:00 GMT";
    const LATER: &str = "Mon, 23 Nov 2026 12:00:00 GMT";

    fn stamp() -> Stamp {
        Stamp {
            etag: "\"0x1\"".into(),
            modified: httpdate::parse_http_date(THEN).unwrap(),
        }
    }

    fn conditions(headers: &[(&'static str, &str)]) -> Conditions {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        Conditions::parse(&headers.collect()).unwrap()
    }

    fn outcome(result: Result<(), Refusal>) -> (u16, &'static str) {
        result.map_or_else(
            |refusal| (refusal.status.as_u16(), refusal.code),
            |()| (200, ""),
        )
    }

    #[test]
    fn a_read_goes_on_or_is_told_why_not() {
        for (headers, expected) in [
            (&[][..], (200, "")),
            (&[("if-match", "\"0x1\"")], (200, "")),
            (&[("if-match", "0x1")], (200, "")),
            (&[("if-match", "*")], (200, "")),
            (&[("if-match", "\"0x2\"")], (412, "ConditionNotMet")),
            (&[("if-none-match", "\"0x2\"")], (200, "")),
            (
                &[("if-none-match", "\"0x2\", \"0x1\"")],
                (304, "ConditionNotMet"),
            ),
            (&[("if-none-match", "*")], (400, "UnsatisfiableCondition")),
            (&[("if-modified-since", EARLIER)], (200, "")),
            (&[("if-modified-since", THEN)], (304, "ConditionNotMet")),
            (&[("if-unmodified-since", THEN)], (200, "")),
            (
                &[("if-unmodified-since", EARLIER)],
                (412, "ConditionNotMet"),
            ),
            (
                &[("if-none-match", "\"0x1\""), ("if-modified-since", EARLIER)],
                (200, ""),
            ),
            (
                &[("if-none-match", "\"0x1\""), ("if-modified-since", LATER)],
                (304, "ConditionNotMet"),
            ),
        ] {
            assert_eq!(
                outcome(conditions(headers).check_read(&stamp())),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_write_over_a_blob_goes_on_or_is_told_why_not() {
        for (headers, expected) in [
            (&[][..], (200, "")),
            (&[("if-none-match", "*")], (409, "BlobAlreadyExists")),
            (&[("if-none-match", "\"0x1\"")], (412, "ConditionNotMet")),
            (&[("if-match", "\"0x1\"")], (200, "")),
            (&[("if-match", "\"0x2\"")], (412, "ConditionNotMet")),
            (&[("if-modified-since", LATER)], (412, "ConditionNotMet")),
            (&[("if-unmodified-since", LATER)], (200, "")),
        ] {
            assert_eq!(
                outcome(conditions(headers).check_write(Some(&stamp()))),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_write_where_nothing_is_fails_only_if_it_expects_something() {
        for (headers, expected) in [
            (&[][..], (200, "")),
            (&[("if-none-match", "*")], (200, "")),
            (&[("if-unmodified-since", EARLIER)], (200, "")),
            (&[("if-match", "*")], (412, "ConditionNotMet")),
        ] {
            assert_eq!(
                outcome(conditions(headers).check_write(None)),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_date_that_is_none_is_refused() {
        let headers = HeaderMap::from_iter([(IF_MODIFIED_SINCE, "yesterday".parse().unwrap())]);
        assert_eq!(
            Conditions::parse(&headers).unwrap_err().code,
            "InvalidHeaderValue"
        );
    }
}
