//! An authority of which a part is the user's: `{account}.blob.store.example`.
//! It holds only where something that the user gave fills the part, so a plugin
//! can derive an address from a name, and can reach nobody else's.
//!
//! The syntax is part of the contract: see `authorities` in `wit/`.

use super::given::{Given, servers};
use super::pattern::AuthorityPattern;

/// An authority with parts that the user fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// The labels of the host, in lower case.
    labels: Vec<Label>,
    port: Option<u16>,
    /// Holds only where this source has this value.
    only_if: Option<(Source, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Label {
    Plain(String),
    /// What one of these sources gives.
    Filled(Vec<Source>),
}

/// An attribute, a variable, or a field of one that is a list such as
/// `Name=Value;Name=Value`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    name: String,
    field: Option<String>,
}

impl Template {
    /// Whether a text is meant as a template.
    pub(super) fn is_one(text: &str) -> bool {
        text.contains(['{', ' '])
    }

    /// Reads a template.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (authority, condition) = match text.split_once(" if ") {
            Some((authority, condition)) => (authority, Some(condition)),
            None => (text, None),
        };
        let only_if = match condition {
            Some(condition) => {
                let (source, value) = condition.split_once('=')?;
                Some((Source::parse(source)?, value.to_owned()))
            }
            None => None,
        };
        let after_braces = authority.rfind('}').unwrap_or(0);
        let (host, port) = match authority[after_braces..].find(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_braces + colon);
                (host, Some(port[1..].parse().ok()?))
            }
            None => (authority, None),
        };
        let labels = host.split('.').map(Label::parse);
        let template = Self {
            labels: labels.collect::<Option<_>>()?,
            port,
            only_if,
        };
        let has_filled = template
            .labels
            .iter()
            .any(|label| matches!(label, Label::Filled(_)));
        (has_filled || template.only_if.is_some()).then_some(template)
    }

    /// The authority, where no part of its host is the user's.
    pub(super) fn fixed(&self) -> Option<AuthorityPattern> {
        let labels = self.labels.iter().map(|label| match label {
            Label::Plain(text) => Some(text.as_str()),
            Label::Filled(_) => None,
        });
        let host = labels.collect::<Option<Vec<_>>>()?.join(".");
        let port = self.port.map(|port| format!(":{port}"));
        AuthorityPattern::parse(&format!("{host}{}", port.unwrap_or_default())).ok()
    }

    /// Whether what the user gave makes this authority of the template.
    pub(super) fn makes(&self, authority: &AuthorityPattern, given: &Given) -> bool {
        let holds = match &self.only_if {
            Some((source, value)) => source
                .values(given)
                .any(|found| found.eq_ignore_ascii_case(value)),
            None => true,
        };
        let port_fits = match self.port {
            None => authority.has_port(None),
            port => authority.port == port,
        };
        holds && port_fits && !authority.wildcard && fits(&self.labels, &authority.host, given)
    }
}

/// Whether these labels, filled, are the host.
fn fits(labels: &[Label], host: &str, given: &Given) -> bool {
    let Some((first, rest)) = labels.split_first() else {
        return host.is_empty();
    };
    let goes_on = |text: &str| match host.strip_prefix(text) {
        Some("") => rest.is_empty(),
        Some(after) => match after.strip_prefix('.') {
            Some(after) => !rest.is_empty() && !after.is_empty() && fits(rest, after, given),
            None => false,
        },
        None => false,
    };
    match first {
        Label::Plain(text) => goes_on(text),
        Label::Filled(sources) => {
            let values = sources.iter().flat_map(|source| source.values(given));
            let mut values = values.map(str::to_ascii_lowercase);
            match rest.is_empty() {
                // What it ends in may be a whole domain, or the host of a URL.
                true => values.any(|value| {
                    let mut hosts = servers(&value).map(|server| server.host);
                    hosts
                        .next()
                        .is_some_and(|name| is_host(name) && goes_on(name))
                        && hosts.next().is_none()
                }),
                false => values.any(|value| is_label(&value) && goes_on(&value)),
            }
        }
    }
}

impl Label {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('{') {
            Some(text) => {
                let sources = text.strip_suffix('}')?.split('|').map(Source::parse);
                Some(Self::Filled(sources.collect::<Option<_>>()?))
            }
            None => {
                let text = text.to_ascii_lowercase();
                is_label(&text).then_some(Self::Plain(text))
            }
        }
    }
}

