//! What the host trusts a plugin with. A plugin's description is only what it
//! asks for: it was written by the plugin's author. What it gets is decided
//! here, by the type that it serves, and by what the user grants beyond that.
//!
//! The defaults for the types that come with the product are data, in
//! `defaults`. A plugin gets those of the type that it serves, no matter who wrote it:
//! the user chose that file for that type, by putting it in a plugin folder or
//! by naming it.

mod defaults;

use crate::reach::Offer;
use crate::{Description, Error};

/// What marks a scope among the description's `authorities`, and in a grant.
pub(crate) const SCOPE: &str = "scope:";

/// What plugins may have of what they ask for.
///
/// Whatever the policy, a plugin reaches the public servers that its description
/// names, and those that the user's own attributes name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    variables: Vec<Rule>,
    /// What of a description's `authorities` may lead to addresses that are
    /// not public, word for word.
    authorities: Vec<String>,
    /// What of a description's `files` is lent, word for word.
    files: Vec<String>,
    /// What tokens may be asked for.
    scopes: Vec<String>,
}

/// Which variables, and what a plugin may do with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// A name, or the beginning of one before a `*`.
    names: String,
    lends: Lends,
}

/// What a variable lends a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lends {
    /// Its value, and nothing that the value names.
    Value,
    /// The servers that it names as well, wherever they are.
    Servers,
    /// The file that it names as well.
    File,
    /// All of that: the user, or the embedder, chose this very variable.
    Everything,
}

impl Lends {
    pub(crate) fn servers(self) -> bool {
        matches!(self, Self::Servers | Self::Everything)
    }

    pub(crate) fn file(self) -> bool {
        matches!(self, Self::File | Self::Everything)
    }
}

/// What a description asks for, as far as it is granted or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Wishes {
    /// Variables, by name.
    pub environment: Vec<String>,
    /// Servers: names, patterns and addresses.
    pub authorities: Vec<String>,
    /// Files.
    pub files: Vec<String>,
    /// What tokens it may ask for.
    pub scopes: Vec<String>,
}

impl Wishes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this is among them, in the words of [`Policy::grant`].
    pub fn contains(&self, what: &str) -> bool {
        let all = [&self.environment, &self.authorities, &self.files];
        match what.strip_prefix(SCOPE) {
            Some(scope) => self.scopes.iter().any(|known| known == scope),
            None => all.into_iter().flatten().any(|known| known == what),
        }
    }
}

impl Policy {
    /// What comes with the product for plugins that serve this type. A type
    /// that it does not know gets nothing.
    pub fn of_type(r#type: &str) -> Self {
        let Some(known) = defaults::DEFAULTS.iter().find(|d| d.r#type == r#type) else {
            return Self::default();
        };
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Self {
            variables: known
                .variables
                .iter()
                .map(|(names, lends)| Rule {
                    names: (*names).to_owned(),
                    lends: *lends,
                })
                .collect(),
            authorities: owned(known.authorities),
            files: owned(known.files),
            scopes: owned(known.scopes),
        }
    }

    /// Grants one thing more: a variable by its name, a file by its absolute
    /// path, a scope as `scope:SCOPE`, or a server, each as the description
    /// asks for it.
    pub fn grant(&mut self, what: &str) -> Result<(), Error> {
        let invalid = |why: &str| Error::Other(format!("`{what}` cannot be granted: {why}"));
        if let Some(scope) = what.strip_prefix(SCOPE) {
            self.scopes.push(scope.to_owned());
        } else if what.starts_with('/') {
            self.files.push(what.to_owned());
        } else if is_variable(what) {
            let rule = Rule {
                names: what.to_owned(),
                lends: Lends::Everything,
            };
            self.variables.insert(0, rule);
        } else if what.is_empty() || what.contains('=') && !what.contains(" if ") {
            return Err(invalid("give a variable's name, without its value"));
        } else {
            Offer::parse(what).map_err(|_| {
                invalid("it is not a variable's name, an absolute path, `scope:SCOPE` or a server")
            })?;
            self.authorities.push(what.to_owned());
        }
        Ok(())
    }

    /// What of a description is granted, and what it merely asks for.
    pub fn judge(&self, description: &Description) -> (Wishes, Wishes) {
        fn part(
            all: &[String],
            is_granted: impl Fn(&String) -> bool,
        ) -> (Vec<String>, Vec<String>) {
            all.iter().cloned().partition(is_granted)
        }
        let names = description.environment.iter();
        let names: Vec<_> = names.map(|variable| variable.name.clone()).collect();
        let variables = part(&names, |name| self.variable(name).is_some());
        let authorities = part(&description.authorities, |text| {
            self.trusts_authority(text)
                || Offer::parse(text).is_ok_and(|offer| offer.may_be_public())
        });
        let files = part(&description.files, |file| self.trusts_file(file));
        let scopes = part(&description.scopes, |scope| self.trusts_scope(scope));
        let granted = Wishes {
            environment: variables.0,
            authorities: authorities.0,
            files: files.0,
            scopes: scopes.0,
        };
        let asked = Wishes {
            environment: variables.1,
            authorities: authorities.1,
            files: files.1,
            scopes: scopes.1,
        };
        (granted, asked)
    }

