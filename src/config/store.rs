//! Which store is meant: address, account, container and the way in, each of
//! which several attributes and variables may name.
//!
//! What an attribute says takes precedence over what a variable says. What two
//! of them name differently, where neither can be left out of account, is an
//! error that shows both: blobs must not land in a container that nobody meant.

use super::access::Way;
use super::attributes::{Attributes, Given};
use super::{AccountUrl, ContainerName, Place};
use crate::credential::{Access, Variables};
use crate::error::Error;
use crate::secret::unquoted;

/// The store that the user means.
pub(super) struct Store {
    pub(super) url: AccountUrl,
    /// The attribute or the variable that the address came from.
    pub(super) address_source: &'static str,
    pub(super) account: String,
    pub(super) container: ContainerName,
    pub(super) access: Access,
}

/// An address and what it says, with where it came from.
struct Address {
    source: &'static str,
    place: Place,
}

const URL: &str = "account_url";
const URL_VARIABLE: &str = "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL";

impl Store {
    /// Takes what was given.
    pub(super) fn take(given: &mut Attributes, variables: &Variables) -> Result<Self, Error> {
        let mut url = given.take(URL, Some(URL_VARIABLE));
        let sas_in_url = url.as_mut().and_then(take_sas);
        let mut way = Way::take(given, sas_in_url)?;
        let around_sas = match &mut way {
            Some(Way::Sas(sas)) => take_address(sas)?,
            _ => None,
        };

        let name = account_name(given.take("account_name", None))?;
        let name_variable =
            account_name(given.take_variable("BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME"))?;
        let usual_name = account_name(given.take_variable("AZURE_STORAGE_ACCOUNT"))?;
        let text = |name: &Option<Given>| name.as_ref().map(|given| given.value.clone());
        let (name_text, variable_text) = (text(&name), text(&name_variable));
        let chosen_name = name_text.as_ref().or(variable_text.as_ref());

        // The variable may be there for another account.
        let in_connection = match &way {
            Some(Way::Connection { source, parsed })
                if *source == Way::CONNECTION_STRING
                    || chosen_name.is_none_or(|name| parsed.may_be_of(name)) =>
            {
                Some((*source, parsed))
            }
            _ => None,
        };
        let is_attribute = |source: &str| source == Way::CONNECTION_STRING;
        if in_connection.is_some_and(|(source, _)| is_attribute(source))
            && url.as_ref().is_some_and(|url| url.source == URL_VARIABLE)
        {
            url = None;
        }
        let names: Vec<&str> = [&name, &name_variable, &usual_name]
            .into_iter()
            .flatten()
            .map(|given| given.value.as_str())
            .collect();
        let find = |given: &Given| {
            let url = given.read(AccountUrl::parse)?;
            let place = Place::find(url, &names).map_err(|reason| given.wrong(reason))?;
            let source = given.source;
            Ok::<_, Error>(Address { source, place })
        };
        let around_sas = around_sas.as_ref().map(find).transpose()?;
        let mut of_connection = None;
        let mut beside = None;
        let address = if let Some(url) = &url {
            beside = in_connection.and_then(|(source, parsed)| {
                let container = parsed.place.container.clone()?;
                Some((source, container))
            });
            find(url)?
        } else if let Some((source, parsed)) = in_connection {
            of_connection = parsed.name.clone();
            let place = parsed.place.clone();
            Address { source, place }
        } else if let Some(around_sas) = &around_sas {
            let (source, place) = (around_sas.source, around_sas.place.clone());
            Address { source, place }
        } else if let Some(name) = name
            .as_ref()
            .or(name_variable.as_ref())
            .or(usual_name.as_ref())
        {
            find(&Given {
                source: name.source,
                value: format!("{}.blob.core.windows.net", name.value),
            })?
        } else {
            return Err(Error::attribute(
                URL,
                "missing: give the storage account's address, such as \
                 https://ACCOUNT.blob.core.windows.net, or set \
                 BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
            ));
        };

        let Address { source, place } = address;
        let (certain, guessed) = match place.is_certain {
            true => (place.account, None),
            false => (None, place.account),
        };
        let is_account = |name: &String| check_account(name).is_ok();
        let account = match is_attribute(source) {
            true => name_text.or(of_connection).or(variable_text),
            false => name_text.or(variable_text).or(of_connection),
        };
        let account = account
            .or(certain.filter(is_account))
            .or(text(&usual_name))
            .or(guessed.filter(is_account))
            .ok_or_else(|| {
                Error::attribute(
                    source,
                    "it does not contain the storage account's name: give that as account_name",
                )
            })?;

        let in_address = place.container.map(|container| (source, container));
        let container = given.take("container", Some("BUILDKIT_AZURE_STORAGE_CONTAINER"));
        let container = match container {
            Some(given) => Some((
                given.source,
                given.read(|name| ContainerName::parse(unquoted(name)))?,
            )),
            None => None,
        };
        let mut container = one_of(one_of(container, in_address)?, beside)?;
        if let Some(Address {
            source: of_sas,
            place: around,
        }) = around_sas
        {
            if around.url != place.url {
                return Err(Error::attribute(
                    of_sas,
                    format!(
                        "it is a SAS token for {}{}, not for {}{}",
                        around.url.authority, around.url.path, place.url.authority, place.url.path
                    ),
                ));
            }
            container = one_of(container, around.container.map(|name| (of_sas, name)))?;
        }
        Ok(Self {
            access: Way::into_account(way, &account, variables)?,
            url: place.url,
            address_source: source,
            account,
            container: container.map(|(_, name)| name).unwrap_or_default(),
        })
    }
}

