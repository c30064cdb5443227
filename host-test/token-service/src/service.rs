//! The way of one request: what it asks for, what the script has for it, what it proves, what it
//! gets. Any bad input ends here as an answer; nothing but a scripted close ends without one.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::arc::ArcKeys;
use crate::clients::{Clients, fingerprint};
use crate::endpoint::{Door, Endpoint};
use crate::entra::{DISCOVERY_PATH, TOKEN_PATH, TokenRequest};
use crate::expiry::ExpiresOn;
use crate::form::Form;
use crate::github;
use crate::identity::{Flavour, Identities, Refused};
use crate::keys::RsaKey;
use crate::record::{Record, Seen};
use crate::refusal::Refusal;
use crate::script::{Action, Plan, Script};
use crate::secret::Secret;
use crate::token::{Lifetime, TokenVerifier};

/// No request here needs more, in bytes.
const BODY_LIMIT: usize = 64 << 10;

type Answer = Response<Full<Bytes>>;

/// The connection is to be closed without an answer.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script closes this connection")
    }
}

impl std::error::Error for Closed {}

/// What changes while the service runs.
#[derive(Debug)]
pub(crate) struct State {
    pub clients: Clients,
    pub identities: Identities,
    pub lifetime: Lifetime,
    pub expires_on: Option<ExpiresOn>,
}

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Service {
    pub tenant: String,
    pub state: Mutex<State>,
    pub tokens: TokenVerifier,
    pub github: &'static RsaKey,
    pub github_subject: String,
    /// What the hosts of managed identities and GitHub's runner give their clients.
    pub host_secret: Secret,
    pub arc: ArcKeys,
    pub script: Script,
    pub record: Record,
}

/// One request, read to its end.
struct Call<'a> {
    parts: &'a Parts,
    body: &'a [u8],
    plan: &'a Plan,
    /// Unix seconds.
    now: u64,
    seen: &'a mut Seen,
}

impl Call<'_> {
    fn query(&self) -> Result<Form, String> {
        Form::parse(self.parts.uri.query().unwrap_or_default().as_bytes())
    }

    fn form(&self) -> Result<Form, String> {
        Form::parse(self.body)
    }

    fn has_form(&self) -> bool {
        let kind = self.parts.headers.get(CONTENT_TYPE);
        kind.and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
    }
}

