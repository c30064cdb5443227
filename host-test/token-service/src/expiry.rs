//! The ways in which managed identity endpoints write when a token ends.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

/// How `expires_on` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiresOn {
    /// Unix seconds as a text: most endpoints.
    Text,
    /// Unix seconds as a number.
    Number,
    /// `06/20/2027 02:57:58 +00:00`: App Service on Linux before 2019.
    Date,
    /// `6/20/2027 2:57:58 AM +00:00`: App Service on Windows before 2019.
    TwelveHourDate,
    /// Not at all; `expires_in` says it instead.
    Absent,
}

impl ExpiresOn {
    /// The value, if there is to be one.
    pub(crate) fn write(self, unix_seconds: u64) -> Option<Value> {
        match self {
            Self::Text => Some(unix_seconds.to_string().into()),
            Self::Number => Some(unix_seconds.into()),
            Self::Date => Some(date(unix_seconds, false).into()),
            Self::TwelveHourDate => Some(date(unix_seconds, true).into()),
            Self::Absent => None,
        }
    }
}

fn date(unix_seconds: u64, twelve_hours: bool) -> String {
    let time = i64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let month = u8::from(month);
    let (hour, minute, second) = time.to_hms();
    if twelve_hours {
        let half = if hour < 12 { "AM" } else { "PM" };
        let hour = (hour + 11) % 12 + 1;
        format!("{month}/{day}/{year} {hour}:{minute:02}:{second:02} {half} +00:00")
    } else {
        format!("{month:02}/{day:02}/{year} {hour:02}:{minute:02}:{second:02} +00:00")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_written_in_every_way_that_is_known() {
        for (way, seconds, expected) in [
            (ExpiresOn::Text, 1_561_000_078, Some("1561000078".into())),
            (ExpiresOn::Number, 1_561_000_078, Some(1_561_000_078.into())),
            (
                ExpiresOn::Date,
                1_560_999_478,
                Some("06/20/2019 02:57:58 +00:00".into()),
            ),
            (
                ExpiresOn::TwelveHourDate,
                1_560_999_478,
                Some("6/20/2019 2:57:58 AM +00:00".into()),
            ),
            (
                ExpiresOn::TwelveHourDate,
                1_560_988_800,
                Some("6/20/2019 12:00:00 AM +00:00".into()),
            ),
            (
                ExpiresOn::TwelveHourDate,
                1_561_032_000,
                Some("6/20/2019 12:00:00 PM +00:00".into()),
            ),
            (ExpiresOn::Absent, 1, None),
        ] {
            assert_eq!(way.write(seconds), expected, "{way:?} {seconds}");
        }
    }
}
