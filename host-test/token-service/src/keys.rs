//! Keys that sign, and the RSA pairs that test certificates are made of.
//!
//! ring signs and verifies. It makes no RSA keys, so those come from the `rsa` crate, whose
//! signing code is not used here: a client that signs with it is checked by another's hand.

use std::fmt;

use getrandom::SysRng;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rsa::pkcs8::EncodePrivateKey;
use zeroize::Zeroizing;

use crate::error::Error;

/// The smallest size that ring signs with, and the one that most certificates have.
const RSA_BITS: usize = 2048;

/// The key of the access tokens: ES256, for it is made in no time and a client looks into no access
/// token. It prints nothing.
pub(crate) struct TokenKey(EcdsaKeyPair);

impl TokenKey {
    pub fn generate() -> Result<Self, Error> {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).map_err(key_error)?;
        EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random)
            .map(Self)
            .map_err(key_error)
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature
            .expect("the system gives random bytes")
            .as_ref()
            .to_vec()
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.0.public_key())
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An RSA pair that signs RS256, as GitHub's issuer does. It prints nothing.
pub(crate) struct RsaKey(RsaKeyPair);

impl RsaKey {
    pub fn generate() -> Result<Self, Error> {
        RsaKeyPair::from_pkcs8(&rsa_pkcs8()?)
            .map(Self)
            .map_err(key_error)
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .expect("the signature has the modulus' length");
        signature
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.0.public_key())
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A new RSA pair in PKCS#8. It takes a good part of a second.
pub(crate) fn rsa_pkcs8() -> Result<Zeroizing<Vec<u8>>, Error> {
    let key = rsa::PrivateKey::new(&mut SysRng, RSA_BITS).map_err(key_error)?;
    let pkcs8 = key.to_pkcs8_der().map_err(key_error)?;
    Ok(Zeroizing::new(pkcs8.as_bytes().to_vec()))
}

fn key_error(error: impl fmt::Display) -> Error {
    Error::Key(error.to_string())
}
