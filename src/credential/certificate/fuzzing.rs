//! Files that are said to be certificates.

use rsa::traits::PublicKeyParts as _;

use super::Certificate;
use crate::secret::Secret;

/// A file, PEM or PKCS#12, under the password of the fixtures: what is
/// accepted has a key and, first of all, the certificate that goes with it.
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = Certificate::parse(data, Some(&Secret::new("swordfish".to_owned())))
    else {
        return;
    };
    let modulus = certificate.key.n().to_be_bytes_trimmed_vartime();
    let mut windows = certificate.chain[0].windows(modulus.len());
    assert!(windows.any(|window| window == &*modulus));
}
