//! Secrets in what a user typed, found before anything is understood: a line
//! that cannot be read is the one that is shown in an error, and its separators
//! may be any. So this looks for names that sound like a secret's, and takes
//! what follows them. Too much rather than too little: what is found here is
//! only ever taken out of texts.

/// What a secret's name has in it, without `-`, `_` and `.`.
const PARTS_OF_NAMES: &[&str] = &[
    "accesskey",
    "accountkey",
    "apikey",
    "authorization",
    "bearer",
    "connectionstring",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "sastoken",
    "secret",
    "sharedkey",
    "signature",
    "token",
];

/// A word of a secret's name, which by itself would be found in harmless words.
const WORDS_OF_NAMES: &[&str] = &["auth", "key", "pass", "sas", "sig"];

/// What the name of a file of secrets ends in: the name of the file is none.
const FILES: &[&str] = &["_file", "_path", "-file", "-path"];

/// Every value in a text that belongs to a name which sounds like a secret's,
/// whatever stands between them and whatever ends it.
pub(crate) fn secrets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(is_of_name).map(|start| at + start) {
        let length = text[start..].find(|c| !is_of_name(c));
        let end = length.map_or(text.len(), |length| start + length);
        if sounds_secret(&text[start..end])
            && let Some(value) = value_after(&text[start..end], &text[end..])
        {
            found.extend(forms(value));
        }
        at = end;
    }
    found
}

/// Whether a name sounds like that of a secret.
pub(crate) fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if FILES.iter().any(|file| name.ends_with(file)) {
        return false;
    }
    let mut words = name.split(['-', '_', '.']);
    let joined = name.replace(['-', '_', '.'], "");
    words.any(|word| WORDS_OF_NAMES.contains(&word))
        || PARTS_OF_NAMES.iter().any(|part| joined.contains(part))
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// What follows a name as its value: behind `=`, `:` or `=>`, spaces and quotes
/// around them, or behind spaces alone where the name has several words, as no
/// word of a sentence has.
fn value_after<'a>(name: &str, rest: &'a str) -> Option<&'a str> {
    let value = rest.trim_start_matches([' ', '\t', '"', '\'', '`']);
    match value.strip_prefix(['=', ':']) {
        Some(value) => Some(value.trim_start_matches([' ', '\t', '"', '\'', '`', '>', '='])),
        None => (value.len() < rest.len() && name.contains(['_', '-'])).then_some(value),
    }
}

/// The value up to what ends a field, and up to what cannot be in a key, a
/// signature or a token.
fn forms(value: &str) -> impl Iterator<Item = String> {
    let upto = |ends: &[char]| value.split(ends).next().unwrap_or_default();
    let field = upto(&[',', '"', '\n', '\r']);
    let word = upto(&[
        ',', ';', '&', '|', ' ', '\t', '\n', '\r', '"', '\'', '`', '<', '>', '(', ')', '{', '}',
    ]);
    // A word that is a pair is a list's first, and each of a list is found by
    // its own name.
    let is_pair = word.trim_end_matches('=').contains('=');
    [Some(field), (!is_pair).then_some(word)]
        .into_iter()
        .flatten()
        .filter(|form| !form.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "U0VDUkVUU0VDUkVU+0VDUkVU/VDUkVU==";

    #[test]
    fn a_secret_is_found_behind_any_separator() {
        for text in [
            "type=azblob,secret_access_key=@",
            "type=azblob;account_url=https://a.example;secret_access_key=@",
            "type=azblob;secret_access_key=@;container=c",
            "type=azblob\naccount_url=https://a.example\nsecret_access_key=@",
            "type: azblob\r\nsecret_access_key: @\r\n",
            "type=azblob secret_access_key=@",
            "type=azblob secret_access_key @",
            "type=azblob\tsecret-access-key\t@",
            "type=azblob&secret_access_key=@&container=c",
            "type=azblob|secret_access_key=@|",
            "type=azblob:secret_access_key:@",
            "{\"secret_access_key\": \"@\"}",
            "secret_access_key => '@'",
            "SECRET_ACCESS_KEY=@",
            "AccountName=a;AccountKey=@;EndpointSuffix=core.example",
            "connection_string=AccountName=a;AccountKey=@",
            "account_url=https://a.example/?sv=2026&sig=@",
            "--secret-access-key=@",
            "session_token=@",
            "password=@",
            "key=@",
        ] {
            let text = text.replace('@', KEY);
            let found = secrets(&text);
            assert!(
                found.iter().any(|secret| secret == KEY),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn what_is_no_secret_is_left() {
        for text in [
            "type=azblob,name=main,container=cache,mode=max",
            "account_url=https://acct.blob.core.windows.net",
            "secret_access_key_file=/run/secrets/key",
            "name=monkey;donkey",
            "a token is missing",
            "secret_access_key",
            "secret_access_key=",
        ] {
            assert_eq!(secrets(text), [""; 0], "{text}");
        }
    }
}
