//! GitHub Actions' issuer: the token that says which workflow runs, as a job asks for it.
//! <https://docs.github.com/actions/reference/security/oidc>

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use crate::form::Form;
use crate::jwt;
use crate::keys::RsaKey;
use crate::random;
use crate::secret::Secret;

/// The `iss` of the tokens, as on GitHub's own runners.
pub const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

/// The path of the request URL; its query is already begun, so that a client adds with `&`.
pub(crate) const PATH: &str = "/runs/idtoken";

/// The query that the request URL comes with.
pub(crate) const QUERY: &str = "api-version=2.0";

/// How long a token is good, in seconds.
const LIFETIME: u64 = 300;

/// What a client is told when it gets no token.
pub(crate) type Refused = (StatusCode, &'static str);

/// Says which audience a request asks a token for.
pub(crate) fn check(
    method: &Method,
    headers: &HeaderMap,
    query: &Form,
    request_token: &Secret,
) -> Result<String, Refused> {
    if *method != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "This endpoint takes GET."));
    }
    let sent = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '));
    let knows = sent.is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer") && token == request_token.expose()
    });
    if !knows {
        return Err((
            StatusCode::UNAUTHORIZED,
            "The request token is missing or wrong.",
        ));
    }
    if query.get("api-version") != Some("2.0") {
        return Err((
            StatusCode::BAD_REQUEST,
            "The request lost the query that its URL came with.",
        ));
    }
    let default = "https://github.com/octo-org";
    Ok(query.get("audience").unwrap_or(default).to_owned())
}

/// A token for this audience.
pub(crate) fn issue(key: &RsaKey, subject: &str, audience: &str, now: u64) -> Secret {
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": "token-service"});
    let claims = json!({
        "jti": random::uuid(),
        "sub": subject,
        "aud": audience,
        "iss": GITHUB_ISSUER,
        "nbf": now,
        "iat": now,
        "exp": now + LIFETIME,
    });
    Secret::new(jwt::compose(&header, &claims, |message| key.sign(message)))
}
