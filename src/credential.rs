//! How the store authenticates us. Signs requests, and gets the tokens that are
//! in them; does not know blobs.
//!
//! `shared_key`, `sas` and `connection_string` are what an account itself gives
//! out. `chain` is the way through Microsoft Entra ID: it looks at one place
//! after the other (`environment`, `workload`, `github`, `managed`), and
//! `cache` holds the token that it found.

mod asking;
mod cache;
#[cfg(feature = "certificates")]
mod certificate;
mod chain;
mod connection_string;
mod entra;
mod environment;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod github;
mod hints;
mod managed;
mod sas;
mod shared_key;
mod token;
mod variables;
mod workload;

#[cfg(test)]
mod tests;

pub(crate) use cache::Generation;
pub(crate) use chain::Chain;
pub(crate) use connection_string::{ConnectionString, Held};
pub(crate) use sas::Sas;
pub(crate) use shared_key::SharedKey;
pub(crate) use variables::Variables;

use std::rc::Rc;

use cache::TokenCache;

use crate::config::{Config, is_loopback};
use crate::error::Error;
use crate::secret::Secret;
use crate::transport::{Request, Transport};

/// What tokens are asked for, in the words of managed identities.
const RESOURCE: &str = "https://storage.azure.com";

/// What tokens are asked for, in Entra's words: everything that the identity
/// may do with storage.
const SCOPE: &str = "https://storage.azure.com/.default";

/// A way into the store, as the configuration gives it.
pub(crate) enum Access {
    /// The storage account's key.
    SharedKey {
        key: SharedKey,
        /// The attribute or variable that it came from.
        source: &'static str,
    },
    /// A SAS token.
    Sas {
        token: Sas,
        /// The attribute or variable that it came from.
        source: &'static str,
    },
    /// None: a public container lets everybody read.
    Anonymous,
    /// A token of Microsoft Entra ID.
    Entra(Chain),
}

/// The names that the user may give an account by, as the contract writes a
/// label that the user fills.
macro_rules! account {
    ($domain:literal) => {
        concat!(
            "{account_name|BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME|AZURE_STORAGE_ACCOUNT",
            "|connection_string/AccountName|AZURE_STORAGE_CONNECTION_STRING/AccountName}.blob.",
            $domain
        )
    };
}

/// What may have to be reached beside what the user names: Microsoft Entra ID in
/// each of Azure's clouds, IMDS, the accounts that the user names without their
/// address, and the emulator; and the tokens that the host's tools are asked for.
pub(crate) const AUTHORITIES: [&str; 13] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
    "169.254.169.254",
    account!("core.windows.net"),
    account!("core.usgovcloudapi.net"),
    account!("core.chinacloudapi.cn"),
    account!("{connection_string/EndpointSuffix|AZURE_STORAGE_CONNECTION_STRING/EndpointSuffix}"),
    "127.0.0.1:10000 if connection_string/UseDevelopmentStorage=true",
    "127.0.0.1:10000 if AZURE_STORAGE_CONNECTION_STRING/UseDevelopmentStorage=true",
    "{connection_string/DevelopmentStorageProxyUri}:10000 \
     if connection_string/UseDevelopmentStorage=true",
    "{AZURE_STORAGE_CONNECTION_STRING/DevelopmentStorageProxyUri}:10000 \
     if AZURE_STORAGE_CONNECTION_STRING/UseDevelopmentStorage=true",
    "scope:https://storage.azure.com/.default",
];

/// The files that may have to be read beside those that variables name: the
/// keys of Azure Arc.
pub(crate) const FILES: [&str; 1] = ["/var/opt/azcmagent/tokens/*.key"];

impl Access {
    /// The authorities that may be asked, beside the store's.
    pub(crate) fn authorities(&self) -> Vec<String> {
        match self {
            Self::Entra(chain) => chain.authorities(),
            _ => Vec::new(),
        }
    }
}

/// Why a source of tokens gave none.
enum Denied {
    /// It is not there: others may be. Says why.
    Unavailable(String),
    /// It is there, and failed: that is the end.
    Failed(Error),
}

/// A way into the store, with the token that it is walked with.
pub(crate) struct Credential {
    access: Rc<Access>,
    account: String,
    tokens: TokenCache,
}