    /// What a variable lends; none where a plugin does not see it.
    pub(crate) fn variable(&self, name: &str) -> Option<Lends> {
        let mut rules = self.variables.iter();
        let rule = rules.find(|rule| match rule.names.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => rule.names == name,
        });
        rule.map(|rule| rule.lends)
    }

    /// Whether this entry of a description's `authorities` may lead to
    /// addresses that are not public.
    pub fn trusts_authority(&self, text: &str) -> bool {
        self.authorities.iter().any(|known| known == text)
    }

    /// Whether the files of this entry of a description's `files` are lent.
    pub(crate) fn trusts_file(&self, pattern: &str) -> bool {
        self.files.iter().any(|known| known == pattern)
    }

    /// Whether tokens for this scope may be asked for.
    pub(crate) fn trusts_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|known| known == scope)
    }
}

/// Whether the text can be the name of an environment variable, and is not a
/// server's.
fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The authorities that the defaults of a type have.
#[cfg(test)]
pub(crate) fn known_authorities(r#type: &str) -> Vec<&'static str> {
    let known = defaults::DEFAULTS.iter().filter(|d| d.r#type == r#type);
    known.flat_map(|d| d.authorities.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variable;

    fn description(variables: &[&str]) -> Description {
        Description {
            r#type: "azblob".into(),
            environment: variables
                .iter()
                .map(|name| Variable {
                    name: name.to_string(),
                    description: String::new(),
                    secret: false,
                    file: false,
                })
                .collect(),
            ..Description::default()
        }
    }

    #[test]
    fn a_type_sees_its_own_variables_and_no_others() {
        let azblob = Policy::of_type("azblob");
        for (name, lends) in [
            ("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", Some(Lends::Servers)),
            ("AZURE_TENANT_ID", Some(Lends::Value)),
            ("AZURE_FEDERATED_TOKEN_FILE", Some(Lends::File)),
            ("IDENTITY_ENDPOINT", Some(Lends::Servers)),
            ("AZURE", None),
            ("DOCKER_HOST", None),
            ("KUBERNETES_SERVICE_HOST", None),
            ("AWS_SECRET_ACCESS_KEY", None),
            ("PATH", None),
        ] {
            assert_eq!(azblob.variable(name), lends, "{name}");
        }
        assert_eq!(Policy::of_type("http").variable("AZURE_TENANT_ID"), None);
        assert_eq!(Policy::of_type("stranger"), Policy::default());
    }

    #[test]
    fn what_the_user_grants_is_granted_and_nothing_beside_it() {
        let mut policy = Policy::of_type("stranger");
        for what in [
            "DOCKER_HOST",
            "/etc/stranger/*.pem",
            "scope:https://store.example/.default",
            "169.254.169.254",
        ] {
            policy.grant(what).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(policy.variable("DOCKER_HOST"), Some(Lends::Everything));
        assert_eq!(policy.variable("DOCKER_HOST_2"), None);
        assert!(policy.trusts_file("/etc/stranger/*.pem") && !policy.trusts_file("/etc/passwd"));
        assert!(policy.trusts_scope("https://store.example/.default"));
        assert!(policy.trusts_authority("169.254.169.254"));
        assert!(!policy.trusts_authority("169.254.169.253"));
        for what in ["", "NAME=value", "a b", "http://host/"] {
            let error = policy.grant(what).expect_err(what).to_string();
            assert!(error.contains("cannot be granted"), "{error}");
        }
    }

    #[test]
    fn what_is_merely_asked_for_is_told_from_what_is_granted() {
        let description = Description {
            authorities: ["*.store.example", "10.0.0.1", "169.254.169.254"]
                .map(str::to_owned)
                .into(),
            files: vec!["/etc/ssh/*".into()],
            scopes: vec!["https://management.example/.default".into()],
            ..description(&["AZURE_CLIENT_ID", "DOCKER_HOST"])
        };
        let (granted, asked) = Policy::of_type("azblob").judge(&description);
        assert_eq!(granted.environment, ["AZURE_CLIENT_ID"]);
        assert_eq!(granted.authorities, ["*.store.example", "169.254.169.254"]);
        assert!(granted.files.is_empty() && granted.scopes.is_empty());
        assert_eq!(asked.environment, ["DOCKER_HOST"]);
        assert_eq!(asked.authorities, ["10.0.0.1"]);
        assert_eq!(asked.files, ["/etc/ssh/*"]);
        assert_eq!(asked.scopes, ["https://management.example/.default"]);
        assert!(!asked.is_empty());
    }
}
