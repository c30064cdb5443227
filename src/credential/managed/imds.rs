//! IMDS, which every virtual machine in Azure has at an address of its own.
//! Elsewhere nothing answers there, or another service does. A probe finds that
//! out within two seconds.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::time::Duration;

use super::super::Denied;
use super::super::asking::{self, Answer, NONE, Patience, ask};
use super::Managed;
use crate::error::Error;
use crate::transport::{Headers, Request, Timeouts, Transport};

/// Where IMDS is.
pub(super) const AUTHORITY: &str = "http://169.254.169.254";

/// The variable that has IMDS elsewhere, as pod identities did.
pub(super) const AUTHORITY_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

pub(super) const PATH: &str = "/metadata/identity/oauth2/token";

/// How long the probe may take: IMDS is next door, or nowhere.
const PROBE: Duration = Duration::from_secs(1);

/// After what time it is known whether IMDS is there, whatever answers and
/// however slowly. The machine that has none must not wait for it.
const KNOWN_AFTER: Duration = Duration::from_millis(1800);

/// IMDS starts slowly on a fresh machine, and reports that in many ways.
const PATIENCE: Patience = Patience {
    retries: 6,
    first: Duration::from_secs(2),
    longest: Duration::from_secs(25),
    may_pass: |answer| {
        matches!(answer.status, 404 | 410 | 429 | 500..=508 | 510 | 511) && !answer.is_page()
    },
};

/// What an answer shows of the one that gave it.
#[derive(Debug, PartialEq, Eq)]
enum Looks {
    /// It is IMDS.
    Right,
    /// It may be IMDS.
    Possible,
    /// It is something else.
    Wrong,
}

impl Managed {
    /// Asks IMDS, if it is there.
    pub(super) async fn ask_imds<T: Transport>(&self, transport: &T) -> Result<Answer, Denied> {
        let request = self.request();
        let mut early = None;
        if self.is_one_of_many {
            let looking = self.look_for_imds(transport, &request);
            let found = transport.within(KNOWN_AFTER, looking).await;
            early = found
                .unwrap_or_else(|| {
                    let at = &self.url.authority;
                    Err(format!("IMDS does not answer at {at}: it takes too long"))
                })
                .map_err(Denied::Unavailable)?;
        }
        let answer = match early {
            Some(answer) => answer,
            None => self.ask(transport, &request, &PATIENCE).await?,
        };
        match answer.status {
            400 if self.client_id.is_none() && answer.is_of_oauth() => {
                let refusal = answer.refusal(&[]);
                Err(Denied::Unavailable(format!(
                    "IMDS has no identity: {refusal}"
                )))
            }
            // It alone was asked for, or something else answers by now.
            _ if looks(&answer) == Looks::Wrong => {
                let why = self.not_imds(&answer);
                Err(match self.is_one_of_many {
                    true => Denied::Unavailable(why),
                    false => Denied::Failed(Error::Unavailable(why)),
                })
            }
            _ => Ok(answer),
        }
    }

    /// Finds out whether IMDS is there, without waiting for it to start: what is
    /// at its address may be anything. Where only its answer to the real
    /// question could tell, that answer; an error says why it is not there.
    async fn look_for_imds<T: Transport>(
        &self,
        transport: &T,
        request: &Request,
    ) -> Result<Option<Answer>, String> {
        let ask_quickly = async |request: Request| {
            let answer = ask(transport, &request, &NONE).await;
            answer.map_err(|error| {
                let (at, why) = (&self.url.authority, asking::why(&error));
                format!("IMDS does not answer at {at}: {why}")
            })
        };
        let mut question = request.clone();
        question.timeouts = Timeouts {
            connect: PROBE,
            first_byte: PROBE,
            between_bytes: PROBE,
        };
        // Without the header that IMDS wants, so that it answers at once.
        let mut probe = question.clone();
        probe.headers = Headers::default();
        let answer = ask_quickly(probe).await?;
        match looks(&answer) {
            Looks::Right => Ok(None),
            Looks::Wrong => Err(self.not_imds(&answer)),
            Looks::Possible => {
                let answer = ask_quickly(question).await?;
                match looks(&answer) {
                    Looks::Right => Ok(Some(answer)),
                    _ => Err(self.not_imds(&answer)),
                }
            }
        }
    }

    /// Says that something else has answered.
    fn not_imds(&self, answer: &Answer) -> String {
        let (at, status) = (&self.url.authority, answer.status);
        let what = match status {
            300..400 => ", a redirect",
            407 => ", a proxy that asks for credentials",
            _ if answer.is_page() => " with a page for people",
            _ if answer.body.is_empty() => " and nothing else",
            _ => "",
        };
        format!("what answers at {at} is not IMDS: {status}{what}")
    }
}

/// What an answer shows of the one that gave it. Other clouds, proxies and
/// sign-in pages answer there too, some in JSON.
fn looks(answer: &Answer) -> Looks {
    let server = answer.headers.get("server").unwrap_or_default();
    if answer.is_of_oauth() || server.starts_with("IMDS") {
        return Looks::Right;
    }
    match answer.status {
        // To a question without its header, and while it is renewed.
        400 | 404 | 410 | 429 | 500..=508 | 510 | 511 if !answer.is_page() => Looks::Possible,
        _ => Looks::Wrong,
    }
}