impl Service {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request, or closes its connection.
    pub async fn answer(&self, door: Door, request: Request<Incoming>) -> Result<Answer, Closed> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes);
        let endpoint = door.endpoint(parts.uri.path(), &parts.headers);
        let plan = self.script.plan(endpoint);
        tokio::time::sleep(plan.delay).await;
        let mut seen = Seen::new(endpoint, parts.method.as_str(), parts.uri.path());
        if let Ok(body) = &body {
            self.note_presented(endpoint, &parts, body, &mut seen);
        }
        if plan.close {
            self.record.see(seen);
            return Err(Closed);
        }
        let answer = match (&plan.instead, &body) {
            (Some(action), _) => scripted(action, &parts),
            (None, Err(_)) => text(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large."),
            (None, Ok(body)) => {
                let mut call = Call {
                    parts: &parts,
                    body,
                    plan: &plan,
                    now: unix_now(),
                    seen: &mut seen,
                };
                self.perform(door, endpoint, &mut call)
            }
        };
        seen.status = Some(answer.status().as_u16());
        self.record.see(seen);
        Ok(answer)
    }

    /// Records what a client presents, also where the script answers in the place of the service.
    fn note_presented(&self, endpoint: Endpoint, parts: &Parts, body: &[u8], seen: &mut Seen) {
        let authorization = parts.headers.get(AUTHORIZATION);
        if let Some((_, secret)) =
            authorization.and_then(|value| value.to_str().ok()?.split_once(' '))
        {
            self.record.keep_secret(Secret::new(secret));
        }
        if endpoint != Endpoint::Token {
            return;
        }
        let Ok(form) = Form::parse(body) else { return };
        seen.client_id = form.get("client_id").map(str::to_owned);
        seen.assertion_sha256 = form.get("client_assertion").map(fingerprint);
        for name in ["client_secret", "client_assertion", "password"] {
            if let Some(presented) = form.get(name) {
                self.record.keep_secret(Secret::new(presented));
            }
        }
    }

    fn perform(&self, door: Door, endpoint: Endpoint, call: &mut Call<'_>) -> Answer {
        match (door, endpoint) {
            (_, Endpoint::Other) => text(StatusCode::NOT_FOUND, "There is nothing here."),
            (Door::Entra, Endpoint::Discovery) => discovery(call.parts),
            (Door::Entra, _) => self
                .entra(call)
                .unwrap_or_else(|refusal| refused(&refusal, call.parts)),
            (Door::GitHub, _) => self.github(call).unwrap_or_else(|(status, message)| {
                json_answer(status, &json!({"message": message}))
            }),
            (Door::Identity(flavour), _) => self
                .identity(flavour, call)
                .unwrap_or_else(|refused| json_answer(refused.status, &flavour.refusal(&refused))),
        }
    }

    fn entra(&self, call: &mut Call<'_>) -> Result<Answer, Refusal> {
        if call.parts.method != Method::POST {
            let message = "The endpoint only accepts POST requests.";
            return Err(Refusal::request(900_561, message));
        }
        if !call.has_form() {
            let message = "The request body must be application/x-www-form-urlencoded.";
            return Err(Refusal::request(900_144, message));
        }
        let form = call.form().map_err(|name| {
            Refusal::request(90_100, format!("The parameter '{name}' is duplicated."))
        })?;
        let path = call.parts.uri.path();
        let request = TokenRequest {
            tenant: &self.tenant,
            addressed: path.trim_start_matches('/').trim_end_matches(TOKEN_PATH),
            token_endpoint: &format!("{}{path}", origin(call.parts)),
            now: call.now,
            github: self.github,
        };
        let proof = request.check(&form, &mut self.state().clients)?;
        call.seen.proof = Some(proof);
        let lifetime = self.lifetime(call.plan);
        let token = self.issue(
            form.get("client_id").unwrap_or_default(),
            call.now,
            lifetime,
        );
        let mut answer = json!({
            "token_type": "Bearer",
            "expires_in": lifetime.seconds,
            "ext_expires_in": lifetime.seconds,
            "access_token": token.expose(),
        });
        if let Some(refresh_in) = lifetime.refresh_in {
            answer["refresh_in"] = refresh_in.into();
        }
        Ok(json_answer(StatusCode::OK, &answer))
    }

    fn github(&self, call: &mut Call<'_>) -> Result<Answer, github::Refused> {
        let query = call
            .query()
            .map_err(|_| (StatusCode::BAD_REQUEST, "A parameter is duplicated."))?;
        let parts = call.parts;
        let audience = github::check(&parts.method, &parts.headers, &query, &self.host_secret)?;
        let token = github::issue(self.github, &self.github_subject, &audience, call.now);
        self.record.keep_secret(token.clone());
        call.seen.audience = Some(audience);
        let answer = json!({"count": token.expose().len(), "value": token.expose()});
        Ok(json_answer(StatusCode::OK, &answer))
    }

    fn identity(&self, flavour: Flavour, call: &mut Call<'_>) -> Result<Answer, Refused> {
        let parameters = match flavour {
            Flavour::CloudShell if call.has_form() => call.form(),
            Flavour::CloudShell => Ok(Form::default()),
            _ => call.query(),
        }
        .map_err(|name| Refused::request(format!("The parameter '{name}' is duplicated.")))?;
        let (method, headers) = (&call.parts.method, &call.parts.headers);
        let identities = self.state().identities.clone();
        let identity =
            flavour.check(method, headers, &parameters, &self.host_secret, &identities)?;
        if flavour == Flavour::Arc && !self.arc.opens(headers) {
            return self.arc_challenge();
        }
        call.seen.client_id = Some(identity.clone());
        let lifetime = self.lifetime(call.plan);
        let token = self.issue(&identity, call.now, lifetime);
        let expires_on = self.state().expires_on;
        let answer = flavour.answer(&token, &identity, call.now, lifetime, expires_on);
        Ok(json_answer(StatusCode::OK, &answer))
    }

    fn arc_challenge(&self) -> Result<Answer, Refused> {
        let (key, challenge) = self.arc.challenge().map_err(|error| {
            Refused::host(format!(
                "The key cannot be written to {}: {error}",
                self.arc.dir().display()
            ))
        })?;
        self.record.keep_secret(key);
        let mut answer = text(
            StatusCode::UNAUTHORIZED,
            "Bring the key that the challenge names.",
        );
        let challenge = HeaderValue::try_from(challenge)
            .map_err(|_| Refused::host("The key's path fits in no header.".to_owned()))?;
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Ok(answer)
    }

    fn lifetime(&self, plan: &Plan) -> Lifetime {
        plan.lifetime
            .map_or(self.state().lifetime, |(seconds, refresh_in)| Lifetime {
                seconds,
                refresh_in,
            })
    }

    /// Makes a token, and remembers it as a secret.
    pub fn issue(&self, client_id: &str, now: u64, lifetime: Lifetime) -> Secret {
        let token = self.tokens.issue(&self.tenant, client_id, now, lifetime);
        self.record.keep_secret(token.clone());
        token
    }
}

