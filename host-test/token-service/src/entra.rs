//! Entra's token endpoint: who asks, with what proof, for what. Errors come in the order that
//! Entra finds them: the request's form, the tenant, the client, the proof, the scope.

use crate::assertion::{Presented, Proven};
use crate::clients::{Algorithm, Clients, Credential};
use crate::form::Form;
use crate::keys::RsaKey;
use crate::refusal::Refusal;

/// The only scope that a cache needs.
const SCOPE: &str = "https://storage.azure.com/.default";

/// What a client may ask for beside it when a user signs in.
const USER_SCOPES: [&str; 3] = ["offline_access", "openid", "profile"];

/// What an assertion is said to be.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Where the endpoint is, behind the tenant.
pub(crate) const TOKEN_PATH: &str = "/oauth2/v2.0/token";

/// Where MSAL looks for the endpoints, behind the tenant.
pub(crate) const DISCOVERY_PATH: &str = "/v2.0/.well-known/openid-configuration";

/// What the client proved itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// A client secret.
    Secret,
    /// An assertion that a registered certificate signed with PS256.
    Certificate,
    /// The same with RS256, as Azure's Python SDK still does. Entra takes both.
    LegacyCertificate,
    /// An assertion that a trusted issuer signed.
    Federated,
    /// An assertion of the text that was agreed on.
    Assertion,
    /// A user's name and password.
    Password,
}

/// One request for a token.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    /// The tenant that is served.
    pub tenant: &'a str,
    /// The tenant in the path.
    pub addressed: &'a str,
    /// The address that the client used.
    pub token_endpoint: &'a str,
    /// Unix seconds.
    pub now: u64,
    pub github: &'a RsaKey,
}

impl TokenRequest<'_> {
    /// Says whether the form deserves a token, and what it proved.
    pub fn check(&self, form: &Form, clients: &mut Clients) -> Result<Proof, Refusal> {
        let grant_type = required(form, "grant_type")?;
        let client_id = required(form, "client_id")?;
        let scope = required(form, "scope")?;
        if self.addressed != self.tenant {
            return Err(Refusal::request(
                90_002,
                format!("Tenant '{}' not found.", self.addressed),
            ));
        }
        let credentials = clients
            .credentials(client_id)
            .ok_or_else(|| Refusal::unknown_client(client_id, self.tenant))?;
        let proof = match grant_type {
            "client_credentials" if form.get("client_assertion").is_some() => {
                let proven = self.check_assertion(form, client_id, credentials)?;
                match proven {
                    Proven::Text => Proof::Assertion,
                    Proven::Federated => Proof::Federated,
                    // Microsoft names no number for this.
                    Proven::Certificate { jti, .. } if !clients.use_assertion(client_id, &jti) => {
                        return Err(Refusal::client(
                            50_012,
                            "Authentication failed: this assertion's jti was used before.",
                        ));
                    }
                    Proven::Certificate { algorithm, .. } => match algorithm {
                        Algorithm::Ps256 => Proof::Certificate,
                        Algorithm::Rs256 => Proof::LegacyCertificate,
                    },
                }
            }
            "client_credentials" => {
                check_secret(form, client_id, credentials)?;
                Proof::Secret
            }
            "password" => {
                check_password(form, credentials)?;
                Proof::Password
            }
            other => return Err(Refusal::grant_type(other)),
        };
        check_scope(scope, proof)?;
        Ok(proof)
    }

    fn check_assertion(
        &self,
        form: &Form,
        client_id: &str,
        credentials: &[Credential],
    ) -> Result<Proven, Refusal> {
        if required(form, "client_assertion_type")? != JWT_BEARER {
            return Err(Refusal::request(
                50_027,
                format!(
                    "JWT token is invalid or malformed: client_assertion_type must be {JWT_BEARER}."
                ),
            ));
        }
        let presented = Presented {
            client_id,
            assertion: required(form, "client_assertion")?,
            token_endpoint: self.token_endpoint,
            now: self.now,
        };
        presented.check(credentials, self.github)
    }
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refusal> {
    form.get(name).ok_or_else(|| {
        Refusal::request(
            900_144,
            format!("The request body must contain the following parameter: '{name}'."),
        )
    })
}

fn check_secret(form: &Form, client_id: &str, credentials: &[Credential]) -> Result<(), Refusal> {
    let presented = form.get("client_secret").ok_or_else(|| {
        Refusal::client(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
    })?;
    let matches = |credential: &Credential| matches!(credential, Credential::Secret(secret) if secret.expose() == presented);
    if credentials.iter().any(matches) {
        return Ok(());
    }
    Err(Refusal::client(
        7_000_215,
        format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client_id}'."
        ),
    ))
}

fn check_password(form: &Form, credentials: &[Credential]) -> Result<(), Refusal> {
    let presented = (required(form, "username")?, required(form, "password")?);
    let matches = |credential: &Credential| {
        matches!(credential, Credential::Password { username, password }
            if (username.as_str(), password.expose()) == presented)
    };
    if credentials.iter().any(matches) {
        return Ok(());
    }
    Err(Refusal::password())
}

fn check_scope(scope: &str, proof: Proof) -> Result<(), Refusal> {
    let is_for_a_user = |part: &str| proof == Proof::Password && USER_SCOPES.contains(&part);
    let mut resources = scope.split(' ').filter(|part| !is_for_a_user(part));
    if (resources.next(), resources.next()) == (Some(SCOPE), None) {
        return Ok(());
    }
    Err(Refusal::scope(scope))
}
