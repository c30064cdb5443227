//! The chain of Azure's `DefaultAzureCredential`: several places to find a
//! credential at, in their order. A place that has none is passed over; one
//! that has one that fails ends the chain, so that nobody is let in as
//! somebody else by accident.
//!
//! What each place has is known from the variables alone, before anything is
//! asked, but for IMDS and the developer's tools.

use std::cell::Cell;

use super::entra::Application;
use super::environment::Environment;
use super::github::GitHub;
use super::managed::Managed;
use super::token::{Token, is_token};
use super::variables::Variables;
use super::workload::Workload;
use super::{Denied, SCOPE};
use crate::error::Error;
use crate::transport::{HostToken, Transport};

/// The variable that chooses among the places.
const CHOICE: &str = "AZURE_TOKEN_CREDENTIALS";

/// A place where a credential may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Environment,
    Workload,
    GitHub,
    Managed,
    Tools,
}

/// What a place has.
enum Source {
    Environment(Environment),
    Workload(Workload),
    GitHub(GitHub),
    Managed(Managed),
    /// The developer's signed-in tools, which only the host can run.
    Tools,
}

/// The places to look at, in order.
pub(crate) struct Chain {
    /// Each with what it has, or why it has nothing.
    places: Vec<(Place, Result<Source, String>)>,
    /// The place whose token came first; it stays.
    chosen: Cell<Option<usize>>,
}

impl Place {
    const ALL: [Self; 5] = [
        Self::Environment,
        Self::Workload,
        Self::GitHub,
        Self::Managed,
        Self::Tools,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Workload => "workload identity",
            Self::GitHub => "GitHub Actions",
            Self::Managed => "managed identity",
            Self::Tools => "developer tools",
        }
    }

    /// The places that a value of the variable chooses, in lower case.
    fn chosen(value: &str) -> Option<&'static [Self]> {
        Some(match value {
            "dev" => &[Self::Tools],
            "prod" => &[
                Self::Environment,
                Self::Workload,
                Self::GitHub,
                Self::Managed,
            ],
            "environmentcredential" => &[Self::Environment],
            "workloadidentitycredential" => &[Self::Workload],
            "githubactionscredential" => &[Self::GitHub],
            "managedidentitycredential" => &[Self::Managed],
            // Which of them, the host reads from the same variable.
            "azureclicredential" | "azuredeveloperclicredential" | "azurepowershellcredential" => {
                &[Self::Tools]
            }
            _ => return None,
        })
    }

    /// What this place has, by the variables.
    fn look(
        self,
        variables: &Variables,
        is_one_of_many: bool,
    ) -> Result<Result<Source, String>, Error> {
        Ok(match self {
            Self::Environment => Environment::find(variables)?.map(Source::Environment),
            Self::Workload => Workload::find(variables)?.map(Source::Workload),
            Self::GitHub => GitHub::find(variables)?.map(Source::GitHub),
            Self::Managed => Managed::find(variables, is_one_of_many)?.map(Source::Managed),
            Self::Tools => Ok(Source::Tools),
        })
    }
}

impl Chain {
    /// Looks what each place has. An error where a variable is wrong.
    pub(crate) fn plan(variables: &Variables) -> Result<Self, Error> {
        let places = match variables.get(CHOICE) {
            None => &Place::ALL,
            Some(value) => Place::chosen(&value.trim().to_ascii_lowercase()).ok_or_else(|| {
                Error::attribute(
                    CHOICE,
                    "it must be `dev`, `prod` or a credential's name, such as \
                     ManagedIdentityCredential",
                )
            })?,
        };
        let mut planned = Vec::new();
        for &place in places {
            let source = place.look(variables, places.len() > 1)?;
            let is_certain = source.as_ref().is_ok_and(Source::is_certain);
            planned.push((place, source));
            if is_certain {
                break; // Nobody comes after it, whatever becomes of it.
            }
        }
        Ok(Self {
            places: planned,
            chosen: Cell::new(None),
        })
    }

