//! One question to one that gives tokens, asked again where that may help.

use std::time::Duration;

use crate::json::Reader;
use crate::secret::Secret;
use crate::transport::{Event, Headers, Request, Timeouts, Transport, TransportError};

use super::token::scalar;

/// What is read of an answer at most, in bytes; tokens have some kilobytes.
const MAX_ANSWER: usize = 256 * 1024;

/// How long a connection may take to stand, and an answer to come.
pub(super) const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(30),
    between_bytes: Duration::from_secs(30),
};

/// How often and when to ask again.
pub(super) struct Patience {
    /// How often a question is asked again.
    pub(super) retries: u32,
    /// The first wait; each later one is twice as long.
    pub(super) first: Duration,
    pub(super) longest: Duration,
    /// Whether a refusal may pass.
    pub(super) may_pass: fn(&Answer) -> bool,
}

/// The patience of Azure's SDKs with Microsoft Entra.
pub(super) const USUAL: Patience = Patience {
    retries: 3,
    first: Duration::from_millis(800),
    longest: Duration::from_secs(60),
    may_pass: |answer| matches!(answer.status, 408 | 429 | 500 | 502 | 503 | 504),
};

/// One that is asked once.
pub(super) const NONE: Patience = Patience {
    retries: 0,
    ..USUAL
};

/// An answer, read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}

/// Asks until there is an answer that will not pass.
pub(super) async fn ask<T: Transport>(
    transport: &T,
    request: &Request,
    patience: &Patience,
) -> Result<Answer, TransportError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let answer = ask_once(transport, request).await;
        let (reason, wished) = match &answer {
            Ok(answer) if (patience.may_pass)(answer) => {
                let wished = answer.headers.get("retry-after");
                let wished = wished.and_then(|text| text.trim().parse().ok());
                (answer.status.to_string(), wished.map(Duration::from_secs))
            }
            Err(TransportError::Broken(why)) => (why.clone(), None),
            _ => return answer,
        };
        if attempt > patience.retries {
            return answer;
        }
        let doubled = patience.first.saturating_mul(1 << (attempt - 1).min(16));
        let delay = wished.unwrap_or(doubled).min(patience.longest);
        transport.emit(Event::Retrying {
            request: request.summary(),
            reason,
            attempt,
            delay,
        });
        transport.sleep(delay).await;
    }
}

async fn ask_once<T: Transport>(
    transport: &T,
    request: &Request,
) -> Result<Answer, TransportError> {
    let response = transport.send(request).await?;
    let body = transport.collect(response.body, MAX_ANSWER).await?;
    Ok(Answer {
        status: response.status,
        headers: response.headers,
        body,
    })
}

/// Why there was no whole answer, for people.
pub(super) fn why(error: &TransportError) -> String {
    match error {
        TransportError::Denied => "the host does not allow requests to this address".to_owned(),
        TransportError::TooLong(limit) => format!("the answer is longer than {limit} bytes"),
        TransportError::Broken(text)
        | TransportError::Unusable(text)
        | TransportError::Content(text) => text.clone(),
    }
}

/// What a refusal says, in any of the forms that there are.
#[derive(Default)]
struct Said {
    code: String,
    message: String,
    correlation_id: String,
}

impl Answer {
    /// Whether it is a token or a refusal in the form that OAuth 2 gives them,
    /// rather than what another server would say.
    pub(super) fn is_of_oauth(&self) -> bool {
        let json = std::str::from_utf8(&self.body).unwrap_or_default();
        let (mut has_token, mut has_error, mut has_words) = (false, false, false);
        let read = Reader::new(json).object(|key, reader| {
            let is_text = scalar(reader.skip()?).is_some();
            match key {
                "access_token" => has_token = is_text,
                "error" => has_error = is_text,
                "error_description" => has_words = is_text,
                _ => {}
            }
            Ok(())
        });
        read.is_ok() && (has_token || has_error && has_words)
    }

    /// Whether the body is a page for people.
    pub(super) fn is_page(&self) -> bool {
        let kind = self.headers.get("content-type").unwrap_or_default();
        kind.contains("html") || self.body.trim_ascii_start().starts_with(b"<")
    }

    /// The refusal in words: status, code, message and correlation id, without
    /// the secrets that were sent.
    pub(super) fn refusal(&self, secrets: &[&Secret]) -> String {
        let said = match std::str::from_utf8(&self.body) {
            Ok(json) => said(json),
            Err(_) => Said::default(),
        };
        let mut text = self.status.to_string();
        if !said.code.is_empty() {
            text.push_str(&format!(" {}", said.code));
        }
        if !said.message.is_empty() {
            text.push_str(&format!(": {}", said.message.trim_end_matches('.')));
        }
        if !said.correlation_id.is_empty() {
            text.push_str(&format!(" (correlation id {})", said.correlation_id));
        }
        // One who asks may be answered with the question.
        for secret in secrets.iter().filter(|secret| secret.expose().len() > 3) {
            text = text.replace(secret.expose(), "[redacted]");
        }
        text
    }
}

/// Reads a refusal; what is none of the forms says nothing.
fn said(json: &str) -> Said {
    let mut said = Said::default();
    let mut reader = Reader::new(json);
    let _ = reader.object(|key, reader| {
        let value = reader.skip()?;
        match (key, scalar(value)) {
            ("error" | "code", Some(text)) => said.code = one_line(&text),
            ("error_description" | "message", Some(text)) => {
                // Entra's own words; the ids and the time follow them.
                let words = text.split(" Trace ID:").next().unwrap_or_default();
                said.message = one_line(words);
            }
            ("correlation_id", Some(text)) => said.correlation_id = one_line(&text),
            ("error", None) => {
                let inner = self::said(value);
                (said.code, said.message) = (inner.code, inner.message);
            }
            _ => {}
        }
        Ok(())
    });
    said
}

/// The first line of a text, not too long.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(500)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str, secrets: &[&Secret]) -> String {
        let answer = Answer {
            status: 401,
            headers: Headers::default(),
            body: body.as_bytes().to_vec(),
        };
        answer.refusal(secrets)
    }

    #[test]
    fn a_refusal_says_code_message_and_correlation_id_in_every_form() {
        for (body, text) in [
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: Wrong secret. Trace ID: t Correlation ID: c Timestamp: 2026","correlation_id":"c-1"}"#,
                "401 invalid_client: AADSTS7000215: Wrong secret (correlation id c-1)",
            ),
            (r#"{"error":{"code":"Bad","message":"No."}}"#, "401 Bad: No"),
            (
                r#"{"statusCode":400,"message":"No identity"}"#,
                "401: No identity",
            ),
            ("<html>", "401"),
        ] {
            assert_eq!(refusal(body, &[]), text);
        }
    }

    #[test]
    fn a_refusal_that_repeats_what_was_sent_is_shown_without_it() {
        let secret = Secret::new("hunter2".to_owned());
        let body = r#"{"error":"bad","error_description":"hunter2 is wrong"}"#;
        assert_eq!(refusal(body, &[&secret]), "401 bad: [redacted] is wrong");
    }
}
