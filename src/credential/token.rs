//! A bearer token, and how it is read from an answer of any server.

use std::time::{Duration, SystemTime};

use crate::json::Reader;
use crate::secret::Secret;

/// A token that ends in less than this is to be renewed: a request that carries
/// it takes time, and clocks differ.
pub(super) const MARGIN: Duration = Duration::from_secs(5 * 60);

/// A bearer token.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) expires_at: SystemTime,
    /// From when on a new one should be got, while this one still does.
    pub(super) refresh_at: Option<SystemTime>,
}

impl Token {
    /// Reads the answer of a token endpoint. The reason of a failure holds
    /// nothing of it.
    pub(super) fn parse(json: &[u8], now: SystemTime) -> Result<Self, String> {
        let json = std::str::from_utf8(json).map_err(|_| "it is not text".to_owned())?;
        let (mut secret, mut expires_on, mut expires_in, mut refresh_in) = Default::default();
        let mut reader = Reader::new(json);
        reader.object(|key, reader| {
            let value = scalar(reader.skip()?);
            match key {
                "access_token" => secret = value,
                "expires_on" => expires_on = value,
                "expires_in" => expires_in = value,
                "refresh_in" => refresh_in = value,
                _ => {}
            }
            Ok(())
        })?;
        let secret: String = Option::filter(secret, |token: &String| is_token(token))
            .ok_or("it holds no access_token")?;
        let from_now = |text: Option<String>| {
            let seconds = text?.parse().ok()?;
            now.checked_add(Duration::from_secs(seconds))
        };
        let expires_at = Option::and_then(expires_on, |text: String| moment(&text))
            .or_else(|| from_now(expires_in))
            .ok_or("it does not say when the token expires")?;
        Ok(Self {
            secret: Secret::new(secret),
            expires_at,
            refresh_at: from_now(refresh_in),
        })
    }

    /// Whether it is good for some time yet.
    pub(super) fn is_good(&self, now: SystemTime) -> bool {
        self.expires_at > now + MARGIN
    }

    /// Has it renewed at half of its life, where it lives for more than two
    /// hours and nobody said when: managed identities' tokens live for a day,
    /// and rights that were granted meanwhile show only in a new one.
    pub(super) fn renewed_at_half_life(mut self, now: SystemTime) -> Self {
        let life = self.expires_at.duration_since(now).unwrap_or_default();
        if self.refresh_at.is_none() && life > Duration::from_secs(2 * 60 * 60) {
            self.refresh_at = Some(now + life / 2);
        }
        self
    }
}

/// Whether a text can be in a header as a token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The text of a string or a number, as it is in JSON.
pub(super) fn scalar(json: &str) -> Option<String> {
    match json.bytes().next()? {
        b'"' => Reader::new(json).string().ok(),
        b'0'..=b'9' | b'-' => Some(json.to_owned()),
        _ => None,
    }
}

/// A moment in any of the forms that token endpoints have for it: seconds
/// since the Unix epoch, or a date such as `9/14/2026 7:05:09 PM +00:00` or
/// `2026-09-14T19:05:09Z`.
fn moment(text: &str) -> Option<SystemTime> {
    let seconds = match text.parse() {
        Ok(seconds) => seconds,
        Err(_) => date(text)?,
    };
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The seconds since the Unix epoch of a date.
fn date(text: &str) -> Option<u64> {
    let words = text.split(['T', 'Z', ' ']);
    let mut words = words.filter(|word| !word.is_empty());
    let (day, clock) = (words.next()?, words.next()?);
    let [year, month, day] = match three(day, '/') {
        Some([month, day, year]) => [year, month, day],
        None => three(day, '-')?,
    };
    let whole_seconds = clock.split('.').next()?;
    let [mut hour, minute, second] = three(whole_seconds, ':')?;
    let mut offset = 0;
    for word in words {
        match word {
            "AM" if hour == 12 => hour = 0,
            "PM" if hour < 12 => hour += 12,
            "AM" | "PM" => {}
            zone => {
                let sign = if zone.starts_with('-') { -1 } else { 1 };
                let (hours, minutes) = zone.trim_start_matches(['+', '-']).split_once(':')?;
                offset = sign * (number(hours)? * 60 + number(minutes)?) * 60;
            }
        }
    }
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && (0..24).contains(&hour);
    let days = in_range.then(|| days_since_epoch(year, month, day))?;
    u64::try_from(days * 86400 + hour * 3600 + minute * 60 + second - offset).ok()
}

/// Three numbers and what stands between them.
fn three(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.splitn(3, between);
    Some([
        number(parts.next()?)?,
        number(parts.next()?)?,
        number(parts.next()?)?,
    ])
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok().map(u32::into)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years begin in
/// March here, so that the leap day is their last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        3.. => (year, month - 3),
        _ => (year - 1, month + 9),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn expiry(members: &str) -> Result<u64, String> {
        let json = format!("{{\"access_token\":\"t\",{members}}}");
        let token = Token::parse(json.as_bytes(), NOW)?;
        let since = token.expires_at.duration_since(NOW);
        Ok(since.unwrap().as_secs())
    }

    #[test]
    fn the_end_of_a_token_is_read_in_every_form() {
        for members in [
            r#""expires_on":1789412709"#,
            r#""expires_on":"1789412709","expires_in":"5""#,
            r#""expires_on":"09/14/2026 19:05:09 +00:00""#,
            r#""expires_on":"9/14/2026 7:05:09 PM +00:00""#,
            r#""expires_on":"9/14/2026 21:05:09 +02:00""#,
            r#""expires_on":"2026-09-14T19:05:09.123Z""#,
            r#""expires_in":1789412709"#,
            r#""expires_on":null,"expires_in":"1789412709""#,
        ] {
            assert_eq!(expiry(members), Ok(1_789_412_709), "{members}");
        }
        assert_eq!(
            expiry(r#""expires_on":"2/29/2024 0:0:0""#),
            Ok(1_709_164_800)
        );
    }

    #[test]
    fn an_answer_without_a_token_or_its_end_is_refused_and_not_shown() {
        for json in [
            r#"{"access_token":"hunter2"}"#,
            r#"{"access_token":"hunter2","expires_on":"soon"}"#,
            r#"{"access_token":"hunter2\n","expires_in":5}"#,
            r#"{"expires_in":5}"#,
            "hunter2",
            "",
        ] {
            let reason = Token::parse(json.as_bytes(), NOW).err().unwrap();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }

    #[test]
    fn a_long_lived_token_is_renewed_at_half_of_its_life_unless_it_says_when() {
        let parse = |members: &str| {
            let json = format!("{{\"access_token\":\"t\",{members}}}");
            Token::parse(json.as_bytes(), NOW)
                .unwrap()
                .renewed_at_half_life(NOW)
        };
        let at = |seconds| Some(NOW + Duration::from_secs(seconds));
        assert_eq!(parse(r#""expires_in":86400"#).refresh_at, at(43200));
        assert_eq!(parse(r#""expires_in":7200"#).refresh_at, None);
        let told = parse(r#""expires_in":86400,"refresh_in":"60""#);
        assert_eq!(told.refresh_at, at(60));
    }
}