impl Source {
    fn parse(text: &str) -> Option<Self> {
        let is_name = |text: &str| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
            !text.is_empty() && text.bytes().all(is_plain)
        };
        let (name, field) = match text.split_once('/') {
            Some((name, field)) => (name, Some(field)),
            None => (text, None),
        };
        (is_name(name) && field.is_none_or(is_name)).then(|| Self {
            name: name.to_owned(),
            field: field.map(str::to_owned),
        })
    }

    /// What the user gave there.
    fn values<'a>(&'a self, given: &'a Given) -> impl Iterator<Item = &'a str> {
        given
            .values(&self.name)
            .filter_map(|value| match &self.field {
                None => Some(value),
                Some(wanted) => {
                    let fields = value.split(';').filter_map(|field| field.split_once('='));
                    let mut fields = fields.map(|(name, value)| (name.trim(), value.trim()));
                    let found = fields.find(|(name, value)| {
                        name.eq_ignore_ascii_case(wanted) && !value.is_empty()
                    });
                    found.map(|(_, value)| value)
                }
            })
    }
}

/// Whether the text is one label of a host's name, in lower case.
fn is_label(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether the text is a host's name, or an IPv4 address.
fn is_host(text: &str) -> bool {
    text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn makes(template: &str, given: &[(&str, &str)], authority: &str) -> bool {
        let template = Template::parse(template).unwrap_or_else(|| panic!("{template}"));
        let given = Given::new(given.iter().copied(), [], &Policy::default());
        let authority = AuthorityPattern::parse(authority).unwrap();
        template.makes(&authority, &given)
    }

    const ACCOUNT: &str = "{account|NAME|text/AccountName}.blob.store.example";

    #[test]
    fn what_the_user_gave_fills_the_free_label() {
        for given in [
            ("account", "acct"),
            ("NAME", " acct "),
            ("account", "Acct"),
            ("text", "Key=a2V5;AccountName=acct;Suffix=x"),
            ("text", "accountname = acct"),
        ] {
            assert!(
                makes(ACCOUNT, &[given], "acct.blob.store.example"),
                "{given:?}"
            );
            for other in [
                "other.blob.store.example",
                "acct.blob.store.example.evil.example",
                "blob.store.example",
                "acct.blob.other.example",
                "acct.evil.blob.store.example",
                "acct.blob.store.example:8080",
                "*.blob.store.example",
            ] {
                assert!(!makes(ACCOUNT, &[given], other), "{given:?} {other}");
            }
        }
    }

    #[test]
    fn what_is_no_label_or_was_not_given_fills_nothing() {
        for (given, authority) in [
            (("account", ""), "acct.blob.store.example"),
            (("other", "acct"), "acct.blob.store.example"),
            (("text", "acct"), "acct.blob.store.example"),
            (("text", "Other=acct"), "acct.blob.store.example"),
            (("account", "a.b"), "a.b.blob.store.example"),
            (("account", "evil.example/"), "evil.example"),
            (("account", "-a"), "-a.blob.store.example"),
            (("account", "a,b"), "a.blob.store.example"),
        ] {
            assert!(!makes(ACCOUNT, &[given], authority), "{given:?}");
        }
    }

    #[test]
    fn a_domain_that_the_user_spelled_may_end_it() {
        let template = "{account|text/AccountName}.blob.{text/EndpointSuffix}";
        let text = "AccountName=acct;EndpointSuffix=core.stack.example";
        assert!(makes(
            template,
            &[("text", text)],
            "acct.blob.core.stack.example"
        ));
        assert!(!makes(
            template,
            &[("text", text)],
            "acct.blob.core.other.example"
        ));
        assert!(!makes(
            template,
            &[("text", text)],
            "acct.blob.stack.example"
        ));
        let both = [("account", "mine"), ("text", text)];
        assert!(makes(template, &both, "mine.blob.core.stack.example"));
        for suffix in ["", "evil.example/x", "a:80", "core..example", "."] {
            let text = format!("AccountName=acct;EndpointSuffix={suffix}");
            let made = makes(template, &[("text", &text)], "acct.blob.core.stack.example");
            assert!(!made, "{suffix}");
        }
    }

    #[test]
    fn a_condition_is_the_users_too() {
        let fixed = "127.0.0.1:10000 if text/UseEmulator=true";
        let proxied = "{text/Proxy}:10000 if text/UseEmulator=true";
        let on = [("text", "UseEmulator=True;Proxy=http://emulator")];
        assert!(makes(fixed, &on, "127.0.0.1:10000"));
        assert!(!makes(fixed, &on, "127.0.0.1:10001"));
        assert!(makes(proxied, &on, "emulator:10000"));
        assert!(!makes(proxied, &on, "emulator"));
        let off = [("text", "UseEmulator=false;Proxy=http://emulator")];
        assert!(!makes(fixed, &off, "127.0.0.1:10000"));
        assert!(!makes(proxied, &off, "emulator:10000"));
    }

    #[test]
    fn what_is_no_template_is_told() {
        for text in [
            "a.example",
            "{}.example",
            "{a b}.example",
            "x{a}.example",
            "{a}x.example",
            "{a.example",
            "{a/}.example",
            "{a}.*.example",
            "{a}..example",
            "{a}.example:port",
            "a.example if ",
            "a.example if x",
        ] {
            assert_eq!(Template::parse(text), None, "{text}");
        }
    }
}
