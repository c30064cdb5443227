//! IMDS, which every virtual machine in Azure has at an address of its own.
//! Elsewhere nobody, or somebody else, answers there: hence the probe.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::time::Duration;

use super::super::Denied;
use super::super::asking::{self, Answer, NONE, Patience, ask};
use super::Managed;
use crate::transport::{Headers, Timeouts, Transport};

/// Where IMDS is.
pub(super) const AUTHORITY: &str = "http://169.254.169.254";

/// The variable that has IMDS elsewhere, as pod identities did.
pub(super) const AUTHORITY_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

pub(super) const PATH: &str = "/metadata/identity/oauth2/token";

/// How long the probe may take: IMDS is next door, or nowhere.
const PROBE: Duration = Duration::from_secs(1);

/// IMDS starts slowly on a fresh machine, and says so in many ways.
const PATIENCE: Patience = Patience {
    retries: 6,
    first: Duration::from_secs(2),
    longest: Duration::from_secs(25),
    may_pass: |status| matches!(status, 404 | 410 | 429 | 500..=508 | 510 | 511),
};

impl Managed {
    /// Asks IMDS, if it is there.
    pub(super) async fn ask_imds<T: Transport>(&self, transport: &T) -> Result<Answer, Denied> {
        let request = self.request();
        if self.is_one_of_many {
            // Without the header that IMDS wants, so that it answers at once,
            // whatever it answers.
            let mut probe = request.clone();
            probe.headers = Headers::default();
            probe.timeouts = Timeouts {
                connect: PROBE,
                first_byte: PROBE,
                between_bytes: PROBE,
            };
            if let Err(error) = ask(transport, &probe, &NONE).await {
                let (at, why) = (&self.url.authority, asking::why(&error));
                return Err(Denied::Unavailable(format!(
                    "IMDS does not answer at {at}: {why}"
                )));
            }
        }
        let answer = self.ask(transport, &request, &PATIENCE).await?;
        let refusal = || format!("IMDS has no identity: {}", answer.refusal(&[]));
        match answer.status {
            400 if self.client_id.is_none() => Err(Denied::Unavailable(refusal())),
            // Other clouds have something else at this address.
            401 | 403 | 404 | 405 if self.is_one_of_many && !is_json(&answer.body) => {
                let (at, status) = (&self.url.authority, answer.status);
                Err(Denied::Unavailable(format!(
                    "what answers at {at} is not IMDS: {status}"
                )))
            }
            // Docker Desktop answers for every address.
            403 if contains(&answer.body, b"unreachable") => Err(Denied::Unavailable(refusal())),
            _ => Ok(answer),
        }
    }
}

/// IMDS answers with an object, whatever it answers.
fn is_json(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}
