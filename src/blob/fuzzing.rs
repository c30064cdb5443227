//! What a store, or who stands in its place, may answer.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::failure::{self, Cause, Refusal};
use super::properties::State;
use super::retry::{self, Attempt};
use super::sending;
use super::xml::{self, Listing};
use crate::transport::Headers;

/// An error or a listing: a listing that is accepted reads back the same.
pub fn xml(data: &[u8]) {
    let told = xml::error(data);
    let details = told.details.iter();
    let details: usize = details.map(|(name, text)| name.len() + text.len()).sum();
    assert!(told.code.len() + told.message.len() + details <= data.len());
    if let Ok(mut listing) = xml::listing(data) {
        assert!(listing.blobs.len() <= data.len() / "<Blob/>".len());
        // What cannot be read is not written as such.
        for blob in &mut listing.blobs {
            blob.state = State::default();
        }
        assert_eq!(xml::listing(written(&listing).as_bytes()), Ok(listing));
    }
}

fn written(listing: &Listing) -> String {
    let mut xml = String::from("<EnumerationResults><Blobs>");
    for blob in &listing.blobs {
        let key = utf8_percent_encode(&blob.key, NON_ALPHANUMERIC);
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(blob.modified);
        let modified = httpdate::fmt_http_date(modified);
        let _ = write!(
            xml,
            "<Blob><Name Encoded=\"true\">{key}</Name><Properties>\
             <Content-Length>{}</Content-Length><Last-Modified>{modified}</Last-Modified>",
            blob.size
        );
        if !blob.etag.is_empty() {
            let _ = write!(xml, "<Etag>{}</Etag>", escaped(&blob.etag));
        }
        if let Some(used) = blob.used {
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
            let used = httpdate::fmt_http_date(used);
            let _ = write!(xml, "<LastAccessTime>{used}</LastAccessTime>");
        }
        xml.push_str("</Properties></Blob>");
    }
    xml.push_str("</Blobs>");
    if let Some(next) = &listing.next {
        let _ = write!(xml, "<NextMarker>{}</NextMarker>", escaped(next));
    }
    xml + "</EnumerationResults>"
}

/// A text with what XML would take for something else written as numbers.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '\r' | '\n' | '\u{85}' | '\u{2028}' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            plain => escaped.push(plain),
        }
    }
    escaped
}

/// Header fields, one `name: value` a line: no server has us wait for longer
/// than we want to, nor beyond the end of our patience.
pub fn retry_after(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut headers = Headers::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        headers.push(name, value);
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_442_462);
    let date = headers.get("date");
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    if let Some(date) = date {
        let again = httpdate::parse_http_date(&httpdate::fmt_http_date(date));
        assert_eq!(again.ok(), Some(date));
        let ahead = sending::ahead(date, now);
        assert_eq!(sending::shift(now, ahead), date);
        // A later request still has a date.
        httpdate::fmt_http_date(sending::shift(now + Duration::from_secs(60), ahead));
    }
    let cause = Cause::Refused(Box::new(Refusal {
        status: 503,
        retry_after: failure::retry_after(&headers, date.unwrap_or(now)),
        ..Refusal::default()
    }));
    for (sent, seconds) in [(1, 0), (2, 1), (5, 59), (5, 60), (6, 0), (u32::MAX, 0)] {
        let attempt = Attempt {
            sent,
            failing_for: Duration::from_secs(seconds),
            max_retries: 5,
            stall_timeout: Duration::from_secs(60),
            random: u64::MAX,
        };
        let wait = retry::wait(&cause, &attempt);
        assert!(wait.is_none() || sent <= attempt.max_retries);
        assert!(wait.is_none_or(|wait| attempt.failing_for + wait <= attempt.stall_timeout));
    }
}
