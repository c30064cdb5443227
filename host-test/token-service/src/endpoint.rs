//! What can be asked here. A door is an address that is listened on, an endpoint one thing that is
//! asked behind it; requests are counted, and things go wrong, by endpoint.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};

use crate::entra::{DISCOVERY_PATH, TOKEN_PATH};
use crate::github;
use crate::identity::Flavour;

/// One thing that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// Entra: a token.
    Token,
    /// Entra: where the endpoints are, which MSAL asks first.
    Discovery,
    /// GitHub Actions: a token that says which workflow runs.
    GitHub,
    /// App Service's managed identity.
    AppService,
    /// Service Fabric's managed identity.
    ServiceFabric,
    /// Azure ML's managed identity.
    AzureMl,
    /// Cloud Shell's identity.
    CloudShell,
    /// Azure Arc: the first request, which learns where the key is.
    ArcChallenge,
    /// Azure Arc: the request that brings the key.
    Arc,
    /// IMDS: the question whether it is there, without the header `Metadata`.
    ImdsProbe,
    /// IMDS: a token.
    Imds,
    /// Anything else.
    Other,
}

/// An address that is listened on: each has a port of its own, as each has a host of its own
/// outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Entra,
    GitHub,
    Identity(Flavour),
}

/// How a door speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    /// TLS with a certificate of the private CA.
    Https,
    /// TLS with a certificate that nobody signed.
    SelfSigned,
}

impl Door {
    /// All of them; `as_index` says where each is.
    pub const ALL: [Self; 8] = [
        Self::Entra,
        Self::GitHub,
        Self::Identity(Flavour::AppService),
        Self::Identity(Flavour::ServiceFabric),
        Self::Identity(Flavour::AzureMl),
        Self::Identity(Flavour::CloudShell),
        Self::Identity(Flavour::Arc),
        Self::Identity(Flavour::Imds),
    ];

    pub fn protocol(self) -> Protocol {
        match self {
            Self::Entra | Self::GitHub => Protocol::Https,
            Self::Identity(Flavour::ServiceFabric) => Protocol::SelfSigned,
            Self::Identity(_) => Protocol::Http,
        }
    }

    /// What a request through this door asks for.
    pub fn endpoint(self, path: &str, headers: &HeaderMap) -> Endpoint {
        match self {
            Self::Entra if path.ends_with(TOKEN_PATH) => Endpoint::Token,
            Self::Entra if path.ends_with(DISCOVERY_PATH) => Endpoint::Discovery,
            Self::GitHub if path == github::PATH => Endpoint::GitHub,
            Self::Identity(flavour) if path == flavour.path() => match flavour {
                Flavour::AppService => Endpoint::AppService,
                Flavour::ServiceFabric => Endpoint::ServiceFabric,
                Flavour::AzureMl => Endpoint::AzureMl,
                Flavour::CloudShell => Endpoint::CloudShell,
                Flavour::Arc if headers.contains_key(AUTHORIZATION) => Endpoint::Arc,
                Flavour::Arc => Endpoint::ArcChallenge,
                Flavour::Imds if headers.contains_key("metadata") => Endpoint::Imds,
                Flavour::Imds => Endpoint::ImdsProbe,
            },
            _ => Endpoint::Other,
        }
    }
}
