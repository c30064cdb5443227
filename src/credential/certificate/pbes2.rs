//! What a password encrypts: PBES2 with AES and PBKDF2, as OpenSSL 3 and
//! newer Windows write it.
//! <https://www.rfc-editor.org/rfc/rfc8018#section-6.2>
//!
//! Older files, with RC2 or triple DES or SHA-1, are not worth their size in a
//! component: the error says how to convert them.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::der::{Der, INTEGER, OCTET_STRING, OID, SEQUENCE};

/// 1.2.840.113549.1.5.13
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
/// 1.2.840.113549.1.5.12
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// 1.2.840.113549.2.9
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
/// 2.16.840.1.101.3.4.1.2
const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
/// 2.16.840.1.101.3.4.1.42
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

/// The most rounds: more would take minutes here.
const MAX_ROUNDS: u32 = 10_000_000;

/// How something is encrypted.
struct Scheme<'a> {
    salt: &'a [u8],
    rounds: u32,
    is_aes_256: bool,
    iv: &'a [u8],
}

/// Decrypts what an `AlgorithmIdentifier` and a password encrypted.
pub(super) fn decrypt(
    algorithm: &[u8],
    bytes: &[u8],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let scheme = Scheme::read(algorithm).ok_or(
        "it is encrypted in an old or rare way: convert it with `openssl pkcs12 -legacy -in OLD \
         -nodes -out PEM`, and back, if it should stay encrypted, with `openssl pkcs12 -export \
         -in PEM -out NEW`",
    )?;
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), scheme.salt, scheme.rounds, &mut *key);
    let mut buffer = Zeroizing::new(bytes.to_vec());
    let decrypted = match scheme.is_aes_256 {
        true => cbc::Decryptor::<aes::Aes256>::new_from_slices(&*key, scheme.iv)
            .ok()
            .and_then(|cipher| cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok()),
        false => cbc::Decryptor::<aes::Aes128>::new_from_slices(&key[..16], scheme.iv)
            .ok()
            .and_then(|cipher| cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok()),
    };
    decrypted
        .map(|bytes| Zeroizing::new(bytes.to_vec()))
        .ok_or_else(|| {
            match password {
                "" => "it needs a password: set AZURE_CLIENT_CERTIFICATE_PASSWORD",
                _ => "its password in AZURE_CLIENT_CERTIFICATE_PASSWORD is wrong",
            }
            .to_owned()
        })
}

impl<'a> Scheme<'a> {
    fn read(algorithm: &'a [u8]) -> Option<Self> {
        let mut algorithm = Der(algorithm).enter(SEQUENCE)?;
        algorithm.expect(OID).filter(|kind| *kind == PBES2)?;
        let mut parameters = algorithm.enter(SEQUENCE)?;

        let mut derivation = parameters.enter(SEQUENCE)?;
        derivation.expect(OID).filter(|kind| *kind == PBKDF2)?;
        let mut derivation = derivation.enter(SEQUENCE)?;
        let salt = derivation.expect(OCTET_STRING)?;
        let rounds = derivation.expect(INTEGER)?;
        let rounds = rounds
            .iter()
            .try_fold(0_u32, |n, b| n.checked_mul(256)?.checked_add((*b).into()))?;
        // The key's length may follow; the cipher tells it as well.
        let function = loop {
            let value = derivation.next()?;
            if value.tag == SEQUENCE {
                break Der(value.content).expect(OID)?;
            }
        };
        let mut cipher = parameters.enter(SEQUENCE)?;
        let is_aes_256 = match cipher.expect(OID)? {
            AES_256_CBC => true,
            AES_128_CBC => false,
            _ => return None,
        };
        let iv = cipher.expect(OCTET_STRING)?;
        let does = function == HMAC_SHA256 && (1..=MAX_ROUNDS).contains(&rounds);
        does.then_some(Self {
            salt,
            rounds,
            is_aes_256,
            iv,
        })
    }
}
