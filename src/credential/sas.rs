//! A shared access signature: what somebody who may, signed for us. It is in
//! the query of every request, and says itself what it allows.
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::mistaken;
use crate::secret::{Secret, unquoted};
use crate::transport::QUERY;

/// A SAS token.
pub(crate) struct Sas(Secret);

/// What a connection string calls a SAS token.
const FIELD: &str = "SharedAccessSignature=";

impl Sas {
    /// Reads a SAS token as Azure shows it, with or without its `?`, or says
    /// why it is not one, without showing it.
    ///
    /// What happens to tokens on their way through shells, forms and files is
    /// undone where only one token can have been meant: quotation marks, `&`
    /// as an entity of XML or an escape of JSON, percent-encoding that was
    /// applied once more or undone.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let given = unquoted(text);
        let mut text = given.replace("&amp;", "&").replace("\\u0026", "&");
        if let Some(start) = text.get(..FIELD.len())
            && start.eq_ignore_ascii_case(FIELD)
        {
            text.drain(..FIELD.len());
        }
        // All of it was encoded once more, `=` and `&` included.
        for _ in 0..2 {
            if field(&text, "sig").is_none() && text.contains('%') {
                text = decoded(&text);
            }
        }
        let mut signature = decoded(field(&text, "sig").unwrap_or_default());
        if signature.contains('%') {
            text = text.replace("%25", "%");
            signature = decoded(&signature);
        }
        if signature.is_empty() {
            const NONE: &str = "not a SAS token, which is a query such as sv=…&sp=…&se=…&sig=…";
            let is_cut = field(&text, "sig").is_some();
            return Err(mistaken(given).filter(|_| !is_cut).unwrap_or(NONE));
        }
        // In a query `+` means a space, and a signature has none.
        let signature = signature.replace(' ', "+");
        let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        if !signature.bytes().all(is_base64) {
            return Err("not a SAS token: its signature (sig) is not base64. Copy it again");
        }
        let text = text.trim_start_matches(['?', '&']);
        let fields = text.split('&').filter(|field| !field.is_empty());
        // Of a container's address, these say what to do with it.
        let fields = fields.filter(|f| !f.starts_with("restype=") && !f.starts_with("comp="));
        let mut token = String::new();
        for field in fields {
            if !token.is_empty() {
                token.push('&');
            }
            match field.starts_with("sig=") {
                true => {
                    token.push_str("sig=");
                    token.extend(utf8_percent_encode(&signature, QUERY));
                }
                false => token.push_str(field),
            }
        }
        let is_query = |b: u8| b.is_ascii_graphic() && !b"\"#<>?\\^`{|}".contains(&b);
        match token.bytes().all(is_query) {
            true => Ok(Self(Secret::new(token))),
            false => Err("not a SAS token: it has characters that must be percent-encoded"),
        }
    }

    /// The token as it is in a query.
    pub(super) fn query(&self) -> Secret {
        self.0.clone()
    }

    /// What it allows and until when, where it says so itself.
    pub(super) fn describe(&self) -> String {
        let mut text = String::from("a SAS token");
        let kind = match (self.field("ss"), self.field("skoid")) {
            (Some(_), _) => "of the account",
            (_, Some(_)) => "delegated by a user",
            _ => "of the service",
        };
        text.push_str(&format!(" {kind}"));
        for (name, what) in [("sp", "permissions"), ("se", "until")] {
            if let Some(value) = self.field(name) {
                text.push_str(&format!(", {what} {}", decoded(value)));
            }
        }
        text
    }

    /// Whether it allows blobs to be made and not to be replaced, as far as it
    /// says so itself: a stored policy may say it in its place.
    pub(crate) fn cannot_replace(&self) -> bool {
        self.field("sp")
            .is_some_and(|allowed| allowed.contains('c') && !allowed.contains('w'))
    }

    fn field(&self, name: &str) -> Option<&str> {
        field(self.0.expose(), name)
    }
}

/// The value of a field of a query, as it is there.
fn field<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = query.split(['?', '&']);
    fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

/// A text with one layer of percent-encoding taken off.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_with_or_without_its_question_mark_and_says_what_it_allows() {
        for text in [
            "?sv=2024-11-04&sr=c&sp=rcwdl&se=2026-01-01T00%3A00%3A00Z&sig=abc%2B%3D",
            " sv=2024-11-04&sr=c&sp=rcwdl&se=2026-01-01T00%3A00%3A00Z&sig=abc%2B%3D\n",
        ] {
            let sas = Sas::parse(text).unwrap();
            assert!(sas.query().expose().starts_with("sv="));
            assert_eq!(
                sas.describe(),
                "a SAS token of the service, permissions rcwdl, until 2026-01-01T00:00:00Z"
            );
        }
    }

    #[test]
    fn what_a_token_went_through_on_its_way_is_undone_where_one_token_can_be_meant() {
        const MEANT: &str = "sv=2024-11-04&se=2026-01-01T00%3A00%3A00Z&sp=rw&sig=a%2Bb%2Fc%3D";
        for text in [
            MEANT.to_owned(),
            format!("\"{MEANT}\"\n"),
            format!("'?{MEANT}&'"),
            MEANT.replace('&', "&amp;"),
            MEANT.replace('&', "\\u0026"),
            // Decoded, in part or whole, and once more decoded as a form.
            MEANT
                .replace("%2B", "+")
                .replace("%2F", "/")
                .replace("%3D", "="),
            MEANT.replace("%2B", " "),
            // Encoded once more, value by value or whole.
            MEANT.replace('%', "%25"),
            utf8_percent_encode(MEANT, QUERY).to_string(),
            format!("SharedAccessSignature={MEANT}"),
            format!("restype=container&comp=list&{MEANT}"),
        ] {
            let sas = Sas::parse(&text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!(sas.query().expose(), MEANT, "{text}");
        }
    }

    #[test]
    fn a_token_that_lets_blobs_be_made_but_not_replaced_is_known() {
        for (permissions, cannot) in [("rc", true), ("racwdl", false), ("r", false), ("rw", false)]
        {
            let sas = Sas::parse(&format!("sp={permissions}&sig=a")).unwrap();
            assert_eq!(sas.cannot_replace(), cannot, "{permissions}");
        }
        assert!(!Sas::parse("si=policy&sig=a").unwrap().cannot_replace());
    }

    #[test]
    fn what_is_something_else_is_called_by_its_name() {
        let key = format!("{}==", "A".repeat(86));
        for (text, part) in [
            (&*key, "AZURE_STORAGE_KEY"),
            (
                "AccountName=a;AccountKey=a2V5",
                "AZURE_STORAGE_CONNECTION_STRING",
            ),
            ("https://acct.blob.core.windows.net/c", "sig="),
        ] {
            let reason = Sas::parse(text).err().unwrap();
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        for text in [
            "",
            "?",
            "hunter2",
            "sv=1&sig=",
            "sv=1 2&sig=a",
            "sig=hunter2!",
            "sig=hunter2%25252525",
            "sig=hunter2#x",
        ] {
            let reason = Sas::parse(text).err().unwrap();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