/// A container's name, and what gave it.
type Named = Option<(&'static str, ContainerName)>;

/// The container that either gives; an error where they differ.
fn one_of(given: Named, in_address: Named) -> Result<Named, Error> {
    match (&given, &in_address) {
        (Some((by, name)), Some((source, other))) if name != other => Err(Error::attribute(
            source,
            format!(
                "it is the address of the container `{}`, but {by} names `{}`: leave one of the two \
                 out",
                other.as_str(),
                name.as_str(),
            ),
        )),
        _ => Ok(given.or(in_address)),
    }
}

/// Takes the query off an address, if it is a SAS token: Azure's portal shows
/// both as one.
fn take_sas(url: &mut Given) -> Option<Given> {
    let (address, query) = url.value.split_once('?')?;
    if !query.split('&').any(|field| field.starts_with("sig=")) {
        return None;
    }
    let (source, value) = (url.source, query.to_owned());
    url.value = address.to_owned();
    Some(Given { source, value })
}

/// Takes the address off a SAS token, for the same reason.
fn take_address(sas: &mut Given) -> Result<Option<Given>, Error> {
    let Some((address, token)) = sas.value.split_once('?') else {
        return Ok(None);
    };
    if unquoted(address).is_empty() {
        return Ok(None);
    }
    if !token.contains("sig=") {
        return Err(
            sas.wrong("not a SAS token: there is a `?` in it, but no signature (sig) after that")
        );
    }
    let address = Given {
        source: sas.source,
        value: address.to_owned(),
    };
    sas.value = token.to_owned();
    Ok(Some(address))
}

/// Checks an account's name.
fn account_name(mut given: Option<Given>) -> Result<Option<Given>, Error> {
    if let Some(given) = &mut given {
        given.value = unquoted(&given.value).to_owned();
        given.read(check_account)?;
    }
    Ok(given)
}

/// An account's name is part of every signature; what Azure's rules allow is
/// checked by Azure, what would break the signature is checked here.
fn check_account(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("empty: give the storage account's name"),
        name if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => Ok(()),
        _ => Err("not a storage account's name, which has lowercase letters and digits only"),
    }
}
