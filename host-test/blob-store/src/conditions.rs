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

    /// The service takes one tag in a write.
    fn are_several(&self) -> bool {
        matches!(self, Self::OneOf(tags) if tags.len() > 1)
    }

    fn hold(&self, stamp: &Stamp) -> bool {
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

    /// Whether a read of what is there (`None`: nothing) may go on.
    pub fn check_read(&self, stamp: Option<&Stamp>) -> Result<(), Refusal> {
        if self.if_none_match == Some(Tags::Any) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "UnsatisfiableCondition",
                "A read cannot ask that the blob does not exist.",
            ));
        }
        let matches = self
            .if_match
            .as_ref()
            .is_none_or(|tags| stamp.is_some_and(|stamp| tags.hold(stamp)));
        let old_enough = self
            .unmodified_since
            .zip(stamp)
            .is_none_or(|(date, stamp)| stamp.modified <= date);
        if !matches || !old_enough {
            return Err(Refusal::condition_not_met());
        }
        let Some(stamp) = stamp else { return Ok(()) };
        let differs = self.if_none_match.as_ref().map(|tags| !tags.hold(stamp));
        let newer = self.modified_since.map(|date| stamp.modified > date);
        // Where both stand, one that holds is enough.
        match (differs, newer) {
            (None, None) => Ok(()),
            (Some(true), _) | (_, Some(true)) => Ok(()),
            _ => Err(Refusal::not_modified()),
        }
    }

    /// Whether a blob may be put in the place of what is there.
    pub fn check_put(&self, stamp: Option<&Stamp>) -> Result<(), Refusal> {
        if stamp.is_some() && self.if_none_match == Some(Tags::Any) {
            return Err(Refusal::blob_exists());
        }
        self.check_write(stamp)
    }

    /// Whether what is there may be changed. Unlike for reads, a tag decides where a date stands
    /// beside it, and other pairs are refused.
    pub fn check_write(&self, stamp: Option<&Stamp>) -> Result<(), Refusal> {
        let expects_old = self.if_match.is_some() || self.unmodified_since.is_some();
        let expects_new = self.if_none_match.is_some() || self.modified_since.is_some();
        let several = [&self.if_match, &self.if_none_match]
            .into_iter()
            .flatten()
            .any(Tags::are_several);
        if several || (expects_old && expects_new) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "MultipleConditionHeadersNotSupported",
                "A write takes If-Match or If-None-Match with one ETag, a date instead or the date that goes with it.",
            ));
        }
        let holds = match (stamp, &self.if_match, &self.if_none_match) {
            (None, if_match, _) => if_match.is_none(),
            (Some(stamp), Some(tags), _) => tags.hold(stamp),
            (Some(stamp), None, Some(tags)) => !tags.hold(stamp),
            (Some(stamp), None, None) => {
                self.unmodified_since
                    .is_none_or(|date| stamp.modified <= date)
                    && self.modified_since.is_none_or(|date| stamp.modified > date)
            }
        };
        if holds {
            Ok(())
        } else {
            Err(Refusal::condition_not_met())
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
                outcome(conditions(headers).check_read(Some(&stamp()))),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_read_of_nothing_is_told_so_only_if_it_expects_nothing_else() {
        for (headers, expected) in [
            (&[][..], (200, "")),
            (&[("if-none-match", "\"0x1\"")], (200, "")),
            (&[("if-match", "*")], (412, "ConditionNotMet")),
            (&[("if-none-match", "*")], (400, "UnsatisfiableCondition")),
        ] {
            assert_eq!(
                outcome(conditions(headers).check_read(None)),
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
            (
                &[("if-match", "\"0x1\""), ("if-unmodified-since", EARLIER)],
                (200, ""),
            ),
            (
                &[("if-match", "\"0x1\""), ("if-none-match", "*")],
                (409, "BlobAlreadyExists"),
            ),
            (
                &[("if-match", "\"0x1\""), ("if-modified-since", EARLIER)],
                (400, "MultipleConditionHeadersNotSupported"),
            ),
            (
                &[("if-match", "\"0x1\", \"0x2\"")],
                (400, "MultipleConditionHeadersNotSupported"),
            ),
        ] {
            assert_eq!(
                outcome(conditions(headers).check_put(Some(&stamp()))),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_removal_that_expects_nothing_to_be_there_fails() {
        let result = conditions(&[("if-none-match", "*")]).check_write(Some(&stamp()));
        assert_eq!(outcome(result), (412, "ConditionNotMet"));
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
                outcome(conditions(headers).check_put(None)),
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
