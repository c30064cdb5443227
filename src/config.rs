//! What the user wants: attributes and environment, read once into types that
//! cannot be wrong. Knows BuildKit's names, defaults and precedence
//! (`cache/remotecache/azblob/utils.go`); sends nothing.

mod account_url;
mod attributes;
mod container;
mod tuning;

#[cfg(test)]
mod tests;

pub(crate) use account_url::AccountUrl;
pub(crate) use attributes::{ATTRIBUTES, VARIABLES};
pub(crate) use container::ContainerName;
pub(crate) use tuning::Tuning;

use crate::cache::layout::Layout;
use crate::credential::SharedKey;
use crate::error::Error;
use attributes::Attributes;

/// Everything that one cache needs to know about itself.
pub(crate) struct Config {
    pub(crate) account_url: AccountUrl,
    /// The storage account's name, which signs requests.
    pub(crate) account: String,
    pub(crate) container: ContainerName,
    pub(crate) layout: Layout,
    /// The names that the manifest has, each once, in the order given.
    pub(crate) names: Vec<String>,
    /// The account's key, where one was given.
    pub(crate) shared_key: Option<SharedKey>,
    pub(crate) tuning: Tuning,
    /// Attributes that were given and do nothing.
    pub(crate) ignored: Vec<String>,
}

impl Config {
    /// Reads the attributes, and the variables that stand in for those that
    /// are not given.
    pub(crate) fn parse(
        attributes: Vec<(String, String)>,
        environment: Vec<(String, String)>,
    ) -> Result<Self, Error> {
        let mut given = Attributes::new(attributes, environment)?;

        let Some(url) = given.take("account_url", Some("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL"))
        else {
            return Err(Error::attribute(
                "account_url",
                "missing: give the storage account's address, such as \
                 https://ACCOUNT.blob.core.windows.net, or set \
                 BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
            ));
        };
        let account_url = AccountUrl::parse(&url.value).map_err(|reason| url.wrong(reason))?;

        let account = match given.take("account_name", Some("BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME"))
        {
            Some(name) => check_account(&name.value)
                .map(|()| name.value.clone())
                .map_err(|reason| name.wrong(reason))?,
            None => {
                let name = account_url.account();
                let name = name.filter(|name| check_account(name).is_ok());
                name.ok_or_else(|| {
                    url.wrong(
                        "it does not tell the storage account's name: give that as account_name",
                    )
                })?
            }
        };

        let container = match given.take("container", Some("BUILDKIT_AZURE_STORAGE_CONTAINER")) {
            Some(name) => ContainerName::parse(&name.value).map_err(|reason| name.wrong(reason))?,
            None => ContainerName::default(),
        };

        let prefix = given.take("prefix", Some("BUILDKIT_AZURE_STORAGE_PREFIX"));
        let blobs = given.take("blobs_prefix", None);
        let manifests = given.take("manifests_prefix", None);
        let layout = Layout::new(
            prefix.as_ref().map_or("", |given| &given.value),
            blobs.as_ref().map_or("blobs", |given| &given.value),
            manifests.as_ref().map_or("manifests", |given| &given.value),
        );

        let names = match given.take("name", None) {
            Some(list) => names(&list.value).map_err(|reason| list.wrong(reason))?,
            None => vec!["buildkit".to_owned()],
        };
        layout
            .check(&names)
            .map_err(|(attribute, reason)| Error::attribute(attribute, reason))?;

        // As in BuildKit, an empty key is none.
        let shared_key = given
            .take_filled("secret_access_key", Some("AZURE_STORAGE_KEY"))
            .map(|key| {
                let source = key.source;
                SharedKey::parse(account.clone(), key.into_secret())
                    .map_err(|reason| Error::attribute(source, reason))
            })
            .transpose()?;

        Ok(Self {
            tuning: Tuning::take(&mut given)?,
            ignored: given.ignored(),
            account_url,
            account,
            container,
            layout,
            names,
            shared_key,
        })
    }
}

/// The names in a list, split at `;` as BuildKit does. Empty ones, as after a
/// closing `;`, are dropped: nobody means a manifest without a name.
fn names(list: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for name in list.split(';').filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        return Err("there is no name in it: give one, or several separated by `;`".to_owned());
    }
    Ok(names)
}

/// An account's name stands in every signature; what Azure's rules allow is
/// checked by Azure, what would break the signature is checked here.
fn check_account(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("empty: give the storage account's name"),
        name if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => Ok(()),
        _ => Err("not a storage account's name, which has lowercase letters and digits only"),
    }
}