/// The clock, in Unix seconds.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The origin that the client used, which may be any of the certificate's names.
fn origin(parts: &Parts) -> String {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    format!("https://{}", host.unwrap_or_default())
}

fn discovery(parts: &Parts) -> Answer {
    let (origin, path) = (origin(parts), parts.uri.path());
    let tenant = format!("{origin}{}", path.trim_end_matches(DISCOVERY_PATH));
    json_answer(
        StatusCode::OK,
        &json!({
            "issuer": format!("{tenant}/v2.0"),
            "token_endpoint": format!("{tenant}{TOKEN_PATH}"),
            "authorization_endpoint": format!("{tenant}/oauth2/v2.0/authorize"),
            "jwks_uri": format!("{tenant}/discovery/v2.0/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }),
    )
}

/// Entra's answer to a request that it refuses.
fn refused(refusal: &Refusal, parts: &Parts) -> Answer {
    let correlation_id = parts.headers.get("client-request-id");
    let correlation_id = correlation_id.and_then(|value| value.to_str().ok());
    let body = refusal.body(correlation_id, OffsetDateTime::now_utc());
    json_answer(refusal.status, &body)
}

/// The answer that the script has.
fn scripted(action: &Action, parts: &Parts) -> Answer {
    match action {
        Action::EntraError {
            status,
            error,
            code,
            message,
        } => {
            let refusal = Refusal {
                status: status_or_500(*status),
                error: error.clone(),
                code: *code,
                message: message.clone(),
            };
            refused(&refusal, parts)
        }
        Action::Answer {
            status,
            headers,
            body,
        } => {
            let mut answer = Response::new(Full::from(body.clone()));
            *answer.status_mut() = status_or_500(*status);
            for (name, value) in headers {
                // A header that is none is the script's mistake; it shows by its absence.
                if let (Ok(name), Ok(value)) =
                    (HeaderName::try_from(name), HeaderValue::try_from(value))
                {
                    answer.headers_mut().append(name, value);
                }
            }
            answer
        }
        Action::Delay { .. } | Action::Close | Action::Lifetime { .. } => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The script is no answer.",
        ),
    }
}

fn status_or_500(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    answer(status, "application/json; charset=utf-8", body.to_string())
}

fn text(status: StatusCode, message: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", message.to_owned())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-cache"),
    );
    answer
}