impl Credential {
    /// The credential that the configuration gives. Asks nobody.
    pub(crate) fn find(config: &Config) -> Result<Self, Error> {
        let credential = Self {
            access: Rc::clone(&config.access),
            account: config.account.clone(),
            tokens: TokenCache::default(),
        };
        let url = &config.account_url;
        match &*credential.access {
            Access::Entra(_) if !url.https => Err(credential.not_over_http()),
            Access::Sas { source, .. } if !url.https && !is_loopback(&url.authority) => {
                Err(Error::attribute(
                    config.address_source,
                    format!(
                        "the SAS token ({source}) would go over plain http to {}, where everybody \
                         on the way could take and use it: begin the address with https://. Plain \
                         http is for localhost and its addresses only",
                        url.authority
                    ),
                ))
            }
            _ => Ok(credential),
        }
    }

    /// Gets a token where one is needed, so that a credential that is not sufficient
    /// shows before anything else is done.
    pub(crate) async fn prepare<T: Transport>(&self, transport: &T) -> Result<(), Error> {
        self.token(transport).await.map(drop)
    }

    /// Why this credential may make blobs but not replace them, where it says
    /// so itself.
    pub(crate) fn cannot_replace(&self) -> Option<&'static str> {
        match &*self.access {
            Access::Sas { token, .. } if token.cannot_replace() => Some(
                "The SAS token allows blobs to be made (c) and not to be replaced, as a push does \
                 with the name of a cache that exists: it needs w",
            ),
            _ => None,
        }
    }

    /// Puts the signature or the token on a request that is otherwise
    /// complete, its date included. Which token, where there is one.
    pub(crate) async fn authorize<T: Transport>(
        &self,
        transport: &T,
        request: &mut Request,
    ) -> Result<Option<Generation>, Error> {
        match &*self.access {
            Access::SharedKey { key, .. } => {
                let authorization = key.authorization(request);
                request.headers.push("authorization", authorization);
            }
            Access::Sas { .. } if !request.https && !is_loopback(&request.authority) => {
                return Err(self.not_over_http());
            }
            Access::Sas { token, .. } => request.given_query = Some(token.query()),
            Access::Anonymous => {}
            Access::Entra(_) if !request.https => return Err(self.not_over_http()),
            Access::Entra(_) => {}
        }
        let Some((token, generation)) = self.token(transport).await? else {
            return Ok(None);
        };
        let authorization = format!("Bearer {}", token.expose());
        request.headers.push("authorization", authorization);
        Ok(Some(generation))
    }

    /// Forgets a token that the store refused.
    pub(crate) fn forget(&self, refused: Generation) {
        self.tokens.forget(refused);
    }

    /// The credential in words, without its secret.
    pub(crate) fn describe(&self) -> String {
        match &*self.access {
            Access::SharedKey { source, .. } => {
                format!(
                    "the key of the storage account `{}` ({source})",
                    self.account
                )
            }
            Access::Sas { token, source } => format!("{} ({source})", token.describe()),
            Access::Anonymous => "none: requests are anonymous (anonymous=true)".to_owned(),
            Access::Entra(chain) => chain.describe(),
        }
    }

    /// The token to use now; none where none is needed.
    async fn token<T: Transport>(
        &self,
        transport: &T,
    ) -> Result<Option<(Secret, Generation)>, Error> {
        let Access::Entra(chain) = &*self.access else {
            return Ok(None);
        };
        let get = async || chain.token(transport, &self.account).await;
        self.tokens.token(transport, get).await.map(Some)
    }

    fn not_over_http(&self) -> Error {
        Error::Unauthenticated(format!(
            "no credential for the storage account `{}` that may go over plain http, where \
             everybody on the way could take and use a token: begin account_url with https://, or \
             give the account's key (secret_access_key or AZURE_STORAGE_KEY), which signs requests \
             and is not sent",
            self.account
        ))
    }
}

/// What a text is that is neither a key nor a SAS token, where that can be
/// seen, and where it is to be given.
fn mistaken(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let has = |part: &str| lower.contains(part);
    if has("accountkey=") || has("endpoint=") || has("sharedaccesssignature=") {
        Some(
            "it is a connection string: give it as connection_string, or in \
             AZURE_STORAGE_CONNECTION_STRING",
        )
    } else if has("sig=") {
        Some("it is a SAS token: give it as sas_token, or in AZURE_STORAGE_SAS_TOKEN")
    } else if text.len() == 88 && text.ends_with("==") {
        Some("it is an account's key: give it as secret_access_key, or in AZURE_STORAGE_KEY")
    } else {
        None
    }
}

/// Says which variables are missing.
fn not_set(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb} not set", names.join(", "))
}

/// An address, and the query that it came with.
fn split_query(url: &str) -> (&str, Option<Secret>) {
    match url.split_once('?') {
        Some((url, query)) if !query.is_empty() => (url, Some(Secret::new(query.to_owned()))),
        Some((url, _)) => (url, None),
        None => (url, None),
    }
}
