//! Addresses, and the variables that a client of each flavour would be given by its host.

use crate::endpoint::Door;
use crate::github;
use crate::identity::Flavour;
use crate::running::Running;

/// Names and values. The values may hold secrets.
pub type Environment = Vec<(&'static str, String)>;

impl Running {
    /// Entra: `https://127.0.0.1:PORT`. The certificate is for `localhost` too.
    pub fn authority_url(&self) -> String {
        format!("https://{}", self.address(Door::Entra))
    }

    /// The tenant that Entra knows.
    pub fn tenant(&self) -> &str {
        &self.service.tenant
    }

    /// Where a client of a registered application finds Entra, and its name. What it proves itself
    /// with is for the caller to add.
    pub fn client_env(&self, client_id: &str) -> Environment {
        vec![
            ("AZURE_AUTHORITY_HOST", self.authority_url()),
            ("AZURE_TENANT_ID", self.tenant().to_owned()),
            ("AZURE_CLIENT_ID", client_id.to_owned()),
        ]
    }

    /// What a GitHub Actions job with `id-token: write` has.
    pub fn github_env(&self) -> Environment {
        let address = self.address(Door::GitHub);
        let url = format!("https://{address}{}?{}", github::PATH, github::QUERY);
        vec![
            ("ACTIONS_ID_TOKEN_REQUEST_URL", url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", self.host_secret()),
        ]
    }

    /// App Service, Functions, Container Apps.
    pub fn app_service_env(&self) -> Environment {
        vec![
            ("IDENTITY_ENDPOINT", self.identity_url(Flavour::AppService)),
            ("IDENTITY_HEADER", self.host_secret()),
        ]
    }

    /// Service Fabric. The certificate is signed by nobody: a client is to take the one with the
    /// thumbprint and no other.
    pub fn service_fabric_env(&self) -> Environment {
        vec![
            (
                "IDENTITY_ENDPOINT",
                self.identity_url(Flavour::ServiceFabric),
            ),
            ("IDENTITY_HEADER", self.host_secret()),
            ("IDENTITY_SERVER_THUMBPRINT", self.fabric_thumbprint.clone()),
        ]
    }

    /// Azure ML.
    pub fn azure_ml_env(&self) -> Environment {
        vec![
            ("MSI_ENDPOINT", self.identity_url(Flavour::AzureMl)),
            ("MSI_SECRET", self.host_secret()),
        ]
    }

    /// Cloud Shell.
    pub fn cloud_shell_env(&self) -> Environment {
        vec![("MSI_ENDPOINT", self.identity_url(Flavour::CloudShell))]
    }

    /// A machine with Azure Arc's agent.
    pub fn arc_env(&self) -> Environment {
        let origin = format!("http://{}", self.address(Door::Identity(Flavour::Arc)));
        vec![
            ("IDENTITY_ENDPOINT", self.identity_url(Flavour::Arc)),
            ("IMDS_ENDPOINT", origin),
        ]
    }

    /// IMDS, which is `http://169.254.169.254` outside: `http://127.0.0.1:PORT`.
    pub fn imds_url(&self) -> String {
        format!("http://{}", self.address(Door::Identity(Flavour::Imds)))
    }

    /// The variable by which Azure's SDKs for Python, .NET and JavaScript find IMDS elsewhere.
    pub fn imds_env(&self) -> Environment {
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.imds_url())]
    }

    fn identity_url(&self, flavour: Flavour) -> String {
        let door = Door::Identity(flavour);
        let scheme = match flavour {
            Flavour::ServiceFabric => "https",
            _ => "http",
        };
        format!("{scheme}://{}{}", self.address(door), flavour.path())
    }

    fn host_secret(&self) -> String {
        self.service.host_secret.expose().to_owned()
    }
}
