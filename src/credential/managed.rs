//! Managed identity: the host that runs us lends its identity. Which kind of
//! host it is, its variables tell.

mod arc;
mod imds;

use super::asking::{self, Answer, Patience, TIMEOUTS, USUAL, ask};
use super::entra::put_form;
use super::token::Token;
use super::variables::Variables;
use super::{Denied, RESOURCE};
use crate::config::AccountUrl;
use crate::error::Error;
use crate::secret::Secret;
use crate::transport::{Body, Headers, Method, Request, Transport};

/// The identity of the host that runs us.
pub(super) struct Managed {
    flavour: Flavour,
    pub(super) url: AccountUrl,
    query: Option<Secret>,
    /// What the host knows its own processes by.
    secret: Option<Secret>,
    /// The identity that was assigned by a user; none for the host's own.
    client_id: Option<String>,
    /// Whether others come after this one, so that IMDS is probed first.
    is_one_of_many: bool,
}

/// The kinds of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    AppService,
    ServiceFabric,
    AzureMl,
    CloudShell,
    Arc,
    Imds,
}

impl Flavour {
    fn name(self) -> &'static str {
        match self {
            Self::AppService => "App Service",
            Self::ServiceFabric => "Service Fabric",
            Self::AzureMl => "Azure Machine Learning",
            Self::CloudShell => "Cloud Shell",
            Self::Arc => "Azure Arc",
            Self::Imds => "IMDS",
        }
    }
}

impl Managed {
    /// The kind of host that the variables tell; IMDS where they tell none.
    pub(super) fn find(
        variables: &Variables,
        is_one_of_many: bool,
    ) -> Result<Result<Self, String>, Error> {
        let has = |name| variables.get(name).is_some();
        let (flavour, variable, secret) = if has("IDENTITY_ENDPOINT") && has("IDENTITY_HEADER") {
            let flavour = match has("IDENTITY_SERVER_THUMBPRINT") {
                true => Flavour::ServiceFabric,
                false => Flavour::AppService,
            };
            (flavour, "IDENTITY_ENDPOINT", "IDENTITY_HEADER")
        } else if has("MSI_ENDPOINT") && has("MSI_SECRET") {
            (Flavour::AzureMl, "MSI_ENDPOINT", "MSI_SECRET")
        } else if has("MSI_ENDPOINT") {
            (Flavour::CloudShell, "MSI_ENDPOINT", "")
        } else if has("IDENTITY_ENDPOINT") && has("IMDS_ENDPOINT") {
            (Flavour::Arc, "IDENTITY_ENDPOINT", "")
        } else {
            (Flavour::Imds, imds::AUTHORITY_VARIABLE, "")
        };
        let (url, query) = match variables.get(variable) {
            Some(url) => super::split_query(url),
            None => (imds::AUTHORITY, None),
        };
        let mut url =
            AccountUrl::parse(url).map_err(|reason| Error::attribute(variable, reason))?;
        if flavour == Flavour::Imds {
            url.path.push_str(imds::PATH);
        }
        if variables.is_set_but_empty("AZURE_CLIENT_ID") {
            return Ok(Err(
                "AZURE_CLIENT_ID is empty: unset it, or name a user-assigned identity".to_owned(),
            ));
        }
        let client_id = variables.id("AZURE_CLIENT_ID").map(str::to_owned);
        if client_id.is_some() && matches!(flavour, Flavour::Arc | Flavour::CloudShell) {
            let name = flavour.name();
            return Ok(Err(format!(
                "{name} has no user-assigned identities: unset AZURE_CLIENT_ID to use its own"
            )));
        }
        Ok(Ok(Self {
            flavour,
            url,
            query,
            secret: variables.secret(secret),
            client_id,
            is_one_of_many,
        }))
    }

    /// Whether a failure is the end, as the variables say that this host has
    /// an identity.
    pub(super) fn is_certain(&self) -> bool {
        self.flavour != Flavour::Imds || !self.is_one_of_many
    }

