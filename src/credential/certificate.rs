//! A certificate with its key: what an application signs with to prove who it
//! is. Read from PEM or PKCS#12.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

mod der;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod key;
mod pbes2;
mod pkcs12;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::PrivateKey;
use rsa::pss::Pss;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::entra::Application;
use crate::json;
use crate::secret::Secret;
use crate::transport::Transport;

/// How long an assertion is good, as in Azure's SDKs.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// A key, the certificate that goes with it, and those that vouch for it.
pub(super) struct Certificate {
    key: PrivateKey,
    /// In DER; the key's own first.
    chain: Vec<Vec<u8>>,
}

/// The content of a file: keys as PKCS#8 and certificates, in DER.
#[derive(Default)]
struct Found {
    keys: Vec<Zeroizing<Vec<u8>>>,
    certificates: Vec<Vec<u8>>,
}

impl Certificate {
    /// Reads a file, or says why it is not acceptable.
    pub(super) fn parse(file: &[u8], password: Option<&Secret>) -> Result<Self, String> {
        let password = password.map_or("", Secret::expose);
        let (key, mut chain) = match std::str::from_utf8(file) {
            Ok(text) if text.contains("-----BEGIN ") => from_pem(text, password)?,
            _ => {
                let Found { keys, certificates } = pkcs12::open(file, password)?;
                let key = keys.first().ok_or("there is no private key in it")?;
                (key::from_pkcs8(key)?, certificates)
            }
        };
        // A certificate holds the key's modulus as it is.
        let modulus = key.n().to_be_bytes_trimmed_vartime();
        let own = chain.iter().position(|certificate| {
            let mut windows = certificate.windows(modulus.len());
            windows.any(|window| window == &*modulus)
        });
        let own = own.ok_or("there is no certificate for its key in it")?;
        let own = chain.remove(own);
        chain.insert(0, own);
        Ok(Self { key, chain })
    }

    /// A JWT that says, signed, that this is the application.
    pub(super) fn assertion<T: Transport>(
        &self,
        transport: &T,
        application: &Application,
        with_chain: bool,
    ) -> Result<Secret, String> {
        let mut header = String::from(r#"{"alg":"PS256","typ":"JWT","x5t#S256":"#);
        let thumbprint = Sha256::digest(&self.chain[0]);
        json::write_string(&mut header, &STANDARD.encode(thumbprint));
        if with_chain {
            let mut before = ",\"x5c\":[";
            for der in &self.chain {
                header.push_str(before);
                json::write_string(&mut header, &STANDARD.encode(der));
                before = ",";
            }
            header.push(']');
        }
        header.push('}');

        let now = transport.time_of_day();
        let mut claims = String::from("{\"aud\":");
        json::write_string(&mut claims, &application.endpoint());
        for name in ["iss", "sub"] {
            claims.push_str(&format!(",\"{name}\":"));
            json::write_string(&mut claims, &application.client_id);
        }
        claims.push_str(&format!(
            ",\"jti\":\"{:016x}{:016x}\",\"nbf\":{},\"exp\":{}}}",
            transport.random(),
            transport.random(),
            unix_seconds(now),
            unix_seconds(now + LIFETIME)
        ));

        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let mut jwt = format!("{}.{}", encode(&header), encode(&claims));
        // Blinded, and a text of our own with a random salt: the attack on this
        // crate (RUSTSEC-2023-0071) has it decrypt what the attacker chose, and
        // measures how long that takes.
        let signature = self
            .key
            .sign_with_rng(
                &mut Chance(transport),
                Pss::<Sha256>::new_blinded(),
                &Sha256::digest(&jwt),
            )
            .map_err(|_| "its key is too short to sign with")?;
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(Secret::new(jwt))
    }
}

/// Reads the key and the certificates of a PEM file, in any order and with
/// other text between them.
fn from_pem(text: &str, password: &str) -> Result<(PrivateKey, Vec<Vec<u8>>), String> {
    let (mut key, mut certificates) = (None, Vec::new());
    for part in text.split("-----BEGIN ").skip(1) {
        let (label, rest) = part.split_once("-----").unwrap_or_default();
        let (body, _) = rest
            .split_once("-----END ")
            .ok_or("one of its parts has no end")?;
        let der = || {
            // Room for all of it: what grows leaves copies behind.
            let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
            base64.extend(body.chars().filter(|c| !c.is_whitespace()));
            let decoded = STANDARD.decode(base64.as_bytes());
            decoded
                .map(Zeroizing::new)
                .map_err(|_| format!("its part {label} is not base64"))
        };
        match label {
            "CERTIFICATE" => certificates.push(der()?.to_vec()),
            "PRIVATE KEY" => {
                key = Some(key::from_pkcs8(&der()?)?);
            }
            "ENCRYPTED PRIVATE KEY" => {
                let decrypted = pkcs12::decrypt_key(&der()?, password)?;
                key = Some(key::from_pkcs8(&decrypted)?);
            }
            "RSA PRIVATE KEY" if body.contains("ENCRYPTED") => {
                return Err(
                    "its key has OpenSSL's old encryption: convert it with `openssl pkcs8 -topk8`"
                        .to_owned(),
                );
            }
            "RSA PRIVATE KEY" => key = Some(key::from_pkcs1(&der()?)?),
            _ => {}
        }
    }
    Ok((key.ok_or("there is no private key in it")?, certificates))
}

fn unix_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// The host's chance, as `rsa` asks for it.
struct Chance<'a, T>(&'a T);

impl<T: Transport> TryRng for Chance<'_, T> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        // The upper half is as good as the lower.
        Ok((self.0.random() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.random())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let random = self.0.random().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        Ok(())
    }
}

/// wasi:random's numbers are fit for keys.
impl<T: Transport> TryCryptoRng for Chance<'_, T> {}
