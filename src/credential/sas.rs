//! A shared access signature: what somebody who may, signed for us. It stands
//! in the query of every request, and says itself what it allows.
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>

use crate::secret::Secret;

/// A SAS token.
pub(crate) struct Sas(Secret);

impl Sas {
    /// Reads a SAS token as Azure shows it, with or without its `?`, or says
    /// why it is none, without showing it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim().trim_start_matches('?').trim_end_matches('&');
        if !text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&b))
        {
            return Err("not a SAS token: it has characters that must be percent-encoded");
        }
        let sas = Self(Secret::new(text.to_owned()));
        match sas.field("sig") {
            Some(signature) if !signature.is_empty() => Ok(sas),
            _ => Err("not a SAS token, which is a query such as sv=…&sp=…&se=…&sig=…"),
        }
    }

    /// The token as it stands in a query.
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
                let value = percent_encoding::percent_decode_str(value);
                text.push_str(&format!(", {what} {}", value.decode_utf8_lossy()));
            }
        }
        text
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.expose().split('&');
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    }
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
    fn what_is_no_token_is_refused_without_being_shown() {
        for text in [
            "",
            "?",
            "hunter2",
            "sv=1&sig=",
            "sv=1&sig=a b",
            "sig=hunter2#x",
        ] {
            let reason = Sas::parse(text).err().unwrap();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
