//! Tokens of Microsoft Entra ID. Which ones are good is for whoever starts the store to say, who
//! knows their issuer; here is what a client is told, in the words of the service.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use crate::refusal::Refusal;

/// How to authenticate, as the service says it:
/// <https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory#bearer-challenge>.
pub(crate) const CHALLENGE: &str = "Bearer \
    authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize \
    resource_id=https://storage.azure.com";

/// Decides on a token: lets it in, or says why not, in words that do not show it.
#[derive(Clone)]
pub struct TokenCheck(Arc<Check>);

type Check = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl TokenCheck {
    /// Asks this for each request that brings a token.
    pub fn new(check: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Lets a token in, or refuses it as the service refuses one that has expired.
    pub(crate) fn check(&self, token: &str) -> Result<(), Refusal> {
        (self.0)(token).map_err(|reason| {
            let mut refusal = Refusal::new(
                StatusCode::UNAUTHORIZED,
                "InvalidAuthenticationInfo",
                "The request's token does not let anybody in. The www-authenticate header says \
                 where to get another.",
            );
            refusal.challenge = Some(CHALLENGE);
            refusal.detail("AuthenticationErrorDetail", reason)
        })
    }
}

impl fmt::Debug for TokenCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCheck")
    }
}
