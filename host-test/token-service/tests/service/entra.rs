//! Entra's token endpoint, as a plain client sees it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use reqwest::{Certificate, Client};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};
use token_service::{
    ClientCertificate, Credential, Endpoint, Options, Proof, Secret, TokenService,
};

use crate::common::{APP, Harness, JWT_BEARER, error_code, header, json_of, now, sign, sign_with};

fn with_secret(secret: &str) -> Harness {
    let harness = Harness::start();
    let credential = Credential::Secret(Secret::new(secret));
    harness.service.register_client(APP, credential);
    harness
}

fn with_certificate(with_chain: bool) -> (Harness, ClientCertificate) {
    let harness = Harness::start();
    let certificate = harness.service.client_certificate(APP).unwrap();
    let der = certificate.der().to_vec();
    let credential = Credential::Certificate { der, with_chain };
    harness.service.register_client(APP, credential);
    (harness, certificate)
}

#[tokio::test]
async fn a_client_with_its_secret_gets_a_token() {
    let harness = with_secret("sword & fish");
    let request = harness.token_request(&[("client_secret", "sword & fish")]);
    let answer = json_of(request.send().await.unwrap()).await;
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 3600);
    assert_eq!(answer["ext_expires_in"], 3600);
    assert_eq!(answer.get("refresh_in"), None);

    let token = answer["access_token"].as_str().unwrap();
    let claims = harness.service.verifier().verify(token, now());
    let claims = claims.unwrap();
    assert_eq!(claims.aud, "https://storage.azure.com");
    assert_eq!(claims.tid, harness.service.tenant());
    assert_eq!(harness.service.seen()[0].proof, Some(Proof::Secret));
}

#[tokio::test]
async fn a_refusal_has_entras_number() {
    let harness = with_secret("swordfish");
    let good = ("client_secret", "swordfish");
    for (parameters, expected) in [
        (vec![("client_secret", "cod")], (401, 7_000_215)),
        (vec![], (401, 7_000_218)),
        (vec![good, ("client_id", "other")], (400, 700_016)),
        (
            vec![good, ("scope", "https://vault.azure.net/.default")],
            (400, 70_011),
        ),
        (
            vec![good, ("scope", "https://storage.azure.com/.default openid")],
            (400, 70_011),
        ),
        (vec![good, ("scope", "")], (400, 900_144)),
        (vec![good, ("grant_type", "refresh_token")], (400, 70_003)),
        (vec![("client_assertion", "x")], (400, 900_144)),
        (
            vec![
                ("client_assertion", "x"),
                ("client_assertion_type", JWT_BEARER),
            ],
            (400, 50_027),
        ),
    ] {
        let request = harness.token_request(&parameters);
        assert_eq!(error_code(request).await, expected, "{parameters:?}");
    }
    let (authority, form) = (
        harness.service.authority_url(),
        "application/x-www-form-urlencoded",
    );
    let elsewhere = format!("{authority}/contoso/oauth2/v2.0/token");
    let body = "grant_type=client_credentials&client_id=app&scope=s&client_secret=swordfish";
    let request = harness
        .client
        .post(elsewhere)
        .header("content-type", form)
        .body(body);
    assert_eq!(error_code(request).await, (400, 90_002));
    let request = harness.client.get(harness.token_endpoint());
    assert_eq!(error_code(request).await, (400, 900_561));
    let request = harness.client.post(harness.token_endpoint()).body(body);
    assert_eq!(error_code(request).await, (400, 900_144));
}

#[tokio::test]
async fn a_refusal_repeats_the_clients_correlation_id_and_no_secret() {
    let harness = with_secret("swordfish");
    let request = harness.token_request(&[("client_secret", "stockfish")]);
    let request = request.header("client-request-id", "my-id");
    let answer = json_of(request.send().await.unwrap()).await;
    assert_eq!(answer["error"], "invalid_client");
    assert_eq!(answer["correlation_id"], "my-id");
    let description = answer["error_description"].as_str().unwrap();
    assert!(description.starts_with("AADSTS7000215: "), "{description}");
    assert!(
        description.contains("Correlation ID: my-id"),
        "{description}"
    );

    let shown = format!(
        "{answer} {:?} {:?}",
        harness.service,
        harness.service.seen()
    );
    assert!(
        !shown.contains("swordfish") && !shown.contains("stockfish"),
        "{shown}"
    );
    let secrets = harness.service.secrets();
    assert!(secrets.contains(&Secret::new("stockfish")));
}

