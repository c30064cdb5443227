//! Workload identity: a token that the platform keeps in a file, such as a
//! Kubernetes service account's, vouches for an application.
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>

use std::cell::RefCell;
use std::time::Duration;

use super::Denied;
use super::entra::{Application, Proof};
use super::token::Token;
use super::variables::Variables;
use crate::error::Error;
use crate::secret::Secret;
use crate::transport::Transport;

/// How long the file's content counts as fresh, as in Azure's SDKs.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// An application, and the file of the token that vouches for it.
pub(super) struct Workload {
    pub(super) application: Application,
    path: String,
    /// The file's content, and when it was read.
    read: RefCell<Option<(Secret, Duration)>>,
}

impl Workload {
    /// What the variables name, or what of it is missing.
    pub(super) fn find(variables: &Variables) -> Result<Result<Self, String>, Error> {
        let names = [
            "AZURE_TENANT_ID",
            "AZURE_CLIENT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
        ];
        let missing = variables.missing(&names);
        let Some(path) = variables.get(names[2]).filter(|_| missing.is_empty()) else {
            return Ok(Err(super::not_set(&missing)));
        };
        Ok(Ok(Self {
            application: Application::from_variables(variables)?,
            path: path.to_owned(),
            read: RefCell::default(),
        }))
    }

    /// Asks Entra for a token.
    pub(super) async fn token<T: Transport>(&self, transport: &T) -> Result<Token, Denied> {
        let assertion = self.assertion(transport).await.map_err(|why| {
            Denied::Failed(Error::Unauthenticated(format!(
                "the token file {} (AZURE_FEDERATED_TOKEN_FILE) cannot be used: {why}",
                self.path
            )))
        })?;
        let what = "the token in AZURE_FEDERATED_TOKEN_FILE";
        let proof = Proof::Assertion(assertion);
        let token = self.application.token(transport, &proof, what).await;
        if token.is_err() {
            // It may have been replaced since it was read.
            self.read.take();
        }
        token
    }

    async fn assertion<T: Transport>(&self, transport: &T) -> Result<Secret, String> {
        let now = transport.elapsed();
        if let Some((content, at)) = &*self.read.borrow()
            && now.saturating_sub(*at) < READ_AGAIN_AFTER
        {
            return Ok(content.clone());
        }
        let file = transport.read_file(&self.path).await?;
        let file = file.ok_or("there is no such file")?;
        let content = String::from_utf8(file).map_err(|_| "it is not text")?;
        if content.trim().is_empty() {
            return Err("it is empty".to_owned());
        }
        let content = Secret::new(content);
        self.read.replace(Some((content.clone(), now)));
        Ok(content)
    }
}

impl Workload {
    /// In words, without secrets: whom it speaks for, where it was found.
    pub(super) fn describe(&self) -> String {
        let client = &self.application.client_id;
        format!(
            "application {client} with the token in {} (AZURE_FEDERATED_TOKEN_FILE)",
            self.path
        )
    }
}
