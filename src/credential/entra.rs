//! Microsoft Entra ID: a token for an application that proves who it is.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use std::rc::Rc;

use percent_encoding::utf8_percent_encode;

use super::asking::{self, TIMEOUTS, USUAL, ask};
use super::hints::hint;
use super::token::Token;
use super::variables::Variables;
use super::{Denied, SCOPE};
use crate::config::AccountUrl;
use crate::error::Error;
use crate::secret::Secret;
use crate::transport::{Body, Headers, Method, QUERY, Request, Transport};

/// Where tokens come from in Azure's public cloud.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";

/// The type of an assertion.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An application in a tenant, and the authority that knows it.
pub(super) struct Application {
    authority: AccountUrl,
    tenant: String,
    pub(super) client_id: String,
}

/// How an application proves who it is.
pub(super) enum Proof {
    ClientSecret(Secret),
    /// A JWT, of its own certificate or of somebody who vouches for it.
    Assertion(Secret),
    /// A user who signs in to it.
    Password {
        username: String,
        password: Secret,
    },
}

impl Application {
    /// The application that `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and
    /// `AZURE_AUTHORITY_HOST` name. The first two must be set.
    pub(super) fn from_variables(variables: &Variables) -> Result<Self, Error> {
        let text = |name| variables.id(name).unwrap_or_default();
        let host = variables.get("AZURE_AUTHORITY_HOST");
        let wrong = |reason: &str| Error::attribute("AZURE_AUTHORITY_HOST", reason);
        let authority = AccountUrl::parse(host.unwrap_or(PUBLIC_CLOUD)).map_err(wrong)?;
        if !authority.https {
            return Err(wrong("it must begin with https://"));
        }
        let tenant = text("AZURE_TENANT_ID");
        if !tenant
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        {
            return Err(Error::attribute(
                "AZURE_TENANT_ID",
                "not a tenant, which is an id or a domain: letters, digits, `.` and `-`",
            ));
        }
        Ok(Self {
            authority,
            tenant: tenant.to_owned(),
            client_id: text("AZURE_CLIENT_ID").to_owned(),
        })
    }

    /// `host` or `host:port` that is asked.
    pub(super) fn authority(&self) -> &str {
        &self.authority.authority
    }

    /// The address that gives tokens, which is also what an assertion of ours
    /// is meant for.
    #[cfg(feature = "certificates")]
    pub(super) fn endpoint(&self) -> String {
        format!("https://{}{}", self.authority.authority, self.path())
    }

    fn path(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.authority.path, self.tenant)
    }

    /// Asks for a token. `what` names the proof in an error.
    pub(super) async fn token<T: Transport>(
        &self,
        transport: &T,
        proof: &Proof,
        what: &str,
    ) -> Result<Token, Denied> {
        let mut form = vec![("client_id", &*self.client_id), ("scope", SCOPE)];
        let secret = match proof {
            Proof::ClientSecret(secret) => {
                form.push(("grant_type", "client_credentials"));
                form.push(("client_secret", secret.expose()));
                secret
            }
            Proof::Assertion(assertion) => {
                form.push(("grant_type", "client_credentials"));
                form.push(("client_assertion_type", JWT_BEARER));
                form.push(("client_assertion", assertion.expose()));
                assertion
            }
            Proof::Password { username, password } => {
                form.push(("grant_type", "password"));
                form.push(("username", username));
                form.push(("password", password.expose()));
                password
            }
        };
        let mut request = Request {
            method: Method::Post,
            https: true,
            authority: self.authority.authority.clone(),
            path: self.path(),
            query: Vec::new(),
            given_query: None,
            headers: Headers::default(),
            body: Body::Empty,
            timeouts: TIMEOUTS,
        };
        put_form(&mut request, &form);
        let (client, tenant) = (&self.client_id, &self.tenant);
        let asked = format!("{what} of application {client} in tenant {tenant}");
        let answer = ask(transport, &request, &USUAL).await.map_err(|error| {
            Denied::Failed(Error::Unavailable(format!(
                "{} failed for {asked}: {}. Check the network and proxy between here and there, \
                 and AZURE_AUTHORITY_HOST",
                request.summary(),
                asking::why(&error)
            )))
        })?;
        if answer.status != 200 {
            let refusal = answer.refusal(&[secret]);
            let mut text = format!("Microsoft Entra refused {asked}: {refusal}");
            let hint = hint(&refusal);
            if !hint.is_empty() {
                text.push_str(". ");
                text.push_str(hint);
            }
            return Err(Denied::Failed(match answer.status {
                408 | 429 | 500.. => Error::Unavailable(text),
                _ => Error::Unauthenticated(text),
            }));
        }
        Token::parse(&answer.body, transport.time_of_day()).map_err(|why| {
            Denied::Failed(Error::Unavailable(format!(
                "the answer to {} is not a token: {why}",
                request.summary()
            )))
        })
    }
}

/// Gives a request a form for its body.
pub(super) fn put_form(request: &mut Request, fields: &[(&str, &str)]) {
    let mut form = String::new();
    for (name, value) in fields {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        form.extend(utf8_percent_encode(value, QUERY));
    }
    let headers = &mut request.headers;
    headers.push("content-length", form.len().to_string());
    headers.push("content-type", "application/x-www-form-urlencoded");
    request.body = Body::Bytes(Rc::new(form.into_bytes()));
}