#[tokio::test]
async fn after_a_rotation_only_the_new_secret_is_taken() {
    let harness = with_secret("old");
    let new = Credential::Secret(Secret::new("new"));
    harness.service.rotate_client(APP, new);
    let request = |secret| harness.token_request(&[("client_secret", secret)]);
    assert_eq!(error_code(request("old")).await, (401, 7_000_215));
    assert_eq!(
        harness.owner(request("new").send().await.unwrap()).await,
        APP
    );
}

#[tokio::test]
async fn an_assertion_that_a_registered_certificate_signed_is_taken_once() {
    let (harness, certificate) = with_certificate(false);
    let assertion = sign(&certificate, &header(&certificate), &harness.claims("1"));
    let answer = harness.assertion_request(&assertion).send().await.unwrap();
    assert_eq!(harness.owner(answer).await, APP);
    assert_eq!(harness.service.seen()[0].proof, Some(Proof::Certificate));

    let replayed = harness.assertion_request(&assertion);
    assert_eq!(error_code(replayed).await, (401, 50_012));
    let seen = harness.service.seen();
    assert_eq!(seen[0].assertion_sha256, seen[1].assertion_sha256);
    assert!(seen[0].assertion_sha256.is_some());

    let next = sign(&certificate, &header(&certificate), &harness.claims("2"));
    let answer = harness.assertion_request(&next).send().await.unwrap();
    assert_eq!(harness.owner(answer).await, APP);
}

/// A value with one field put in the place of another, or taken away by `null`.
fn with(mut value: Value, name: &str, field: Value) -> Value {
    let object = value.as_object_mut().unwrap();
    object.remove(name);
    if !field.is_null() {
        object.insert(name.to_owned(), field);
    }
    value
}

#[tokio::test]
async fn an_assertion_with_anything_wrong_is_refused() {
    let (harness, certificate) = with_certificate(false);
    let current = now();
    let (header, claims) = (header(&certificate), harness.claims("1"));
    let other_endpoint = harness.token_endpoint().replace("/token", "/authorize");
    for (name, wrong, expected) in [
        ("aud", json!(other_endpoint), (401, 700_023)),
        ("aud", Value::Null, (401, 700_023)),
        ("sub", json!("other"), (401, 700_021)),
        ("iss", json!("other"), (401, 700_211)),
        ("exp", json!(current - 301), (401, 700_024)),
        ("exp", Value::Null, (401, 700_024)),
        ("nbf", json!(current + 400), (401, 700_024)),
        ("jti", Value::Null, (400, 50_027)),
    ] {
        let claims = with(claims.clone(), name, wrong.clone());
        let assertion = sign(&certificate, &header, &claims);
        let request = harness.assertion_request(&assertion);
        assert_eq!(error_code(request).await, expected, "{name} {wrong}");
    }
    for (name, wrong, expected) in [
        ("alg", json!("RS256"), (401, 700_027)),
        ("alg", json!("none"), (400, 50_027)),
        ("x5t#S256", json!("AAAA"), (401, 700_027)),
        ("x5t#S256", Value::Null, (401, 700_027)),
    ] {
        let header = with(header.clone(), name, wrong.clone());
        let assertion = sign(&certificate, &header, &claims);
        let request = harness.assertion_request(&assertion);
        assert_eq!(error_code(request).await, expected, "{name} {wrong}");
    }
    let other_way = sign_with(&RSA_PKCS1_SHA256, &certificate, &header, &claims);
    let request = harness.assertion_request(&other_way);
    assert_eq!(error_code(request).await, (401, 700_027));

    let stranger = harness.service.client_certificate("stranger").unwrap();
    let forged = sign(&stranger, &header, &claims);
    let request = harness.assertion_request(&forged);
    assert_eq!(error_code(request).await, (401, 700_027));
}

#[tokio::test]
async fn an_assertion_of_the_older_kind_is_told_apart() {
    let (harness, certificate) = with_certificate(false);
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
    let header = json!({"alg": "RS256", "typ": "JWT", "x5t": URL_SAFE.encode(sha1)});
    let claims = harness.claims("1");
    let assertion = sign_with(&RSA_PKCS1_SHA256, &certificate, &header, &claims);
    let answer = harness.assertion_request(&assertion).send().await.unwrap();
    assert_eq!(harness.owner(answer).await, APP);
    let proof = harness.service.seen()[0].proof;
    assert_eq!(proof, Some(Proof::LegacyCertificate));
}

