//! GitHub Actions: the token that says which workflow runs vouches for an
//! application, so that a workflow needs no secret at all.
//! <https://docs.github.com/actions/reference/security/oidc>
//!
//! Azure's SDKs do not know this one. It stands after workload identity, whose
//! variables say more, and before managed identity, which a runner of one's own
//! may have as well.

use super::Denied;
use super::asking::{self, TIMEOUTS, USUAL, ask};
use super::entra::{Application, Proof};
use super::token::{Token, is_token};
use super::variables::Variables;
use crate::config::AccountUrl;
use crate::error::Error;
use crate::json::Reader;
use crate::secret::Secret;
use crate::transport::{Body, Headers, Method, Request, Transport};

/// Whom the token is meant for: what Entra wants to see.
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// An application, and where a job gets the token that vouches for it.
pub(super) struct GitHub {
    pub(super) application: Application,
    pub(super) url: AccountUrl,
    query: Option<Secret>,
    request_token: Secret,
}

impl GitHub {
    /// What the variables name, or what of it is missing.
    pub(super) fn find(variables: &Variables) -> Result<Result<Self, String>, Error> {
        const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
        const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
        let missing = variables.missing(&[URL, TOKEN, "AZURE_TENANT_ID", "AZURE_CLIENT_ID"]);
        let (Some(url), Some(request_token)) = (variables.get(URL), variables.secret(TOKEN)) else {
            let missing = super::not_set(&missing);
            return Ok(Err(format!(
                "{missing}, as in a job without the permission `id-token: write`"
            )));
        };
        if !missing.is_empty() {
            return Ok(Err(super::not_set(&missing)));
        }
        let (url, query) = super::split_query(url);
        let url = AccountUrl::parse(url).map_err(|reason| Error::attribute(URL, reason))?;
        if !url.https {
            return Err(Error::attribute(URL, "it must begin with https://"));
        }
        Ok(Ok(Self {
            application: Application::from_variables(variables)?,
            url,
            query,
            request_token,
        }))
    }

    /// Asks GitHub who we are, and Entra for a token.
    pub(super) async fn token<T: Transport>(&self, transport: &T) -> Result<Token, Denied> {
        let proof = Proof::Assertion(self.assertion(transport).await.map_err(Denied::Failed)?);
        let what = "the token of this GitHub workflow";
        self.application.token(transport, &proof, what).await
    }

    async fn assertion<T: Transport>(&self, transport: &T) -> Result<Secret, Error> {
        let mut headers = Headers::default();
        let token = self.request_token.expose();
        headers.push("authorization", format!("Bearer {token}"));
        headers.push("accept", "application/json");
        let request = Request {
            method: Method::Get,
            https: true,
            authority: self.url.authority.clone(),
            path: self.url.path.clone(),
            query: vec![("audience", AUDIENCE.to_owned())],
            given_query: self.query.clone(),
            headers,
            body: Body::Empty,
            timeouts: TIMEOUTS,
        };
        let what = "GitHub gave no token for this workflow";
        let answer = ask(transport, &request, &USUAL)
            .await
            .map_err(|error| Error::Unavailable(format!("{what}: {}", asking::why(&error))))?;
        if answer.status != 200 {
            return Err(Error::Unauthenticated(format!(
                "{what}: {}. Check that the job has the permission `id-token: write`",
                answer.refusal(&[&self.request_token])
            )));
        }
        let mut value = None;
        let mut reader = Reader::new(std::str::from_utf8(&answer.body).unwrap_or_default());
        let read = reader.object(|key, reader| {
            match key {
                "value" => value = Some(reader.string()?),
                _ => drop(reader.skip()?),
            }
            Ok(())
        });
        let value = value.filter(|value| read.is_ok() && is_token(value));
        value
            .map(Secret::new)
            .ok_or_else(|| Error::Unavailable(format!("{what}: there is none in its answer")))
    }
}

impl GitHub {
    /// In words, without secrets: whom it speaks for, where it was found.
    pub(super) fn describe(&self) -> String {
        let client = &self.application.client_id;
        format!("application {client} with the token of this GitHub workflow")
    }
}
