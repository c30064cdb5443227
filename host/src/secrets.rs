//! What of a secret must not be shown, and where it is in a text. Knows no store:
//! only that keys and signatures are in URLs and in lists of
//! `name=value`, plain or percent-encoded, and what a JSON Web Token looks like.

use std::ops::Range;

use crate::typed;

/// Secrets shorter than this are left alone, in bytes: replacing every `a` in
/// a text would tell more than it hides.
const SHORTEST: usize = 6;
/// A shorter part of a secret is neither a key nor a signature, but a version or a
/// permission, in bytes.
const SHORTEST_PART: usize = 16;
/// A lower-case part up to this length is the name of an account or the end of
/// a host rather than a key, in bytes.
const LONGEST_NAME: usize = 24;

/// The names under which a URL's query holds a secret, whatever it looks like.
const SECRET_NAMES: [&str; 7] = [
    "sig",
    "signature",
    "token",
    "key",
    "secret",
    "password",
    "code",
];

/// The secret, and each part of it that is secret by itself, without percent
/// encoding.
///
/// A plugin may undo what happened to it on its way: quotation marks around it,
/// `&` as an entity or an escape, percent encoding that was applied twice, `+`
/// that became a space. So what comes of that is secret too.
pub(crate) fn forms(secret: &str) -> Vec<Vec<u8>> {
    let whole = secret.trim();
    let mut texts = vec![whole.to_owned()];
    let unquoted = whole.trim_matches(['"', '\'', '`', '\u{201c}', '\u{201d}']);
    let plain = unquoted
        .trim()
        .replace("&amp;", "&")
        .replace("\\u0026", "&");
    texts.push(plain.clone());
    // Twice: what was encoded twice, and what of that is a query of its own.
    let mut text = plain;
    for _ in 0..2 {
        let bytes = decoded(&text).map(|(byte, _)| byte).collect();
        match String::from_utf8(bytes) {
            Ok(decoded) if decoded != text => text = decoded,
            _ => break,
        }
        texts.push(text.clone());
    }
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for text in texts {
        forms.push(decoded(&text).map(|(byte, _)| byte).collect());
        forms.extend(parts(&text));
        // In a query a space was a `+`, which base64 has.
        if let Some(signature) =
            (text.contains('&') && text.contains(' ')).then(|| text.replace(' ', "+"))
        {
            forms.extend(parts(&signature));
        }
        if let Some((_, query)) = text.split_once('?') {
            forms.extend(named_parts(query).map(String::into_bytes));
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    let mut seen = std::collections::HashSet::new();
    forms.retain(|form| seen.insert(form.clone()));
    forms
}

/// The values in a query that its names say are secret.
fn named_parts(query: &str) -> impl Iterator<Item = String> {
    let fields = query.split('&').filter_map(|field| field.split_once('='));
    let secret = fields.filter(|(name, _)| {
        let mut names = SECRET_NAMES.iter();
        names.any(|secret| name.eq_ignore_ascii_case(secret))
    });
    secret.filter_map(|(_, value)| {
        let bytes = decoded(value).map(|(byte, _)| byte).collect();
        String::from_utf8(bytes).ok()
    })
}

/// The parts of a value that are secret by themselves, without percent
/// encoding: in a connection string the key, in a signed URL the signature.
fn parts(value: &str) -> impl Iterator<Item = Vec<u8>> {
    let pairs = value.split(|c: char| "&;?,\"'".contains(c) || c.is_whitespace());
    pairs.flat_map(|pair| {
        // Padding is no separator, and a value may be a pair itself.
        let end = pair.trim_end_matches('=').len();
        let values = pair[..end]
            .match_indices('=')
            .map(|(at, _)| &pair[at + 1..]);
        let whole_line = (!pair[..end].contains('=')).then_some(pair);
        values
            .chain(whole_line)
            .filter(|value| is_secret_part(value))
            .map(|value| decoded(value).map(|(byte, _)| byte).collect())
            .collect::<Vec<_>>()
    })
}

/// What may be secret in a value that is not: in a URL, and behind a name that
/// sounds like a secret's.
pub(crate) fn within(value: &str) -> Vec<String> {
    let mut secrets = of_url(value);
    secrets.extend(typed::secrets(value));
    secrets
}

/// The parts of a URL that may be secret although the URL is not: what its
/// query holds, and a password before its host.
fn of_url(value: &str) -> Vec<String> {
    let query = value.split_once('?').map(|(_, query)| query.to_owned());
    let authority = value.split_once("://").map_or("", |(_, rest)| {
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    });
    let password = authority
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .map(|(_, password)| password.to_owned());
    let by_form = query.iter().flat_map(|query| parts(query));
    let by_form = by_form.filter_map(|part| String::from_utf8(part).ok());
    let by_name = query.iter().flat_map(|query| named_parts(query));
    let mut secrets: Vec<String> = Vec::new();
    for secret in by_form.chain(by_name).chain(password) {
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    secrets
}

/// Tells a key from what stands beside it: a URL, a time, a name.
fn is_secret_part(part: &str) -> bool {
    // A host's name is longer, and has dots, which no key has in lower case.
    let is_name = (part.len() <= LONGEST_NAME || part.contains('.'))
        && part
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:/".contains(&b));
    let mut head = part.bytes();
    let is_time = part.len() <= 32
        && head.by_ref().take(4).all(|b| b.is_ascii_digit())
        && head.next() == Some(b'-')
        && head.by_ref().take(2).all(|b| b.is_ascii_digit())
        && head.next() == Some(b'-');
    part.len() >= SHORTEST_PART && !is_name && !is_time && !part.contains("://")
}

/// Where a secret without percent encoding is in a text, no matter which of its
/// bytes are percent-encoded there.
pub(crate) fn occurrences(text: &str, secret: &[u8]) -> Vec<Range<usize>> {
    let (bytes, at): (Vec<u8>, Vec<Range<usize>>) = decoded(text).unzip();
    let mut found = find(&bytes, secret)
        .map(|start| at[start].start..at[start + secret.len() - 1].end)
        .collect::<Vec<_>>();
    // A secret may hold what looks like an escape and is none.
    found.extend(find(text.as_bytes(), secret).map(|start| start..start + secret.len()));
    // An escape may stand for a part of a character only; nothing is cut there.
    found.retain(|range| text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
    found
}

fn find(bytes: &[u8], wanted: &[u8]) -> impl Iterator<Item = usize> {
    let starts = 0..(bytes.len() + 1).saturating_sub(wanted.len());
    let is_there = move |start: &usize| {
        !wanted.is_empty() && bytes[*start] == wanted[0] && bytes[*start..].starts_with(wanted)
    };
    starts.filter(is_there)
}

/// The bytes of a text with percent encoding undone, each with where it stands.
fn decoded(text: &str) -> impl Iterator<Item = (u8, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        let digit = |offset: usize| char::from(*bytes.get(at + offset)?).to_digit(16);
        let (byte, length) = match (byte, digit(1), digit(2)) {
            // Two hex digits are at most 255.
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
            _ => (byte, 1),
        };
        at += length;
        Some((byte, at - length..at))
    })
}

/// Where JSON Web Tokens are in a text, no matter who made them: three parts of
/// base64url with dots between, the first of which encodes `{"`.
pub(crate) fn tokens(text: &str) -> Vec<Range<usize>> {
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let bytes = text.as_bytes();
    let part = |start: usize| {
        let rest = bytes.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|b| is_base64url(**b)).count();
        (length > 0).then_some(start + length)
    };
    text.match_indices("eyJ")
        .filter(|(start, _)| *start == 0 || !is_base64url(bytes[start - 1]))
        .filter_map(|(start, _)| {
            let header = part(start)?;
            let payload = bytes
                .get(header)
                .filter(|b| **b == b'.')
                .and_then(|_| part(header + 1))?;
            let end = bytes
                .get(payload)
                .filter(|b| **b == b'.')
                .and_then(|_| part(payload + 1))?;
            Some(start..end)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(secret: &str) -> Vec<String> {
        let forms = forms(secret).into_iter();
        forms
            .map(|form| String::from_utf8(form).expect("text"))
            .collect()
    }

    #[test]
    fn a_connection_string_is_secret_in_its_key_and_not_in_its_names() {
        let key = "c2VjcmV0LWtleS1vZi1zb21lLWxlbmd0aA==";
        let text = format!(
            "Protocol=https;Name=myaccount0123456789;Key={key};\
             Endpoint=https://myaccount0123456789.blob.example.net/;Suffix=core.example.net"
        );
        assert_eq!(texts(&text), [text.clone(), key.to_owned()]);
    }

    #[test]
    fn a_pair_in_a_pair_is_taken_apart() {
        let forms =
            texts("Endpoint=https://a.example;Signature=sig=QWxhZGRpbjpvcGVuIHNlc2FtZQ%3D%3D");
        assert!(
            forms.contains(&"QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned()),
            "{forms:?}"
        );
        assert!(
            !forms.iter().any(|form| form == "https://a.example"),
            "{forms:?}"
        );
    }

    #[test]
    fn a_signed_url_is_secret_in_its_query_and_its_password_alone() {
        let url = "https://me:pass-word@acct.example/c?sv=2026-02-06&se=2026-11-23T16:00:00Z\
                   &sig=Zm9vYmFyYmF6cXV4Xy8r";
        assert_eq!(of_url(url), ["Zm9vYmFyYmF6cXV4Xy8r", "pass-word"]);
        assert!(of_url("https://acct.example:8080/container").is_empty());
    }

    #[test]
    fn a_signature_in_a_url_is_secret_whatever_it_looks_like_and_the_host_is_not() {
        for address in [
            "https://acct0123456789.blob.example.net/cache",
            "acct0123456789.blob.example.net/cache",
            "http://acct.blob.example.net:8080",
        ] {
            let url = format!("{address}?sv=2026-02-06&sp=rwdl&sig=abcdef0123");
            assert_eq!(of_url(&url), ["abcdef0123"], "{url}");
            let forms = texts(&url);
            let shown = |form: &String| *form != url && form.contains("acct");
            assert!(!forms.iter().any(shown), "{forms:?}");
            assert!(forms.contains(&"abcdef0123".to_owned()), "{forms:?}");
        }
    }

    #[test]
    fn a_secret_is_known_as_it_is_once_a_plugin_has_mended_it() {
        let signature = "QWxhZGRpbj+pvcGVuIHNlc2FtZQ==";
        let token = "sv=2026-02-06&sig=QWxhZGRpbj%2BpvcGVuIHNlc2FtZQ%3D%3D";
        for given in [
            format!("\"{token}\"\n"),
            format!("'{token}'"),
            token.replace('%', "%25"),
            token.replace('&', "&amp;"),
            token.replace('&', "\\u0026"),
            token.replace("%2B", "+"),
            token.replace("%2B", " "),
            token.replace("%2B", "%20"),
            token
                .replace('=', "%3D")
                .replace('&', "%26")
                .replace("%2B", "%252B"),
            format!("https://acct.example/c?{token}"),
        ] {
            let forms = texts(&given);
            let is_known = forms
                .iter()
                .any(|form| signature.starts_with(form) && form.len() > 24);
            assert!(is_known, "{given}: {forms:?}");
        }
        let key = "'c2VjcmV0LWtleS1vZi1zb21lLWxlbmd0aA=='";
        let forms = texts(key);
        assert!(
            forms.contains(&key.trim_matches('\'').to_owned()),
            "{forms:?}"
        );
    }

    #[test]
    fn the_lines_of_a_private_key_are_secret_each() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj";
        let forms = texts(&format!(
            "-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n"
        ));
        assert!(forms.contains(&line.to_owned()));
        assert!(
            !forms.iter().any(|form| form.starts_with("-----END")),
            "{forms:?}"
        );
    }

    #[test]
    fn what_is_too_short_to_hide_is_left() {
        assert!(forms("abc").is_empty());
        assert!(forms("").is_empty());
    }
}
