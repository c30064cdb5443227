//! Certificates in every form that OpenSSL writes; all hold the same key.

use rsa::PublicKey;
use rsa::pss::Pss;
use serde_json::Value;

use super::*;
use crate::credential::variables::Variables;
use crate::transport::Request;
use crate::transport::scripted::{Reply, Scripted};

const PLAIN: &[u8] = include_bytes!("fixtures/plain.pem");
const PKCS1: &[u8] = include_bytes!("fixtures/pkcs1.pem");
const ENCRYPTED: &[u8] = include_bytes!("fixtures/encrypted.pem");
const MODERN: &[u8] = include_bytes!("fixtures/modern.pfx");
const NO_PASSWORD: &[u8] = include_bytes!("fixtures/no-password.pfx");
const LEGACY: &[u8] = include_bytes!("fixtures/legacy.pfx");

/// The SHA-256 of the certificate, as OpenSSL tells it.
const THUMBPRINT: &str = "0220f23a79b086f8fbcb9ccf451c0aa5c56ca4777ad44f170e9a8425b1f85c7b";

fn parse(file: &[u8], password: &str) -> Result<Certificate, String> {
    let password = (!password.is_empty()).then(|| Secret::new(password.to_owned()));
    Certificate::parse(file, password.as_ref())
}

/// The header and the claims of an assertion whose signature holds.
fn assertion(certificate: &Certificate, with_chain: bool) -> [Value; 2] {
    let variables = [
        ("AZURE_TENANT_ID".to_owned(), "tenant".to_owned()),
        ("AZURE_CLIENT_ID".to_owned(), "app".to_owned()),
    ];
    let application = Application::from_variables(&Variables::new(&variables)).unwrap();
    let transport = Scripted::new(|_: &Request| Ok(Reply::foreign(500)));
    let jwt = certificate.assertion(&transport, &application, with_chain);
    let jwt = jwt.unwrap();
    let (signed, signature) = jwt.expose().rsplit_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    PublicKey::from(&certificate.key)
        .verify(
            Pss::<Sha256>::new(),
            &Sha256::digest(signed),
            &decode(signature),
        )
        .unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    [header, claims].map(|part| serde_json::from_slice(&decode(part)).unwrap())
}

#[test]
fn every_form_gives_the_same_key_and_certificate() {
    for (file, password) in [
        (PLAIN, ""),
        (PKCS1, ""),
        (ENCRYPTED, "swordfish"),
        (MODERN, "swordfish"),
        (NO_PASSWORD, ""),
    ] {
        let certificate = parse(file, password).unwrap();
        let thumbprint = Sha256::digest(&certificate.chain[0]);
        let hex: String = thumbprint.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, THUMBPRINT);
    }
}

#[test]
fn an_assertion_says_who_to_whom_and_for_how_long() {
    let [header, claims] = assertion(&parse(PLAIN, "").unwrap(), false);
    assert_eq!(header["alg"], "PS256");
    assert_eq!(header["typ"], "JWT");
    assert_eq!(
        header["x5t#S256"],
        "AiDyOnmwhvj7y5zPRRwKpcVspHd61E8XDpqEJbH4XHs="
    );
    assert!(header.get("x5c").is_none());
    assert_eq!(
        claims["aud"],
        "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"
    );
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&"app".into(), &"app".into())
    );
    assert_eq!((&claims["nbf"], &claims["exp"]), (&0.into(), &600.into()));
    assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
}

#[test]
fn the_chain_goes_along_with_the_keys_own_certificate_first() {
    for (file, password) in [(PLAIN, ""), (MODERN, "swordfish")] {
        let certificate = parse(file, password).unwrap();
        let [header, _] = assertion(&certificate, true);
        let chain = header["x5c"].as_array().unwrap();
        assert_eq!(chain.len(), 2);
        assert_eq!(chain[0], STANDARD.encode(&certificate.chain[0]));
    }
}

#[test]
fn a_damaged_key_is_refused() {
    let text = str::from_utf8(PKCS1).unwrap();
    let (_, rest) = text.split_once("-----BEGIN RSA PRIVATE KEY-----").unwrap();
    let (body, _) = rest.split_once("-----END ").unwrap();
    let base64: String = body.split_whitespace().collect();
    let mut key = STANDARD.decode(base64).unwrap();
    key::from_pkcs1(&key).unwrap();
    // The sequence and the version take 7 bytes, the modulus 261, the public
    // exponent 5: the last byte of the private one is the 260th after these.
    key[7 + 261 + 5 + 259] ^= 2;
    assert_eq!(key::from_pkcs1(&key).err(), Some("its key is damaged"));
}

#[test]
fn what_does_not_do_is_refused_with_what_to_do() {
    for (file, password, part) in [
        (MODERN, "hunter2", "AZURE_CLIENT_CERTIFICATE_PASSWORD"),
        (MODERN, "", "AZURE_CLIENT_CERTIFICATE_PASSWORD"),
        (ENCRYPTED, "hunter2", "AZURE_CLIENT_CERTIFICATE_PASSWORD"),
        (LEGACY, "swordfish", "openssl pkcs12 -legacy"),
        (b"", "", "neither PEM nor PKCS#12"),
        (b"\x30\x84\xff\xff\xff\xff", "", "neither PEM nor PKCS#12"),
        (&MODERN[..1000], "swordfish", "neither PEM nor PKCS#12"),
        (
            b"-----BEGIN CERTIFICATE-----\nMA==\n-----END ",
            "",
            "no private key",
        ),
        (
            b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END ",
            "",
            "not an RSA key",
        ),
        (b"-----BEGIN PRIVATE KEY-----\nMA==", "", "no end"),
        (
            b"-----BEGIN PRIVATE KEY-----\n!\n-----END ",
            "",
            "not base64",
        ),
    ] {
        let why = parse(file, password).err().unwrap();
        assert!(why.contains(part), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }
}
