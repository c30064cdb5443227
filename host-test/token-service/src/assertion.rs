//! Whether an assertion proves who its client is: signed by a certificate that the client
//! registered, made by an issuer that it trusts, or the very text that it agreed on.
//!
//! The rules: <https://learn.microsoft.com/entra/identity-platform/certificate-credentials> and
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::clients::{Algorithm, Credential, Registered};
use crate::jwt::Jwt;
use crate::keys::RsaKey;
use crate::refusal::Refusal;

/// How far the client's clock may be off, in seconds, as Entra allows.
const CLOCK_SKEW: u64 = 300;

/// An assertion as it was presented.
#[derive(Debug)]
pub(crate) struct Presented<'a> {
    pub client_id: &'a str,
    pub assertion: &'a str,
    /// The address that the client sent it to: the only audience of a self-made assertion.
    pub token_endpoint: &'a str,
    /// Unix seconds.
    pub now: u64,
}

/// What an assertion proved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Proven {
    /// Signed by a certificate; the id may serve once.
    Certificate { algorithm: Algorithm, jti: String },
    /// Made by a trusted issuer.
    Federated,
    /// The text that was agreed on.
    Text,
}

impl Presented<'_> {
    /// Checks the assertion against what the client registered. `github` is the one issuer whose
    /// signature can be verified here.
    pub fn check(&self, credentials: &[Credential], github: &RsaKey) -> Result<Proven, Refusal> {
        let is_agreed = |credential: &Credential| matches!(credential, Credential::Assertion(text) if text.expose() == self.assertion);
        if credentials.iter().any(is_agreed) {
            return Ok(Proven::Text);
        }
        let jwt = Jwt::parse(self.assertion)
            .ok_or_else(|| Refusal::request(50_027, "JWT token is invalid or malformed."))?;
        if jwt.claim("iss") == Some(self.client_id) {
            self.check_own(&jwt, credentials)
        } else {
            self.check_federated(&jwt, credentials, github)
        }
    }

    fn check_own(&self, jwt: &Jwt<'_>, credentials: &[Credential]) -> Result<Proven, Refusal> {
        let algorithm = match jwt.header("alg") {
            Some("PS256") => Algorithm::Ps256,
            Some("RS256") => Algorithm::Rs256,
            _ => {
                return Err(Refusal::request(
                    50_027,
                    "JWT token is invalid or malformed: its alg is neither PS256 nor RS256.",
                ));
            }
        };
        let certificate = named_certificate(jwt, credentials)?;
        if !certificate.verifies(algorithm, jwt.signed, &jwt.signature) {
            return Err(Refusal::client(
                700_027,
                "Client assertion failed signature validation.",
            ));
        }
        if certificate.with_chain {
            check_x5c(jwt, certificate)?;
        }
        if jwt.claim("sub") != Some(self.client_id) {
            return Err(Refusal::client(
                700_021,
                "Client assertion application identifier doesn't match 'client_id' parameter.",
            ));
        }
        if jwt.claim("aud") != Some(self.token_endpoint) {
            return Err(Refusal::client(
                700_023,
                format!(
                    "Client assertion audience claim does not match Realm issuer. Expected '{}'.",
                    self.token_endpoint
                ),
            ));
        }
        self.check_time(jwt)?;
        let jti = jwt.claim("jti").filter(|jti| !jti.is_empty());
        let jti = jti.ok_or_else(|| {
            Refusal::request(50_027, "JWT token is invalid or malformed: it has no jti.")
        })?;
        Ok(Proven::Certificate {
            algorithm,
            jti: jti.to_owned(),
        })
    }

    fn check_federated(
        &self,
        jwt: &Jwt<'_>,
        credentials: &[Credential],
        github: &RsaKey,
    ) -> Result<Proven, Refusal> {
        let trusted: Vec<_> = credentials
            .iter()
            .filter_map(|credential| match credential {
                Credential::Federated {
                    issuer,
                    subject,
                    audience,
                } => Some((issuer.as_str(), subject.as_str(), audience.as_str())),
                _ => None,
            })
            .collect();
        let claims = ["iss", "sub", "aud"].map(|name| jwt.claim(name).unwrap_or_default());
        let [issuer, subject, audience] = claims;
        let no_match = |code, what: &str, presented: &str| {
            Refusal::client(
                code,
                format!(
                    "No matching federated identity record found for presented assertion {what} '{presented}'."
                ),
            )
        };
        if !trusted.iter().any(|trusted| trusted.0 == issuer) {
            return Err(no_match(700_211, "issuer", issuer));
        }
        if jwt.header("alg") != Some("RS256") || !github.verifies(jwt.signed, &jwt.signature) {
            return Err(Refusal::client(
                700_027,
                "Client assertion failed signature validation.",
            ));
        }
        if !trusted
            .iter()
            .any(|trusted| (trusted.0, trusted.1) == (issuer, subject))
        {
            return Err(no_match(700_213, "subject", subject));
        }
        if !trusted.contains(&(issuer, subject, audience)) {
            return Err(no_match(700_212, "audience", audience));
        }
        self.check_time(jwt)?;
        Ok(Proven::Federated)
    }

    fn check_time(&self, jwt: &Jwt<'_>) -> Result<(), Refusal> {
        let (from, to) = (jwt.time("nbf"), jwt.time("exp"));
        let expired = to.is_none_or(|to| self.now >= to.saturating_add(CLOCK_SKEW));
        let early = from.is_some_and(|from| self.now + CLOCK_SKEW < from);
        if !expired && !early {
            return Ok(());
        }
        let show = |time: Option<u64>| time.map_or("not given".to_owned(), |time| time.to_string());
        Err(Refusal::client(
            700_024,
            format!(
                "Client assertion is not within its valid time range. Current time: {}, not before: {}, expires: {}, in Unix seconds.",
                self.now,
                show(from),
                show(to)
            ),
        ))
    }
}

/// The registered certificate that the header names.
fn named_certificate<'a>(
    jwt: &Jwt<'_>,
    credentials: &'a [Credential],
) -> Result<Registered<'a>, Refusal> {
    let (sha256, sha1) = (jwt.header("x5t#S256"), jwt.header("x5t"));
    credentials
        .iter()
        .filter_map(|credential| match credential {
            Credential::Certificate { der, with_chain } => Some(Registered {
                der,
                with_chain: *with_chain,
            }),
            _ => None,
        })
        .find(|certificate| match (sha256, sha1) {
            (Some(thumbprint), _) => certificate.is_named_by_sha256(thumbprint),
            (None, Some(thumbprint)) => certificate.is_named_by_sha1(thumbprint),
            (None, None) => false,
        })
        .ok_or_else(|| {
            Refusal::client(
                700_027,
                "The certificate with identifier used to sign the client assertion is not registered on application.",
            )
        })
}

/// The chain begins with the certificate that signed.
fn check_x5c(jwt: &Jwt<'_>, certificate: Registered<'_>) -> Result<(), Refusal> {
    let first = jwt
        .header
        .get("x5c")
        .and_then(Value::as_array)
        .and_then(|chain| chain.first()?.as_str());
    if first == Some(STANDARD.encode(certificate.der).as_str()) {
        return Ok(());
    }
    Err(Refusal::client(
        700_030,
        "Invalid certificate: the client assertion must bring the certificate that signed it, first in x5c.",
    ))
}
