//! What a backend reports about itself, and asks for.

use crate::bindings::exports::build_cache::plugin::backend;
use crate::policy::SCOPE;
use crate::text::Scrubber;

/// What a backend is and what it takes, for help texts and checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    /// The value of the `type` attribute, such as `azblob`.
    pub r#type: String,
    /// The backend's own version.
    pub version: String,
    /// The attributes that it takes.
    pub attributes: Vec<Attribute>,
    /// The environment variables that it asks for.
    pub environment: Vec<Variable>,
    /// The authorities that it may have to reach beside those that the user
    /// names: `host` or `host:port`, with `*.` for subdomains, or with `{NAME}`
    /// for a label that the user gives as this attribute or variable.
    pub authorities: Vec<String>,
    /// The files that it asks for beside those that variables name: absolute
    /// paths, `*` in the last part for any name.
    pub files: Vec<String>,
    /// The scopes that it asks for tokens for.
    pub scopes: Vec<String>,
}

/// An attribute that a user may give.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Attribute {
    /// As the user writes it.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The value if the user gives none.
    pub default: Option<String>,
    /// Needed unless its variable is set.
    pub required: bool,
    /// Never to be shown or logged.
    pub secret: bool,
}

/// An environment variable that a backend reads.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Never to be shown or logged.
    pub secret: bool,
    /// Its value is the path of a file, which the host lends with it.
    pub file: bool,
}

impl From<backend::Description> for Description {
    fn from(wit: backend::Description) -> Self {
        let scrub = Scrubber::default();
        let clean = |text: String| scrub.clean(&text);
        // In this version of the contract, scopes are among the authorities.
        let (scopes, authorities): (Vec<_>, Vec<_>) = wit
            .authorities
            .into_iter()
            .map(clean)
            .partition(|text| text.starts_with(SCOPE));
        Self {
            r#type: clean(wit.type_),
            version: clean(wit.version),
            attributes: wit
                .attributes
                .into_iter()
                .map(|attribute| Attribute {
                    name: clean(attribute.name),
                    description: clean(attribute.description),
                    default: attribute.default.map(clean),
                    required: attribute.required,
                    secret: attribute.secret,
                })
                .collect(),
            environment: wit
                .environment
                .into_iter()
                .map(|variable| Variable {
                    name: clean(variable.name),
                    description: clean(variable.description),
                    secret: variable.secret,
                    file: variable.file,
                })
                .collect(),
            authorities,
            files: wit.files.into_iter().map(clean).collect(),
            scopes: scopes
                .iter()
                .filter_map(|scope| Some(scope.strip_prefix(SCOPE)?.to_owned()))
                .collect(),
        }
    }
}
