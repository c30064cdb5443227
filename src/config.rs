//! What the user wants: attributes and environment, read once into types that
//! cannot be wrong. Knows BuildKit's names, defaults and precedence
//! (`cache/remotecache/azblob/utils.go`); sends nothing.

mod access;
mod account_url;
mod attributes;
mod container;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod place;
mod store;
mod tuning;
mod variables;

#[cfg(test)]
mod tests;

pub(crate) use account_url::{AccountUrl, is_loopback};
pub(crate) use attributes::{ATTRIBUTES, boolean};
pub(crate) use container::ContainerName;
pub(crate) use place::Place;
pub(crate) use tuning::Tuning;
pub(crate) use variables::VARIABLES;

use std::rc::Rc;

use crate::cache::layout::Layout;
use crate::credential::{Access, Variables};
use crate::error::Error;
use attributes::Attributes;
use store::Store;

/// Everything that one cache needs to know about itself.
pub(crate) struct Config {
    pub(crate) account_url: AccountUrl,
    /// The attribute or the variable that the address came from.
    pub(crate) address_source: &'static str,
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
    /// Reads the attributes, and the variables that are used instead of those that
    /// are not given.
    pub(crate) fn parse(
        attributes: Vec<(String, String)>,
        environment: Vec<(String, String)>,
    ) -> Result<Self, Error> {
        let variables = Variables::new(&environment);
        let mut given = Attributes::new(attributes, environment)?;
        let store = Store::take(&mut given, &variables)?;

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
            access: Rc::new(store.access),
            address_source: store.address_source,
            account_url: store.url,
            account: store.account,
            container: store.container,
            layout,
            names,
        })
    }
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