    /// The authorities that may be asked, beside the store's.
    pub(crate) fn authorities(&self) -> Vec<String> {
        let sources = self
            .places
            .iter()
            .filter_map(|(_, source)| source.as_ref().ok());
        let mut authorities: Vec<String> = Vec::new();
        for source in sources {
            if let Some(application) = source.application() {
                authorities.push(application.authority().to_owned());
            }
            match source {
                Source::GitHub(github) => authorities.push(github.url.authority.clone()),
                Source::Managed(managed) => authorities.push(managed.url.authority.clone()),
                _ => {}
            }
        }
        authorities
    }

    /// Asks for a token: of the place that gave one before, or else each in
    /// turn. `account` names the storage account in an error.
    pub(super) async fn token<T: Transport>(
        &self,
        transport: &T,
        account: &str,
    ) -> Result<Token, Error> {
        let mut passed_over = String::new();
        let first = self.chosen.get().unwrap_or(0);
        for (index, (place, source)) in self.places.iter().enumerate().skip(first) {
            let outcome = match source {
                Ok(source) => source.token(transport).await,
                Err(why) => Err(Denied::Unavailable(why.clone())),
            };
            match outcome {
                Ok(token) => {
                    self.chosen.set(Some(index));
                    return Ok(token);
                }
                Err(Denied::Failed(error)) => return Err(error),
                Err(Denied::Unavailable(why)) => {
                    let why = why.trim_end_matches('.');
                    passed_over.push_str(&format!("\n  {}: {why}", place.name()));
                }
            }
            if self.chosen.get().is_some() {
                break;
            }
        }
        Err(Error::Unauthenticated(format!(
            "no credential for the storage account `{account}`. Passed over:{passed_over}\n\
             Give one of these, or the account's key (secret_access_key or AZURE_STORAGE_KEY), or \
             a SAS token (sas_token or AZURE_STORAGE_SAS_TOKEN)"
        )))
    }

    /// The place that gave a token, in words.
    pub(super) fn describe(&self) -> String {
        let chosen = self.chosen.get().and_then(|index| self.places.get(index));
        match chosen {
            Some((_, Ok(source))) => source.describe(),
            _ => "Azure's default credentials".to_owned(),
        }
    }
}

impl Source {
    /// Whether a failure of this one ends the chain, always.
    fn is_certain(&self) -> bool {
        match self {
            Self::Environment(_) | Self::Workload(_) | Self::GitHub(_) => true,
            Self::Managed(managed) => managed.is_certain(),
            Self::Tools => false,
        }
    }

    /// The application that Entra is asked for.
    fn application(&self) -> Option<&Application> {
        match self {
            Self::Environment(environment) => Some(&environment.application),
            Self::Workload(workload) => Some(&workload.application),
            Self::GitHub(github) => Some(&github.application),
            Self::Managed(_) | Self::Tools => None,
        }
    }

    async fn token<T: Transport>(&self, transport: &T) -> Result<Token, Denied> {
        match self {
            Self::Environment(environment) => environment.token(transport).await,
            Self::Workload(workload) => workload.token(transport).await,
            Self::GitHub(github) => github.token(transport).await,
            Self::Managed(managed) => managed.token(transport).await,
            Self::Tools => tools(transport).await,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Environment(environment) => environment.describe(),
            Self::Workload(workload) => workload.describe(),
            Self::GitHub(github) => github.describe(),
            Self::Managed(managed) => managed.describe(),
            Self::Tools => "a developer's tool on the host, such as `az`".to_owned(),
        }
    }
}

/// Asks the host. Its tools may be signed out or be absent: that is not a failure,
/// as in Azure's SDKs.
async fn tools<T: Transport>(transport: &T) -> Result<Token, Denied> {
    let given = transport.host_token(SCOPE).await;
    let given = given.map_err(Denied::Unavailable)?;
    let HostToken { token, expires_at } = given.ok_or_else(|| {
        Denied::Unavailable("the host has none that is signed in, such as by `az login`".to_owned())
    })?;
    let expires_at = std::time::Duration::from_secs(expires_at);
    let expires_at = std::time::SystemTime::UNIX_EPOCH.checked_add(expires_at);
    match (is_token(token.expose()), expires_at) {
        (true, Some(expires_at)) => Ok(Token {
            secret: token,
            expires_at,
            refresh_at: None,
        }),
        _ => Err(Denied::Unavailable(
            "what the host's tool gave is not a token".to_owned(),
        )),
    }
}
