//! Who may ask Entra for a token: the applications of the one tenant and what each can prove
//! itself with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;
use webpki::ring::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};

use crate::random;
use crate::secret::Secret;

/// What an application proves itself with.
#[derive(Clone)]
pub enum Credential {
    /// A client secret.
    Secret(Secret),
    /// A certificate that signs an assertion.
    Certificate {
        /// The certificate in DER. Its key is RSA of 2,048 bits or more.
        der: Vec<u8>,
        /// Whether an assertion must bring the certificate itself, as `x5c`.
        with_chain: bool,
    },
    /// A token of another issuer, such as GitHub Actions' ([`GITHUB_ISSUER`](crate::GITHUB_ISSUER)).
    Federated {
        /// Its `iss`.
        issuer: String,
        /// Its `sub`.
        subject: String,
        /// Its `aud`; Entra recommends `api://AzureADTokenExchange`.
        audience: String,
    },
    /// An assertion of exactly this text, byte for byte: the content of a workload identity's file.
    Assertion(Secret),
    /// A user who signs in through the application.
    Password {
        /// The user's name.
        username: String,
        /// The user's password.
        password: Secret,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Certificate { .. } => "Certificate",
            Self::Federated { .. } => "Federated",
            Self::Assertion(_) => "Assertion",
            Self::Password { .. } => "Password",
        })
    }
}

/// The applications of the tenant.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    credentials: BTreeMap<String, Vec<Credential>>,
    /// The ids of assertions that were used. Each serves once.
    used_assertions: BTreeSet<String>,
}

impl Clients {
    pub fn register(&mut self, client_id: &str, credential: Credential) {
        let credentials = self.credentials.entry(client_id.to_owned()).or_default();
        credentials.push(credential);
    }

    /// Puts a credential in the place of all that the client had.
    pub fn rotate(&mut self, client_id: &str, credential: Credential) {
        self.credentials
            .insert(client_id.to_owned(), vec![credential]);
    }

    pub fn credentials(&self, client_id: &str) -> Option<&[Credential]> {
        self.credentials.get(client_id).map(Vec::as_slice)
    }

    /// Notes an assertion's id; false if it was noted before.
    pub fn use_assertion(&mut self, client_id: &str, jti: &str) -> bool {
        self.used_assertions.insert(format!("{client_id} {jti}"))
    }
}

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Ps256,
    Rs256,
}

/// A certificate that a client registered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered<'a> {
    pub der: &'a [u8],
    pub with_chain: bool,
}

impl Registered<'_> {
    /// Whether an `x5t#S256` names it. Azure's Go SDK writes standard base64, its Python SDK the
    /// URL-safe one that the RFC asks for; Entra takes both.
    pub fn is_named_by_sha256(&self, thumbprint: &str) -> bool {
        is_base64_of(thumbprint, digest(&SHA256, self.der).as_ref())
    }

    /// Whether an `x5t` names it.
    pub fn is_named_by_sha1(&self, thumbprint: &str) -> bool {
        is_base64_of(
            thumbprint,
            digest(&SHA1_FOR_LEGACY_USE_ONLY, self.der).as_ref(),
        )
    }

    /// Whether its key made a signature.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let der = CertificateDer::from(self.der);
        let algorithm = match algorithm {
            Algorithm::Ps256 => RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            Algorithm::Rs256 => RSA_PKCS1_2048_8192_SHA256,
        };
        EndEntityCert::try_from(&der).is_ok_and(|certificate| {
            certificate
                .verify_signature(algorithm, message, signature)
                .is_ok()
        })
    }
}

fn is_base64_of(text: &str, bytes: &[u8]) -> bool {
    STANDARD.encode(bytes) == text || URL_SAFE_NO_PAD.encode(bytes) == text.trim_end_matches('=')
}

/// SHA-256 of a text in hexadecimal digits: tells assertions apart and gives none away.
pub(crate) fn fingerprint(text: &str) -> String {
    random::to_hex(digest(&SHA256, text.as_bytes()).as_ref())
}
