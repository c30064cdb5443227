//! Credentials as a user may give them, and what those who give tokens may
//! answer.

use std::time::{Duration, SystemTime};

#[cfg(feature = "certificates")]
pub use super::certificate::fuzzing::certificate;

use super::asking::Answer;
use super::token::Token;
use super::{ConnectionString, Sas};
use crate::config::fuzzing::assert_is_contacted;
use crate::fuzzing::SECRET;
use crate::secret::Secret;
use crate::transport::Headers;

/// The answer of a token endpoint: a token that is accepted can stand in a
/// header and ends, and a refusal is one line without what was sent.
pub fn token_answer(data: &[u8]) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_442_462);
    match Token::parse(data, now) {
        Ok(token) => {
            let text = token.secret.expose();
            assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
            assert!(token.expires_at >= SystemTime::UNIX_EPOCH);
            assert!(token.is_good(now) || token.expires_at <= now + super::token::MARGIN);
            let renewed = token.renewed_at_half_life(now);
            assert!(renewed.refresh_at.is_none_or(|at| at >= now));
        }
        Err(reason) => assert!(!reason.contains(SECRET), "{reason}"),
    }
    let answer = Answer {
        status: 400,
        headers: Headers::default(),
        body: data.to_vec(),
    };
    let refusal = answer.refusal(&[&Secret::new(SECRET.to_owned())]);
    assert!(!refusal.contains(SECRET), "{refusal}");
    assert!(!refusal.contains(char::is_control), "{refusal:?}");
    assert!(refusal.chars().count() < 2000, "{refusal}");
}

/// A connection string or a SAS token: what is accepted reaches what it names,
/// goes on the wire as it is, and is not shown.
pub fn connection_string(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match ConnectionString::parse(text) {
        Ok(parsed) => {
            assert!(parsed.account().is_none_or(|account| !account.is_empty()));
            assert_is_contacted(&parsed.place.url);
        }
        Err(reason) => assert!(!reason.contains(SECRET), "{reason}"),
    }
    match Sas::parse(text) {
        Ok(sas) => assert_is_sent(&sas),
        Err(reason) => assert!(!reason.contains(SECRET), "{reason}"),
    }
}

fn assert_is_sent(sas: &Sas) {
    let query = sas.query();
    let url = url::Url::parse(&format!("https://host/container?{}", query.expose()))
        .expect("a URL can hold it");
    assert_eq!(
        (url.host_str(), url.path(), url.fragment()),
        (Some("host"), "/container", None)
    );
    // What a client escapes more is the same to who reads it.
    let meaning = |query: &str| percent_encoding::percent_decode_str(query).collect::<Vec<u8>>();
    assert_eq!(url.query().map(meaning), Some(meaning(query.expose())));
    let shown = sas.describe();
    let is_elsewhere = ["sp=", "se="].iter().any(|name| {
        let mut fields = query.expose().split('&');
        fields.any(|field| field.starts_with(name))
    });
    assert!(is_elsewhere || !shown.contains(SECRET), "{shown}");
}