#[tokio::test]
async fn a_client_may_be_asked_for_its_chain() {
    let (harness, certificate) = with_certificate(true);
    let plain = header(&certificate);
    let assertion = sign(&certificate, &plain, &harness.claims("1"));
    let request = harness.assertion_request(&assertion);
    assert_eq!(error_code(request).await, (401, 700_030));

    let chain = json!([STANDARD.encode(certificate.der())]);
    let assertion = sign(
        &certificate,
        &with(plain, "x5c", chain),
        &harness.claims("2"),
    );
    let answer = harness.assertion_request(&assertion).send().await.unwrap();
    assert_eq!(harness.owner(answer).await, APP);
}

#[tokio::test]
async fn a_workload_identitys_token_is_taken_byte_for_byte() {
    let harness = Harness::start();
    let text = Secret::new("header.claims.signature\n");
    harness
        .service
        .register_client(APP, Credential::Assertion(text));
    let request = |text| harness.assertion_request(text);
    let answer = request("header.claims.signature\n").send().await.unwrap();
    assert_eq!(harness.owner(answer).await, APP);
    assert_eq!(
        error_code(request("header.claims.signature")).await,
        (400, 50_027)
    );

    // The file was written anew.
    let next = Credential::Assertion(Secret::new("header.claims.rotated\n"));
    harness.service.rotate_client(APP, next);
    assert_eq!(
        error_code(request("header.claims.signature\n")).await,
        (400, 50_027)
    );
    let answer = request("header.claims.rotated\n").send().await.unwrap();
    assert_eq!(harness.owner(answer).await, APP);
}

#[tokio::test]
async fn a_user_signs_in_with_a_password() {
    let harness = Harness::start();
    let credential = Credential::Password {
        username: "u@contoso".to_owned(),
        password: Secret::new("p"),
    };
    harness.service.register_client(APP, credential);
    let request = |password| {
        harness.token_request(&[
            ("grant_type", "password"),
            ("username", "u@contoso"),
            ("password", password),
            (
                "scope",
                "https://storage.azure.com/.default openid profile offline_access",
            ),
        ])
    };
    assert_eq!(harness.owner(request("p").send().await.unwrap()).await, APP);
    assert_eq!(error_code(request("q")).await, (400, 50_126));
}

#[tokio::test]
async fn msal_finds_the_token_endpoint() {
    let harness = Harness::start();
    let tenant = format!(
        "{}/{}",
        harness.service.authority_url(),
        harness.service.tenant()
    );
    let url = format!("{tenant}/v2.0/.well-known/openid-configuration");
    let answer = json_of(harness.client.get(url).send().await.unwrap()).await;
    assert_eq!(answer["token_endpoint"], harness.token_endpoint());
    assert_eq!(harness.service.requests(Endpoint::Discovery), 1);
    assert_eq!(harness.service.requests(Endpoint::Token), 0);
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_does_not_connect() {
    let harness = with_secret("swordfish");
    let other = TokenService::start(Options::default()).unwrap();
    let stranger = Certificate::from_pem(other.ca_pem().as_bytes()).unwrap();
    let client = Client::builder()
        .tls_certs_only([stranger])
        .build()
        .unwrap();
    let answer = client.get(harness.token_endpoint()).send().await;
    assert!(answer.unwrap_err().is_connect());
    assert_eq!(harness.service.seen(), []);
}

#[tokio::test]
async fn the_certificate_is_for_the_loopback_names_and_those_that_were_asked_for() {
    let harness = Harness::with(Options {
        names: vec!["account.blob.test".to_owned()],
        ..Options::default()
    });
    let address = harness.service.authority_url().replace("https://", "");
    let address = address.parse().unwrap();
    let ca = std::fs::read(harness.service.ca_path()).unwrap();
    for name in [
        "localhost",
        "127.0.0.1",
        "account.blob.test",
        "stranger.test",
    ] {
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(&ca).unwrap()])
            .resolve_to_addrs(name, &[address])
            .build()
            .unwrap();
        let url = format!("https://{name}:{}/", address.port());
        let connected = client.get(url).send().await.is_ok();
        assert_eq!(connected, name != "stranger.test", "{name}");
    }
}
