//! Which way into the store the user gave, where there are several to give it.
//!
//! What an attribute says takes precedence over what a variable says, and two
//! attributes that authenticate are an error. Among the variables the account's
//! key comes first, then a SAS token, then a connection string; when none is
//! set, there is the chain of Microsoft Entra ID. Anonymous access is never
//! guessed, only asked for: a typing error in a variable's name should not end
//! as a refusal that nobody understands.

use super::attributes::{Attributes, Given, boolean};
use crate::credential::{Access, Chain, ConnectionString, Held, Sas, SharedKey, Variables};
use crate::error::Error;

/// What was given to get in with, before it is known into which account.
pub(super) enum Way {
    Key(Given),
    Sas(Given),
    Connection {
        /// The attribute or the variable.
        source: &'static str,
        parsed: ConnectionString,
    },
    Anonymous,
}

const CONNECTION_VARIABLE: &str = "AZURE_STORAGE_CONNECTION_STRING";

impl Way {
    /// The attribute of a connection string.
    pub(super) const CONNECTION_STRING: &'static str = "connection_string";

    /// Takes what was given. `sas_in_url` is the query of the account's
    /// address.
    pub(super) fn take(
        given: &mut Attributes,
        sas_in_url: Option<Given>,
    ) -> Result<Option<Self>, Error> {
        let (in_attribute, in_variable) = match sas_in_url {
            Some(sas) if sas.source == "account_url" => (Some(sas), None),
            sas => (None, sas),
        };
        let mut ways = [
            given.take_filled("secret_access_key", None).map(Self::Key),
            given.take_filled("sas_token", None).map(Self::Sas),
            in_attribute.map(Self::Sas),
            Self::connection(given.take_filled(Self::CONNECTION_STRING, None))?,
            anonymous(given)?.then_some(Self::Anonymous),
        ]
        .into_iter()
        .flatten();
        let way = ways.next();
        if let (Some(first), Some(second)) = (&way, ways.next()) {
            let first = first.source();
            return Err(Error::attribute(
                second.source(),
                format!("{first} authenticates already: give only one of the two"),
            ));
        }
        if way.is_some() {
            return Ok(way);
        }
        let key = given.take_variable("AZURE_STORAGE_KEY").map(Self::Key);
        let sas = in_variable.or_else(|| given.take_variable("AZURE_STORAGE_SAS_TOKEN"));
        match key.or(sas.map(Self::Sas)) {
            Some(way) => Ok(Some(way)),
            None => Self::connection(given.take_variable(CONNECTION_VARIABLE)),
        }
    }

    fn connection(given: Option<Given>) -> Result<Option<Self>, Error> {
        let Some(given) = given else { return Ok(None) };
        let parsed = given.read(ConnectionString::parse)?;
        let source = given.source;
        Ok(Some(Self::Connection { source, parsed }))
    }

    /// The attribute or the variable that it came from.
    fn source(&self) -> &'static str {
        match self {
            Self::Key(given) | Self::Sas(given) => given.source,
            Self::Connection { source, .. } => source,
            Self::Anonymous => "anonymous",
        }
    }

    /// The way into this account.
    pub(super) fn into_account(
        way: Option<Self>,
        account: &str,
        variables: &Variables,
    ) -> Result<Access, Error> {
        match way {
            Some(Self::Key(given)) => {
                let source = given.source;
                let key = SharedKey::parse(account.to_owned(), given.into_secret())
                    .map_err(|reason| Error::attribute(source, reason))?;
                Ok(Access::SharedKey { key, source })
            }
            Some(Self::Sas(given)) => {
                let source = given.source;
                let token = given.read(Sas::parse)?;
                Ok(Access::Sas { token, source })
            }
            Some(Self::Connection { source, parsed }) => {
                match parsed.account() {
                    Some(other) if other != account && source == Self::CONNECTION_STRING => {
                        return Err(Error::attribute(
                            source,
                            format!("it is for the account `{other}`, not for `{account}`"),
                        ));
                    }
                    // The variable may be there for something else.
                    Some(other) if other != account => {
                        return Ok(Access::Entra(Chain::plan(variables)?));
                    }
                    _ => {}
                }
                Ok(match parsed.held {
                    Held::Key(key) => {
                        let key = SharedKey::parse(account.to_owned(), key)
                            .map_err(|reason| Error::attribute(source, reason))?;
                        Access::SharedKey { key, source }
                    }
                    Held::Sas(token) => Access::Sas { token, source },
                })
            }
            Some(Self::Anonymous) => Ok(Access::Anonymous),
            None => Ok(Access::Entra(Chain::plan(variables)?)),
        }
    }
}

fn anonymous(given: &mut Attributes) -> Result<bool, Error> {
    match given.take_filled("anonymous", None) {
        None => Ok(false),
        Some(given) => match boolean(&given.value) {
            Some(is_anonymous) => Ok(is_anonymous),
            None => Err(given.wrong("it must be `true` or `false`")),
        },
    }
}
