//! PKCS#12 (`.pfx`, `.p12`): keys and certificates under a password.
//! <https://www.rfc-editor.org/rfc/rfc7292>
//!
//! What is encrypted with PBES2, as OpenSSL 3 and newer Windows do, can be
//! read; the older ways, with RC2 and triple DES, are not worth their size in
//! a component. The file's own checksum is not looked at: a wrong password
//! shows when what it decrypts is not a key.

use zeroize::Zeroizing;

use super::Found;
use super::der::{CONTEXT_0, CONTEXT_0_PRIMITIVE, Der, OCTET_STRING, OID, SEQUENCE};
use super::pbes2::decrypt;

/// 1.2.840.113549.1.7.1, what is not encrypted.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];

/// 1.2.840.113549.1.7.6, what is.
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];

/// 1.2.840.113549.1.12.10.1, the kinds of things in a file: the number follows.
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];
const KEY: u8 = 1;
const ENCRYPTED_KEY: u8 = 2;
const CERTIFICATE: u8 = 3;

const MALFORMED: &str = "it is neither PEM nor PKCS#12";

/// The keys and certificates of a file.
pub(super) fn open(file: &[u8], password: &str) -> Result<Found, String> {
    let mut safes = safes(file).ok_or(MALFORMED)?;
    let mut found = Found::default();
    while let Some(safe) = safes.next() {
        let mut safe = Der(safe.content);
        let kind = safe.expect(OID).ok_or(MALFORMED)?;
        let mut content = safe.enter(CONTEXT_0).ok_or(MALFORMED)?;
        let bags = if kind == DATA {
            Zeroizing::new(content.expect(OCTET_STRING).ok_or(MALFORMED)?.to_vec())
        } else if kind == ENCRYPTED_DATA {
            let (scheme, bytes) = encrypted(content).ok_or(MALFORMED)?;
            decrypt(scheme, bytes, password)?
        } else {
            continue;
        };
        take_bags(&bags, password, &mut found)?;
    }
    Ok(found)
}

/// The key of an `EncryptedPrivateKeyInfo`, as PKCS#8.
pub(super) fn decrypt_key(der: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let parts = || {
        let mut info = Der(der).enter(SEQUENCE)?;
        Some((info.next()?.whole, info.expect(OCTET_STRING)?))
    };
    let (scheme, bytes) = parts().ok_or("its encrypted key is malformed")?;
    decrypt(scheme, bytes, password)
}

/// The list of a file's parts.
fn safes(file: &[u8]) -> Option<Der<'_>> {
    let mut pfx = Der(file).enter(SEQUENCE)?;
    pfx.next()?; // The version.
    let mut content = pfx.enter(SEQUENCE)?;
    content.expect(OID).filter(|kind| *kind == DATA)?;
    let mut data = content.enter(CONTEXT_0)?.enter(OCTET_STRING)?;
    data.enter(SEQUENCE)
}

/// How a part is encrypted, and what.
fn encrypted(mut content: Der<'_>) -> Option<(&[u8], &[u8])> {
    let mut data = content.enter(SEQUENCE)?;
    data.next()?; // The version.
    let mut info = data.enter(SEQUENCE)?;
    info.expect(OID)?;
    Some((info.next()?.whole, info.expect(CONTEXT_0_PRIMITIVE)?))
}

fn take_bags(bags: &[u8], password: &str, found: &mut Found) -> Result<(), String> {
    const WRONG: &str = "what its password opens is malformed: the password may be wrong";
    let mut bags = Der(bags).enter(SEQUENCE).ok_or(WRONG)?;
    while let Some(bag) = bags.next() {
        let mut bag = Der(bag.content);
        let kind = bag.expect(OID).and_then(|kind| kind.strip_prefix(BAG));
        let mut value = bag.enter(CONTEXT_0).ok_or(WRONG)?;
        match kind {
            Some([KEY]) => found.keys.push(Zeroizing::new(value.0.to_vec())),
            Some([ENCRYPTED_KEY]) => found.keys.push(decrypt_key(value.0, password)?),
            Some([CERTIFICATE]) => {
                let mut certificate = || {
                    let mut bag = value.enter(SEQUENCE)?;
                    bag.expect(OID)?;
                    bag.enter(CONTEXT_0)?.expect(OCTET_STRING)
                };
                found
                    .certificates
                    .push(certificate().ok_or(WRONG)?.to_vec());
            }
            _ => {}
        }
    }
    Ok(())
}
