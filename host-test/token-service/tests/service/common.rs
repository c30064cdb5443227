//! A service and a plain client in front of it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, RequestBuilder, Response};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use serde_json::{Value, json};
use token_service::{ClientCertificate, Options, Running, TokenService};

pub const APP: &str = "app";
pub const SCOPE: &str = "https://storage.azure.com/.default";
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub struct Harness {
    pub service: Running,
    /// Trusts the private CA and nobody else; follows no redirect.
    pub client: Client,
}

impl Harness {
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        // Fails where another test was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let service = TokenService::start(options).expect("a service");
        let ca = Certificate::from_pem(service.ca_pem().as_bytes()).expect("a certificate");
        let client = Client::builder()
            .tls_certs_only([ca])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        Self { service, client }
    }

    pub fn token_endpoint(&self) -> String {
        let (authority, tenant) = (self.service.authority_url(), self.service.tenant());
        format!("{authority}/{tenant}/oauth2/v2.0/token")
    }

    /// A token request with these parameters beside those that every one has.
    pub fn token_request(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        let mut form: BTreeMap<&str, &str> = BTreeMap::from([
            ("grant_type", "client_credentials"),
            ("client_id", APP),
            ("scope", SCOPE),
        ]);
        form.extend(parameters.iter().copied());
        self.client
            .post(self.token_endpoint())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(encode(form))
    }

    pub fn assertion_request(&self, assertion: &str) -> RequestBuilder {
        self.token_request(&[
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ])
    }

    /// Whom the answer's token was made for.
    pub async fn owner(&self, answer: Response) -> String {
        assert_eq!(answer.status(), 200);
        let answer = json_of(answer).await;
        let token = answer["access_token"].as_str().expect("a token");
        let claims = self.service.verifier().verify(token, now());
        claims.expect("a good token").appid
    }

    /// The claims of an assertion that Entra takes.
    pub fn claims(&self, jti: &str) -> Value {
        json!({
            "aud": self.token_endpoint(),
            "iss": APP,
            "sub": APP,
            "jti": jti,
            "nbf": now(),
            "exp": now() + 600,
        })
    }
}

pub fn encode<'a>(form: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}

pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock").as_secs()
}

pub async fn json_of(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

/// The number of the error that Entra answered with.
pub async fn error_code(request: RequestBuilder) -> (u16, u64) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let code = json_of(answer).await["error_codes"][0].as_u64();
    (status, code.expect("a number"))
}

pub fn variable(environment: &[(&'static str, String)], name: &str) -> String {
    let found = environment.iter().find(|(other, _)| *other == name);
    found.expect("the variable").1.clone()
}

/// Signs an assertion with a client's certificate.
pub fn sign(certificate: &ClientCertificate, header: &Value, claims: &Value) -> String {
    sign_with(&RSA_PSS_SHA256, certificate, header, claims)
}

pub fn sign_with(
    encoding: &'static dyn RsaEncoding,
    certificate: &ClientCertificate,
    header: &Value,
    claims: &Value,
) -> String {
    let pem = certificate.pem();
    let key: String = pem
        .expose()
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(key).expect("base64")).expect("a key");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        encoding,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The header of an assertion that Entra takes.
pub fn header(certificate: &ClientCertificate) -> Value {
    json!({"alg": "PS256", "typ": "JWT", "x5t#S256": certificate.thumbprint_sha256()})
}
