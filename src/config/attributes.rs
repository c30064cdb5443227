//! The attributes by name: which there are, what they are for, and whether an
//! attribute or its variable counts.

use crate::error::Error;
use crate::secret::Secret;

/// An attribute, for `describe`.
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) default: Option<&'static str>,
    pub(crate) required: bool,
    pub(crate) secret: bool,
}

/// An attribute that may be left out and shown.
const fn plain(
    name: &'static str,
    description: &'static str,
    default: Option<&'static str>,
) -> Attribute {
    Attribute {
        name,
        description,
        default,
        required: false,
        secret: false,
    }
}

/// Every attribute there is.
pub(crate) const ATTRIBUTES: &[Attribute] = &[
    plain(
        "account_url",
        "Address of the storage account, such as https://ACCOUNT.blob.core.windows.net, or of the \
         container in it; connection_string names it too",
        None,
    ),
    plain(
        "account_name",
        "Name of the storage account, if account_url does not contain it",
        None,
    ),
    Attribute {
        secret: true,
        ..plain("secret_access_key", "Key of the storage account", None)
    },
    Attribute {
        secret: true,
        ..plain(
            "sas_token",
            "SAS token of the storage account or the container",
            None,
        )
    },
    Attribute {
        secret: true,
        ..plain(
            "connection_string",
            "Connection string of the storage account",
            None,
        )
    },
    plain(
        "anonymous",
        "Whether to send requests without a credential, which read public containers",
        Some("false"),
    ),
    plain(
        "container",
        "Container that holds the cache; a push creates it if it is missing",
        Some("buildkit-cache"),
    ),
    plain(
        "name",
        "Names of the cache, separated by `;`",
        Some("buildkit"),
    ),
    plain("prefix", "What every blob's name begins with", None),
    plain(
        "blobs_prefix",
        "What the layers' names begin with, after prefix",
        Some("blobs"),
    ),
    plain(
        "manifests_prefix",
        "What the manifests' names begin with, after prefix",
        Some("manifests"),
    ),
    plain(
        "parallelism",
        "How many layers or blocks are sent at once; four times as many, up to 64, of layers up to \
         512KiB",
        Some("16"),
    ),
    plain(
        "block_size",
        "Size of the blocks in which larger layers are sent, such as 8MiB",
        Some("16MiB"),
    ),
    plain(
        "max_retries",
        "How often a failed request is sent again",
        Some("5"),
    ),
    plain(
        "stall_timeout",
        "How long a request may make no progress, retries included, such as 90s or 5m",
        Some("60s"),
    ),
    plain("compression", NO_EFFECT, None),
    plain("compression-level", NO_EFFECT, None),
    plain("force-compression", NO_EFFECT, None),
    plain("oci-mediatypes", NO_EFFECT, None),
];

/// What BuildKit takes for every cache and does not use for this one.
const NO_EFFECT: &str = "Accepted as in BuildKit, without effect: layers are stored as they are";

/// What the user gave, known names only.
pub(super) struct Attributes {
    attributes: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

/// One value, and where it came from.
pub(super) struct Given {
    /// The attribute's or the variable's name.
    pub(super) source: &'static str,
    pub(super) value: String,
}

impl Given {
    /// The error that this value is not acceptable.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::attribute(self.source, reason)
    }

    /// What `parse` reads in the value, or the error that it is not acceptable.
    pub(super) fn read<T, R: Into<String>>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, R>,
    ) -> Result<T, Error> {
        parse(&self.value).map_err(|reason| self.wrong(reason))
    }

    /// The value, as one that is never shown.
    pub(super) fn into_secret(self) -> Secret {
        Secret::new(self.value)
    }
}

impl Attributes {
    /// Refuses names that do not exist.
    pub(super) fn new(
        attributes: Vec<(String, String)>,
        environment: Vec<(String, String)>,
    ) -> Result<Self, Error> {
        for (name, _) in &attributes {
            if !ATTRIBUTES.iter().any(|known| known.name == name) {
                // Which one may have been meant, the host says.
                return Err(Error::attribute(name, "azblob has no such attribute"));
            }
        }
        Ok(Self {
            attributes,
            environment,
        })
    }

    /// Takes an attribute's value, or else its variable's. As in BuildKit, an
    /// empty one counts.
    pub(super) fn take(
        &mut self,
        name: &'static str,
        variable: Option<&'static str>,
    ) -> Option<Given> {
        let given = self.attribute(name);
        given.or_else(|| self.variable(variable?))
    }

    /// As [`take`](Self::take), but an empty value is none.
    pub(super) fn take_filled(
        &mut self,
        name: &'static str,
        variable: Option<&'static str>,
    ) -> Option<Given> {
        let filled = |given: &Given| !given.value.is_empty();
        let given = self.attribute(name).filter(filled);
        given.or_else(|| self.variable(variable?).filter(filled))
    }

    /// The value of an attribute: the last one of that name.
    fn attribute(&mut self, name: &'static str) -> Option<Given> {
        take_value(self.attributes.iter_mut().rev(), name)
    }

    /// Takes a variable's value, unless it is empty.
    pub(super) fn take_variable(&mut self, name: &'static str) -> Option<Given> {
        self.variable(name).filter(|given| !given.value.is_empty())
    }

    /// The value of a variable.
    fn variable(&mut self, name: &'static str) -> Option<Given> {
        take_value(self.environment.iter_mut(), name)
    }

    /// The attributes given that do nothing.
    pub(super) fn ignored(&self) -> Vec<String> {
        let idle = |name: &str| {
            let mut known = ATTRIBUTES.iter();
            known.any(|a| a.name == name && a.description == NO_EFFECT)
        };
        let names = self.attributes.iter().map(|(name, _)| name);
        names.filter(|name| idle(name)).cloned().collect()
    }
}

/// Takes the first value under a name.
fn take_value<'a>(
    mut pairs: impl Iterator<Item = &'a mut (String, String)>,
    name: &'static str,
) -> Option<Given> {
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| Given {
            source: name,
            value: std::mem::take(value),
        })
}

/// Reads a boolean in the forms that Go's `strconv.ParseBool` accepts, as
/// BuildKit and its tools do.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
