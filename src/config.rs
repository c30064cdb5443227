//! What the user wants: attributes and environment, read once into types that
//! cannot be wrong. Knows BuildKit's names, defaults and precedence
//! (`cache/remotecache/azblob/utils.go`); sends nothing.

mod access;
mod account_url;
mod attributes;
mod container;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod tuning;
mod variables;

#[cfg(test)]
mod tests;

pub(crate) use account_url::AccountUrl;
pub(crate) use attributes::ATTRIBUTES;
pub(crate) use container::ContainerName;
pub(crate) use tuning::Tuning;
pub(crate) use variables::VARIABLES;

use std::rc::Rc;

use crate::cache::layout::Layout;
use crate::credential::{Access, Variables};
use crate::error::Error;
use access::Way;
use attributes::{Attributes, Given};

/// Everything that one cache needs to know about itself.
pub(crate) struct Config {
    pub(crate) account_url: AccountUrl,
    /// The storage account's name, which signs requests.
    pub(crate) account: String,
    pub(crate) container: ContainerName,
    pub(crate) layout: Layout,
    /// The names that the manifest has, each once, in the order given.
    pub(crate) names: Vec<String>,
    /// The way into the account.
    pub(crate) access: Rc<Access>,
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
        let variables = Variables::new(&environment);
        let mut given = Attributes::new(attributes, environment)?;

        let mut url = given.take("account_url", Some("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL"));
        let sas_in_url = url.as_mut().and_then(take_sas);
        let way = Way::take(&mut given, sas_in_url)?;
        let name = given.take("account_name", Some("BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME"));
        let usual_name = given.take_variable("AZURE_STORAGE_ACCOUNT");
        for name in [&name, &usual_name].into_iter().flatten() {
            name.read(check_account)?;
        }

        let account_url = match (&url, &way, name.as_ref().or(usual_name.as_ref())) {
            (Some(url), ..) => url.read(AccountUrl::parse)?,
            (None, Some(Way::Connection { parsed, .. }), _) => parsed.url.clone(),
            (None, _, Some(name)) => {
                name.read(|name| AccountUrl::parse(&format!("{name}.blob.core.windows.net")))?
            }
            (None, _, None) => {
                return Err(Error::attribute(
                    "account_url",
                    "missing: give the storage account's address, such as \
                     https://ACCOUNT.blob.core.windows.net, or set \
                     BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
                ));
            }
        };
        let in_connection = match &way {
            Some(Way::Connection { parsed, .. }) if url.is_none() => parsed.account.clone(),
            _ => None,
        };
        let in_url = || {
            account_url
                .account()
                .filter(|name| check_account(name).is_ok())
        };
        let account = name
            .map(|name| name.value)
            .or(in_connection)
            .or_else(in_url)
            .or(usual_name.map(|name| name.value))
            .ok_or_else(|| {
                Error::attribute(
                    url.map_or("account_url", |url| url.source),
                    "it does not tell the storage account's name: give that as account_name",
                )
            })?;

        let container = match given.take("container", Some("BUILDKIT_AZURE_STORAGE_CONTAINER")) {
            Some(name) => name.read(ContainerName::parse)?,
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
            Some(list) => list.read(names)?,
            None => vec!["buildkit".to_owned()],
        };
        layout
            .check(&names)
            .map_err(|(attribute, reason)| Error::attribute(attribute, reason))?;

        Ok(Self {
            tuning: Tuning::take(&mut given)?,
            ignored: given.ignored(),
            access: Rc::new(Way::into_account(way, &account, &variables)?),
            account_url,
            account,
            container,
            layout,
            names,
        })
    }
}

/// Takes the query off an address, if it is a SAS token: people paste both as
/// one, as Azure's portal shows them.
fn take_sas(url: &mut Given) -> Option<Given> {
    let (address, query) = url.value.split_once('?')?;
    if !query.split('&').any(|field| field.starts_with("sig=")) {
        return None;
    }
    let (source, value) = (url.source, query.to_owned());
    url.value = address.to_owned();
    Some(Given { source, value })
}

/// The names in a list, split at `;` as BuildKit does. Empty ones, as after a
/// closing `;`, are dropped: nobody means a manifest without a name.
fn names(list: &str) -> Result<Vec<String>, &'static str> {
    let mut names: Vec<String> = Vec::new();
    for name in list.split(';').filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        return Err("there is no name in it: give one, or several separated by `;`");
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
