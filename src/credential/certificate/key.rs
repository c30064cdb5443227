//! An RSA key from PKCS#1 or PKCS#8.
//! <https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.2>
//!
//! A `PrivateKey` is wiped when it is dropped, and its `Debug` shows no more than
//! the public part.

use rsa::{BoxedUint, PrivateKey};

use super::der::{Der, INTEGER, OCTET_STRING, OID, SEQUENCE};

/// 1.2.840.113549.1.1.1, what PKCS#8 calls RSA.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The longest modulus, in bytes: 8192 bits, more than Entra takes.
const MAX_MODULUS: usize = 1024;

const NO_RSA: &str = "its key is not an RSA key, which Microsoft Entra needs";

/// Reads a `PrivateKeyInfo`.
pub(super) fn from_pkcs8(der: &[u8]) -> Result<PrivateKey, &'static str> {
    let rsa_key = || {
        let mut info = Der(der).enter(SEQUENCE)?;
        info.expect(INTEGER)?; // The version.
        let kind = info.enter(SEQUENCE)?.expect(OID)?;
        info.expect(OCTET_STRING).filter(|_| kind == RSA)
    };
    from_pkcs1(rsa_key().ok_or(NO_RSA)?)
}

/// Reads an `RSAPrivateKey`.
pub(super) fn from_pkcs1(der: &[u8]) -> Result<PrivateKey, &'static str> {
    let numbers = || {
        let mut key = Der(der).enter(SEQUENCE)?;
        key.expect(INTEGER)?; // The version.
        let mut next = || {
            let bytes = key.expect(INTEGER)?;
            (bytes.len() <= MAX_MODULUS + 1).then(|| BoxedUint::from_be_slice_vartime(bytes))
        };
        Some((next()?, next()?, next()?, vec![next()?, next()?]))
    };
    let (n, e, d, primes) = numbers().ok_or(NO_RSA)?;
    PrivateKey::from_components(n, e, d, primes).map_err(|_| "its key is damaged")
}