    /// Asks the host for a token.
    pub(super) async fn token<T: Transport>(&self, transport: &T) -> Result<Token, Denied> {
        let answer = match self.flavour {
            Flavour::Imds => self.ask_imds(transport).await?,
            Flavour::Arc => self.ask_arc(transport).await?,
            _ => self.ask(transport, &self.request(), &USUAL).await?,
        };
        if answer.status != 200 {
            return Err(self.denied(&answer));
        }
        let now = transport.time_of_day();
        Token::parse(&answer.body, now)
            .map(|token| token.renewed_at_half_life(now))
            .map_err(|why| {
                let name = self.flavour.name();
                Denied::Failed(Error::Unavailable(format!(
                    "the answer of {name} is not a token: {why}"
                )))
            })
    }

    /// The request for a token as this kind of host wants it.
    fn request(&self) -> Request {
        let mut request = Request {
            method: Method::Get,
            https: self.url.https,
            authority: self.url.authority.clone(),
            path: self.url.path.clone(),
            query: Vec::new(),
            given_query: self.query.clone(),
            headers: Headers::default(),
            body: Body::Empty,
            timeouts: TIMEOUTS,
        };
        let (version, client_id) = match self.flavour {
            Flavour::AppService => ("2019-08-01", "client_id"),
            Flavour::ServiceFabric => ("2019-07-01-preview", ""),
            Flavour::AzureMl => ("2017-09-01", "clientid"),
            Flavour::Arc => ("2020-06-01", ""),
            Flavour::Imds => ("2018-02-01", "client_id"),
            Flavour::CloudShell => {
                request.method = Method::Post;
                request.headers.push("metadata", "true");
                put_form(&mut request, &[("resource", RESOURCE)]);
                return request;
            }
        };
        let query = &mut request.query;
        query.push(("api-version", version.to_owned()));
        query.push(("resource", RESOURCE.to_owned()));
        if let Some(id) = self.client_id.as_ref().filter(|_| !client_id.is_empty()) {
            query.push((client_id, id.clone()));
        }
        match (&self.secret, self.flavour) {
            (Some(secret), Flavour::AppService) => {
                request.headers.push("x-identity-header", secret.expose());
            }
            (Some(secret), _) => request.headers.push("secret", secret.expose()),
            (None, _) => request.headers.push("metadata", "true"),
        }
        request
    }

    async fn ask<T: Transport>(
        &self,
        transport: &T,
        request: &Request,
        patience: &Patience,
    ) -> Result<Answer, Denied> {
        let answer = ask(transport, request, patience).await;
        answer.map_err(|error| {
            let name = self.flavour.name();
            let why = asking::why(&error);
            Denied::Failed(Error::Unavailable(format!(
                "the managed identity of {name} could not be asked: {} failed: {why}",
                request.summary()
            )))
        })
    }

    /// What a refusal means.
    fn denied(&self, answer: &Answer) -> Denied {
        let name = self.flavour.name();
        let secrets: Vec<&Secret> = self.secret.iter().collect();
        let refusal = answer.refusal(&secrets);
        let whose = match &self.client_id {
            Some(id) => format!("the user-assigned identity {id} (AZURE_CLIENT_ID)"),
            None => "the managed identity".to_owned(),
        };
        let text = format!("{name} gave no token for {whose}: {refusal}");
        Denied::Failed(match answer.status {
            408 | 429 | 500.. => Error::Unavailable(text),
            _ => Error::Unauthenticated(text),
        })
    }
}

impl Managed {
    /// In words, without secrets: whom it speaks for, where it was found.
    pub(super) fn describe(&self) -> String {
        let name = self.flavour.name();
        match &self.client_id {
            Some(id) => format!("the user-assigned managed identity {id} by {name}"),
            None => format!("the managed identity by {name}"),
        }
    }
}
