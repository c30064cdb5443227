//! What the managed identity endpoints ask of a request, one row of rules for each, and what they
//! answer. They are strict: a client that passes here sends what the documentation of each says.
//!
//! - App Service: <https://learn.microsoft.com/azure/app-service/overview-managed-identity>
//! - Service Fabric: <https://learn.microsoft.com/azure/service-fabric/how-to-managed-identity-service-fabric-app-code>
//! - Azure Arc: <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>
//! - IMDS: <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//!
//! Azure ML and Cloud Shell have no page; Azure's SDKs say what they take.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::expiry::ExpiresOn;
use crate::form::Form;
use crate::secret::Secret;
use crate::token::{Lifetime, STORAGE_RESOURCE};

/// The header by which a client shows that no careless proxy sent it.
const METADATA: &str = "metadata";

/// A kind of host that lends its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    AppService,
    ServiceFabric,
    AzureMl,
    CloudShell,
    Arc,
    Imds,
}

/// What a flavour asks of a request.
#[derive(Debug)]
struct Rules {
    method: Method,
    api_version: Option<&'static str>,
    /// The header with the host's secret; without one, `Metadata: true` is asked for.
    secret_header: Option<&'static str>,
    /// The parameter that names a user-assigned identity.
    identity: Option<&'static str>,
    /// Parameters that may be there and change nothing here.
    ignored: &'static [&'static str],
}

/// The identities that the host has.
#[derive(Clone, Debug)]
pub(crate) struct Identities {
    pub system_assigned: bool,
    pub user_assigned: Vec<String>,
}

/// The client id of the system-assigned identity.
pub(crate) const SYSTEM_ASSIGNED: &str = "5f5f5f5f-0000-4000-8000-000000000001";

/// A refusal; each flavour has a form of its own for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// The request is wrong.
    pub fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// The host failed.
    pub fn host(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }
}

impl Flavour {
    fn rules(self) -> Rules {
        let imds = Rules {
            method: Method::GET,
            api_version: Some("2018-02-01"),
            secret_header: None,
            identity: Some("client_id"),
            ignored: &[],
        };
        match self {
            Self::Imds => imds,
            Self::Arc => Rules {
                api_version: Some("2020-06-01"),
                ..imds
            },
            Self::AppService => Rules {
                api_version: Some("2019-08-01"),
                secret_header: Some("x-identity-header"),
                ..imds
            },
            Self::ServiceFabric => Rules {
                api_version: Some("2019-07-01-preview"),
                secret_header: Some("secret"),
                // The cluster's configuration says which identity it is.
                identity: None,
                ignored: &["token_sha256_to_refresh", "xms_cc"],
                ..imds
            },
            Self::AzureMl => Rules {
                api_version: Some("2017-09-01"),
                secret_header: Some("secret"),
                identity: Some("clientid"),
                ..imds
            },
            Self::CloudShell => Rules {
                method: Method::POST,
                api_version: None,
                identity: None,
                ..imds
            },
        }
    }

    /// Where the endpoint is on its host. The fixed ones are IMDS's and Arc's.
    pub fn path(self) -> &'static str {
        match self {
            Self::AppService => "/msi/token",
            Self::ServiceFabric => "/metadata/identity/oauth2/token/sf",
            Self::AzureMl => "/msi/azureml",
            Self::CloudShell => "/oauth2/token",
            Self::Arc | Self::Imds => "/metadata/identity/oauth2/token",
        }
    }

    /// Says which identity a request gets a token for. `parameters` are the form's for Cloud
    /// Shell, the query's for all others.
    pub fn check(
        self,
        method: &Method,
        headers: &HeaderMap,
        parameters: &Form,
        secret: &Secret,
        identities: &Identities,
    ) -> Result<String, Refused> {
        let rules = self.rules();
        if *method != rules.method {
            return Err(Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("This endpoint takes {}, not {method}.", rules.method),
            ));
        }
        self.check_headers(&rules, headers, secret)?;
        if parameters.get("api-version") != rules.api_version {
            return Err(Refused::request(format!(
                "The api-version must be {}.",
                rules.api_version.unwrap_or("left out")
            )));
        }
        if parameters.get("resource") != Some(STORAGE_RESOURCE) {
            return Err(Refused::request(format!(
                "The resource must be {STORAGE_RESOURCE}."
            )));
        }
        let known = |name: &str| {
            ["api-version", "resource"].contains(&name)
                || rules.identity == Some(name)
                || rules.ignored.contains(&name)
        };
        if let Some(name) = parameters.names().find(|name| !known(name)) {
            return Err(Refused::request(format!(
                "The parameter '{name}' is not known here."
            )));
        }
        let asked = rules.identity.and_then(|name| parameters.get(name));
        identities.find(asked)
    }

    fn check_headers(
        self,
        rules: &Rules,
        headers: &HeaderMap,
        secret: &Secret,
    ) -> Result<(), Refused> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(name) = rules.secret_header {
            return if header(name) == Some(secret.expose()) {
                Ok(())
            } else {
                Err(Refused::new(
                    StatusCode::UNAUTHORIZED,
                    "SecretHeaderNotFound",
                    format!("The header '{name}' does not hold this host's secret."),
                ))
            };
        }
        if header(METADATA) != Some("true") {
            return Err(Refused::request("Required metadata header not specified"));
        }
        if self == Self::Imds && headers.contains_key("x-forwarded-for") {
            return Err(Refused::request("The request came through a proxy"));
        }
        Ok(())
    }

    /// The answer with a token, with the fields that this flavour has.
    pub fn answer(
        self,
        token: &Secret,
        identity: &str,
        now: u64,
        lifetime: Lifetime,
        expires_on: Option<ExpiresOn>,
    ) -> Value {
        let (usual, with_expires_in) = match self {
            Self::AppService => (ExpiresOn::Text, false),
            Self::ServiceFabric | Self::AzureMl => (ExpiresOn::Number, false),
            Self::CloudShell | Self::Arc | Self::Imds => (ExpiresOn::Text, true),
        };
        let expires_on = expires_on.unwrap_or(usual);
        let mut answer = json!({
            "access_token": token.expose(),
            "client_id": identity,
            "resource": STORAGE_RESOURCE,
            "token_type": "Bearer",
        });
        if let Some(value) = expires_on.write(now + lifetime.seconds) {
            answer["expires_on"] = value;
        }
        if with_expires_in || expires_on == ExpiresOn::Absent {
            answer["expires_in"] = lifetime.seconds.to_string().into();
        }
        if let Some(refresh_in) = lifetime.refresh_in {
            answer["refresh_in"] = refresh_in.to_string().into();
        }
        answer
    }

    /// A refusal in the form of this flavour.
    pub fn refusal(self, refused: &Refused) -> Value {
        let Refused {
            status,
            code,
            message,
        } = refused;
        match self {
            Self::AppService => json!({"statusCode": status.as_u16(), "message": message}),
            Self::ServiceFabric | Self::CloudShell => {
                json!({"error": {"code": code, "message": message}})
            }
            Self::AzureMl | Self::Arc | Self::Imds => {
                json!({"error": code, "error_description": message})
            }
        }
    }
}

impl Identities {
    fn find(&self, asked: Option<&str>) -> Result<String, Refused> {
        let found = match asked {
            None => self.system_assigned.then(|| SYSTEM_ASSIGNED.to_owned()),
            Some(id) => self
                .user_assigned
                .iter()
                .find(|known| *known == id)
                .cloned(),
        };
        found.ok_or_else(|| Refused::request("Identity not found"))
    }
}
