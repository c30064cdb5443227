//! An application whose secret, certificate or user is in variables:
//! Azure's `EnvironmentCredential`.

#[cfg(feature = "certificates")]
use zeroize::Zeroizing;

use super::Denied;
#[cfg(feature = "certificates")]
use super::certificate;
use super::entra::{Application, Proof};
use super::token::Token;
use super::variables::Variables;
use crate::error::Error;
use crate::secret::Secret;
use crate::transport::Transport;

/// An application, and what the variables hold to prove it.
pub(super) struct Environment {
    pub(super) application: Application,
    held: Held,
}

enum Held {
    Secret(Secret),
    Certificate {
        path: String,
        password: Option<Secret>,
        /// Whether the whole chain goes along, for authorities that trust by
        /// subject and issuer.
        with_chain: bool,
    },
    Password {
        username: String,
        password: Secret,
    },
}

impl Environment {
    /// The first that is whole of secret, certificate and user, or else what is
    /// missing.
    pub(super) fn find(variables: &Variables) -> Result<Result<Self, String>, Error> {
        let missing = variables.missing(&["AZURE_TENANT_ID", "AZURE_CLIENT_ID"]);
        if !missing.is_empty() {
            return Ok(Err(super::not_set(&missing)));
        }
        let held = if let Some(secret) = variables.trimmed_secret("AZURE_CLIENT_SECRET") {
            Held::Secret(secret)
        } else if let Some(path) = variables.get("AZURE_CLIENT_CERTIFICATE_PATH") {
            Held::Certificate {
                path: path.to_owned(),
                password: variables.secret("AZURE_CLIENT_CERTIFICATE_PASSWORD"),
                with_chain: variables.is_on("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")?,
            }
        } else if let (Some(username), Some(password)) = (
            variables.get("AZURE_USERNAME"),
            variables.secret("AZURE_PASSWORD"),
        ) {
            let username = username.to_owned();
            Held::Password { username, password }
        } else {
            return Ok(Err(
                "none of AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH, and AZURE_USERNAME \
                 with AZURE_PASSWORD is set"
                    .to_owned(),
            ));
        };
        let application = Application::from_variables(variables)?;
        Ok(Ok(Self { application, held }))
    }

    /// Asks Entra for a token.
    pub(super) async fn token<T: Transport>(&self, transport: &T) -> Result<Token, Denied> {
        let proof = match &self.held {
            Held::Secret(secret) => Proof::ClientSecret(secret.clone()),
            Held::Password { username, password } => Proof::Password {
                username: username.clone(),
                password: password.clone(),
            },
            Held::Certificate {
                path,
                password,
                with_chain,
            } => {
                let assertion = self
                    .assertion(transport, path, password.as_ref(), *with_chain)
                    .await;
                Proof::Assertion(assertion.map_err(|why| {
                    Denied::Failed(Error::Unauthenticated(format!(
                        "the certificate {path} (AZURE_CLIENT_CERTIFICATE_PATH) cannot be used: \
                         {why}"
                    )))
                })?)
            }
        };
        self.application.token(transport, &proof, self.what()).await
    }

    /// What proves the application, in words.
    fn what(&self) -> &'static str {
        match &self.held {
            Held::Secret(_) => "the secret in AZURE_CLIENT_SECRET",
            Held::Certificate { .. } => "the certificate in AZURE_CLIENT_CERTIFICATE_PATH",
            Held::Password { .. } => "the user in AZURE_USERNAME and AZURE_PASSWORD",
        }
    }

    /// An assertion that the certificate's key signs. The file is read anew,
    /// as a certificate is replaced while a builder runs.
    #[cfg(feature = "certificates")]
    async fn assertion<T: Transport>(
        &self,
        transport: &T,
        path: &str,
        password: Option<&Secret>,
        with_chain: bool,
    ) -> Result<Secret, String> {
        let file = transport.read_file(path).await?;
        let file = file.map(Zeroizing::new).ok_or("there is no such file")?;
        let certificate = certificate::Certificate::parse(&file, password)?;
        certificate.assertion(transport, &self.application, with_chain)
    }

    #[cfg(not(feature = "certificates"))]
    async fn assertion<T: Transport>(
        &self,
        _: &T,
        _: &str,
        _: Option<&Secret>,
        _: bool,
    ) -> Result<Secret, String> {
        Err("this azblob was built without certificates".to_owned())
    }
}

impl Environment {
    /// In words, without secrets: whom it speaks for, where it was found.
    pub(super) fn describe(&self) -> String {
        let client = &self.application.client_id;
        format!("application {client} with {}", self.what())
    }
}
