//! Access tokens: made for whoever proved who it is, and verified for a store that takes them.
//! They have the claims that Azurite's `--oauth basic` asks for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::json;

use crate::error::Error;
use crate::jwt::{self, Jwt};
use crate::keys::TokenKey;
use crate::random;
use crate::secret::Secret;

/// The resource that every token here is for.
pub const STORAGE_RESOURCE: &str = "https://storage.azure.com";

/// How long a token is good, and when a client may ask for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub seconds: u64,
    /// Seconds from now, where the answer says so at all.
    pub refresh_in: Option<u64>,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Claims {
    /// The tenant.
    pub tid: String,
    /// The application or managed identity that it was made for.
    pub appid: String,
    /// That one's object in the tenant.
    pub oid: String,
    /// The resource.
    pub aud: String,
    /// The issuer: `https://sts.windows.net/TENANT/`.
    pub iss: String,
    /// Good from this Unix time on.
    pub nbf: u64,
    /// Good before this Unix time.
    pub exp: u64,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not a token, or one with other claims.
    #[error("the token is not of the form that this service makes")]
    Malformed,
    /// Another key signed it: another service's, or one from before a rotation.
    #[error("the token's signature is not by the key that is in use")]
    Signature,
    /// It is for another resource.
    #[error("the token's audience is not {STORAGE_RESOURCE}")]
    Audience,
    /// It came too late.
    #[error("the token has expired")]
    Expired,
    /// It came too early.
    #[error("the token is not good yet")]
    Early,
}

/// Makes the tokens of one service and verifies them. Clones share the key.
#[derive(Clone, Debug)]
pub struct TokenVerifier(Arc<Mutex<TokenKey>>);

impl TokenVerifier {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self(Arc::new(Mutex::new(TokenKey::generate()?))))
    }

    fn key(&self) -> MutexGuard<'_, TokenKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new key: no token from before is good any more.
    pub(crate) fn rotate(&self) -> Result<(), Error> {
        *self.key() = TokenKey::generate()?;
        Ok(())
    }

    pub(crate) fn issue(&self, tenant: &str, client: &str, now: u64, lifetime: Lifetime) -> Secret {
        let claims = json!({
            "aud": STORAGE_RESOURCE,
            "iss": issuer(tenant),
            "iat": now,
            "nbf": now,
            "exp": now + lifetime.seconds,
            "appid": client,
            "appidacr": "1",
            "idtyp": "app",
            "oid": client,
            "sub": client,
            "tid": tenant,
            "uti": random::hex(11),
            "ver": "1.0",
        });
        let header = json!({"typ": "JWT", "alg": "ES256"});
        Secret::new(jwt::compose(&header, &claims, |message| {
            self.key().sign(message)
        }))
    }

    /// Says whom a token was made for, if it is good at `now` (Unix seconds).
    ///
    /// # Errors
    /// See [`BadToken`]. There is no leeway: the one clock here makes and verifies them.
    pub fn verify(&self, token: &str, now: u64) -> Result<Claims, BadToken> {
        let jwt = Jwt::parse(token).ok_or(BadToken::Malformed)?;
        if jwt.header("alg") != Some("ES256") || !self.key().verifies(jwt.signed, &jwt.signature) {
            return Err(BadToken::Signature);
        }
        let claims: Claims =
            serde_json::from_value(jwt.claims.into()).map_err(|_| BadToken::Malformed)?;
        if claims.aud != STORAGE_RESOURCE {
            return Err(BadToken::Audience);
        }
        if now >= claims.exp {
            return Err(BadToken::Expired);
        }
        if now < claims.nbf {
            return Err(BadToken::Early);
        }
        Ok(claims)
    }
}

fn issuer(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Lifetime = Lifetime {
        seconds: 3600,
        refresh_in: None,
    };

    #[test]
    fn a_token_is_good_from_its_first_second_to_its_last() {
        let verifier = TokenVerifier::new().unwrap();
        let token = verifier.issue("tenant", "client", 1000, HOUR);
        let at = |now| verifier.verify(token.expose(), now);
        assert_eq!(at(999), Err(BadToken::Early));
        assert_eq!(at(1000).unwrap().appid, "client");
        assert_eq!(at(4599).unwrap().iss, "https://sts.windows.net/tenant/");
        assert_eq!(at(4600), Err(BadToken::Expired));
    }

    #[test]
    fn a_token_that_was_changed_or_is_anothers_is_refused() {
        let verifier = TokenVerifier::new().unwrap();
        let token = verifier.issue("tenant", "client", 1000, HOUR);
        let other = TokenVerifier::new().unwrap();
        assert_eq!(other.verify(token.expose(), 1000), Err(BadToken::Signature));

        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        let longer = verifier.issue(
            "tenant",
            "client",
            1000,
            Lifetime {
                seconds: 9999,
                ..HOUR
            },
        );
        let (longer, _) = longer.expose().rsplit_once('.').unwrap();
        assert_ne!(signed, longer);
        let forged = format!("{longer}.{signature}");
        assert_eq!(verifier.verify(&forged, 1000), Err(BadToken::Signature));
        assert_eq!(verifier.verify("no token", 1000), Err(BadToken::Malformed));
    }

    #[test]
    fn after_a_rotation_no_earlier_token_is_good() {
        let verifier = TokenVerifier::new().unwrap();
        let token = verifier.issue("tenant", "client", 1000, HOUR);
        verifier.clone().rotate().unwrap();
        assert_eq!(
            verifier.verify(token.expose(), 1000),
            Err(BadToken::Signature)
        );
    }
}
