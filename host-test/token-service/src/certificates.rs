//! The private certificate authority: it proves that a client takes extra roots, and refuses a
//! server whose root it was not given. Beside it, certificates for clients that sign with one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::error::Error;
use crate::keys::rsa_pkcs8;
use crate::random;
use crate::secret::Secret;

/// How long certificates are good. Some clients take no server certificate for over 825 days.
const LIFETIME: Duration = Duration::days(30);

/// How far back they are valid, for clients whose clock is behind.
const BACKDATED: Duration = Duration::days(1);

/// The root of trust of one service.
#[derive(Debug)]
pub(crate) struct PrivateCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl PrivateCa {
    pub fn generate() -> Result<Self, Error> {
        let mut params = params("Token service private CA", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, pem })
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for the loopback names and these, which may be addresses too.
    pub fn server(&self, further_names: &[String]) -> Result<ServerCertificate, Error> {
        let (params, key) = server_params(further_names)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ServerCertificate::new(&certificate, &key))
    }

    /// A certificate for a client that signs its assertions. See [`ClientCertificate`].
    pub fn client(&self, name: &str) -> Result<ClientCertificate, Error> {
        let pkcs8 = PrivatePkcs8KeyDer::from(rsa_pkcs8()?.to_vec());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_RSA_SHA256)?;
        let mut params = params(name, Vec::new())?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ClientCertificate {
            key_pem: Secret::new(key.serialize_pem()),
            certificate_pem: certificate.pem(),
            ca_pem: self.pem.clone(),
            der: certificate.der().to_vec(),
        })
    }
}

/// What a server shows, and the key that it shows it with.
#[derive(Debug)]
pub(crate) struct ServerCertificate {
    pub certificate_pem: String,
    pub key_pem: Secret,
    der: CertificateDer<'static>,
    key_der: PrivateKeyDer<'static>,
}

impl ServerCertificate {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate_pem: certificate.pem(),
            key_pem: Secret::new(key.serialize_pem()),
            der: certificate.der().clone(),
            key_der: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }

    /// One that no authority signed, as a Service Fabric cluster has: clients know its thumbprint.
    pub fn self_signed() -> Result<Self, Error> {
        let (params, key) = server_params(&[])?;
        Ok(Self::new(&params.self_signed(&key)?, &key))
    }

    pub fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.der.clone()], self.key_der.clone_key())
    }

    /// SHA-1 of the certificate in upper-case hexadecimal digits.
    pub fn thumbprint(&self) -> String {
        let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der);
        random::to_hex(sha1.as_ref()).to_uppercase()
    }
}

/// A certificate with an RSA key, signed by the service's private CA, for a client to sign its
/// assertions with.
#[derive(Clone)]
pub struct ClientCertificate {
    key_pem: Secret,
    certificate_pem: String,
    ca_pem: String,
    der: Vec<u8>,
}

impl ClientCertificate {
    /// The private key and the certificate, as `AZURE_CLIENT_CERTIFICATE_PATH` wants them in a file.
    pub fn pem(&self) -> Secret {
        Secret::new(format!("{}{}", self.key_pem.expose(), self.certificate_pem))
    }

    /// The same, with the CA's certificate after it.
    pub fn pem_with_chain(&self) -> Secret {
        Secret::new(format!("{}{}", self.pem().expose(), self.ca_pem))
    }

    /// The certificate alone, to register with [`Credential::Certificate`](crate::Credential).
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the certificate in standard base64: `x5t#S256` as Azure's Go SDK writes it.
    pub fn thumbprint_sha256(&self) -> String {
        STANDARD.encode(digest(&SHA256, &self.der))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("thumbprint_sha256", &self.thumbprint_sha256())
            .finish_non_exhaustive()
    }
}

fn params(common_name: &str, names: Vec<String>) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + LIFETIME;
    Ok(params)
}

fn server_params(further_names: &[String]) -> Result<(CertificateParams, KeyPair), Error> {
    let mut names = vec![
        "localhost".to_owned(),
        IpAddr::from(Ipv4Addr::LOCALHOST).to_string(),
        IpAddr::from(Ipv6Addr::LOCALHOST).to_string(),
    ];
    names.extend_from_slice(further_names);
    let mut params = params("localhost", names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok((params, KeyPair::generate()?))
}
