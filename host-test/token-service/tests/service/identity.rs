//! The managed identities' endpoints and GitHub's, as a plain client sees them.

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Client, Method, RequestBuilder};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use token_service::{Credential, Endpoint, ExpiresOn, GITHUB_ISSUER, Options, Proof};

use crate::common::{APP, Harness, encode, error_code, json_of, variable};

const RESOURCE: &str = "https://storage.azure.com";

/// A request that an endpoint takes, in parts, for a test to spoil one.
#[derive(Clone)]
struct Ask {
    endpoint: Endpoint,
    method: Method,
    url: String,
    header: (&'static str, String),
    parameters: Vec<(&'static str, &'static str)>,
}

impl Ask {
    fn get(
        endpoint: Endpoint,
        url: String,
        header: (&'static str, String),
        version: &'static str,
    ) -> Self {
        Self {
            endpoint,
            method: Method::GET,
            url,
            header,
            parameters: vec![("api-version", version), ("resource", RESOURCE)],
        }
    }

    fn request(&self, client: &Client) -> RequestBuilder {
        let parameters = encode(self.parameters.iter().copied());
        let request = if self.endpoint == Endpoint::CloudShell {
            client
                .request(self.method.clone(), &self.url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(parameters)
        } else {
            client.request(self.method.clone(), format!("{}?{parameters}", self.url))
        };
        request.header(self.header.0, &self.header.1)
    }

    async fn status(&self, client: &Client) -> u16 {
        self.request(client).send().await.unwrap().status().as_u16()
    }
}

/// What each flavour takes, Arc aside.
fn asks(harness: &Harness) -> Vec<Ask> {
    let service = &harness.service;
    let (app, fabric) = (service.app_service_env(), service.service_fabric_env());
    let (ml, shell) = (service.azure_ml_env(), service.cloud_shell_env());
    let metadata = || ("Metadata", "true".to_owned());
    let imds = format!("{}/metadata/identity/oauth2/token", service.imds_url());
    vec![
        Ask::get(
            Endpoint::AppService,
            variable(&app, "IDENTITY_ENDPOINT"),
            ("X-IDENTITY-HEADER", variable(&app, "IDENTITY_HEADER")),
            "2019-08-01",
        ),
        Ask::get(
            Endpoint::ServiceFabric,
            variable(&fabric, "IDENTITY_ENDPOINT"),
            ("Secret", variable(&fabric, "IDENTITY_HEADER")),
            "2019-07-01-preview",
        ),
        Ask::get(
            Endpoint::AzureMl,
            variable(&ml, "MSI_ENDPOINT"),
            ("secret", variable(&ml, "MSI_SECRET")),
            "2017-09-01",
        ),
        Ask::get(Endpoint::Imds, imds, metadata(), "2018-02-01"),
        Ask {
            endpoint: Endpoint::CloudShell,
            method: Method::POST,
            url: variable(&shell, "MSI_ENDPOINT"),
            header: metadata(),
            parameters: vec![("resource", RESOURCE)],
        },
    ]
}

/// A client that takes the certificate of a Service Fabric cluster.
fn trusting() -> Client {
    let client = Client::builder().tls_danger_accept_invalid_certs(true);
    client.tls_info(true).no_proxy().build().unwrap()
}

#[tokio::test]
async fn every_flavour_gives_a_token_to_a_request_as_it_is_documented() {
    let harness = Harness::start();
    for ask in asks(&harness) {
        let answer = ask.request(&trusting()).send().await.unwrap();
        let owner = harness.owner(answer).await;
        assert!(owner.starts_with("5f5f5f5f-"), "{:?}", ask.endpoint);
        assert_eq!(harness.service.requests(ask.endpoint), 1);
    }
}

#[tokio::test]
async fn no_flavour_takes_a_request_with_anything_wrong() {
    let harness = Harness::start();
    let client = trusting();
    for good in asks(&harness) {
        let wrong_method = Ask {
            method: Method::PUT,
            ..good.clone()
        };
        assert_eq!(
            wrong_method.status(&client).await,
            405,
            "{:?}",
            good.endpoint
        );

        let mut spoilt = vec![good.clone(); 4];
        spoilt[0].parameters.push(("unknown", "1"));
        spoilt[1].parameters.retain(|(name, _)| *name != "resource");
        for (name, value) in &mut spoilt[2].parameters {
            if *name == "resource" {
                *value = "https://storage.azure.com/";
            }
        }
        match good.parameters[0].0 {
            "api-version" => spoilt[3].parameters[0].1 = "2018-01-01",
            _ => spoilt[3].parameters.push(("api-version", "2018-01-01")),
        }
        for ask in spoilt {
            assert_eq!(
                ask.status(&client).await,
                400,
                "{:?} {:?}",
                ask.endpoint,
                ask.parameters
            );
        }

        let no_proof = Ask {
            header: (good.header.0, "wrong".to_owned()),
            ..good.clone()
        };
        let expected = if good.header.0 == "Metadata" {
            400
        } else {
            401
        };
        assert_eq!(
            no_proof.status(&client).await,
            expected,
            "{:?}",
            good.endpoint
        );
    }
}

#[tokio::test]
async fn a_user_assigned_identity_is_named_as_each_flavour_has_it() {
    let harness = Harness::start();
    harness.service.assign_identity("mine");
    let client = trusting();
    for good in asks(&harness) {
        let name = match good.endpoint {
            Endpoint::AppService | Endpoint::Imds => "client_id",
            Endpoint::AzureMl => "clientid",
            _ => continue,
        };
        let mut ask = good.clone();
        ask.parameters.push((name, "mine"));
        let answer = ask.request(&client).send().await.unwrap();
        assert_eq!(harness.owner(answer).await, "mine", "{:?}", ask.endpoint);

        let mut ask = good.clone();
        ask.parameters.push((name, "others"));
        assert_eq!(ask.status(&client).await, 400, "{:?}", ask.endpoint);
    }
}

#[tokio::test]
async fn a_host_without_an_identity_says_so() {
    let harness = Harness::start();
    harness.service.set_system_identity(false);
    for ask in asks(&harness) {
        assert_eq!(ask.status(&trusting()).await, 400, "{:?}", ask.endpoint);
    }
}

#[tokio::test]
async fn imds_answers_a_probe_with_400_and_counts_it_apart() {
    let harness = Harness::start();
    let url = format!(
        "{}/metadata/identity/oauth2/token",
        harness.service.imds_url()
    );
    let answer = harness.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(harness.service.requests(Endpoint::ImdsProbe), 1);
    assert_eq!(harness.service.requests(Endpoint::Imds), 0);
}

#[tokio::test]
async fn imds_gives_nothing_to_a_proxy() {
    let harness = Harness::start();
    let asks = asks(&harness);
    let imds = asks
        .iter()
        .find(|ask| ask.endpoint == Endpoint::Imds)
        .unwrap();
    let request = imds.request(&harness.client);
    let request = request.header("X-Forwarded-For", "192.0.2.1");
    assert_eq!(request.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn service_fabric_shows_the_certificate_of_the_thumbprint() {
    let harness = Harness::start();
    let asks = asks(&harness);
    let fabric = asks
        .iter()
        .find(|ask| ask.endpoint == Endpoint::ServiceFabric)
        .unwrap();
    let usual = fabric.request(&harness.client).send().await;
    assert!(usual.unwrap_err().is_connect(), "no authority signed it");

    let answer = fabric.request(&trusting()).send().await.unwrap();
    let shown = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, shown.peer_certificate().unwrap());
    let hex: String = sha1
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let environment = harness.service.service_fabric_env();
    assert_eq!(hex, variable(&environment, "IDENTITY_SERVER_THUMBPRINT"));
}

#[tokio::test]
async fn arc_gives_a_token_for_a_key_from_a_file_and_takes_each_key_once() {
    let harness = Harness::start();
    let url = variable(&harness.service.arc_env(), "IDENTITY_ENDPOINT");
    let query = encode([("api-version", "2020-06-01"), ("resource", RESOURCE)]);
    let request = || {
        harness
            .client
            .get(format!("{url}?{query}"))
            .header("Metadata", "true")
    };

    let answer = request().send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()[WWW_AUTHENTICATE]
        .to_str()
        .unwrap()
        .to_owned();
    let path = challenge.strip_prefix("Basic realm=").unwrap();
    let name = path.strip_prefix("/var/opt/azcmagent/tokens/").unwrap();
    assert!(name.ends_with(".key"), "{name}");
    let key = std::fs::read_to_string(harness.service.arc_key_dir().join(name)).unwrap();

    let with_key = |key: &str| request().header("Authorization", format!("Basic {key}"));
    assert_eq!(with_key("guess").send().await.unwrap().status(), 401);
    let answer = with_key(&key).send().await.unwrap();
    assert!(harness.owner(answer).await.starts_with("5f5f5f5f-"));
    assert_eq!(with_key(&key).send().await.unwrap().status(), 401);
    assert_eq!(harness.service.requests(Endpoint::ArcChallenge), 1);
    assert_eq!(harness.service.requests(Endpoint::Arc), 3);
}

#[tokio::test]
async fn an_announced_folder_can_be_the_real_one() {
    let dir = tempfile::tempdir().unwrap();
    let harness = Harness::with(Options {
        arc_key_dir: Some(dir.path().to_owned()),
        arc_announced_dir: dir.path().to_owned(),
        ..Options::default()
    });
    let url = variable(&harness.service.arc_env(), "IDENTITY_ENDPOINT");
    let query = encode([("api-version", "2020-06-01"), ("resource", RESOURCE)]);
    let request = harness
        .client
        .get(format!("{url}?{query}"))
        .header("Metadata", "true");
    let answer = request.send().await.unwrap();
    let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    let path = challenge.strip_prefix("Basic realm=").unwrap();
    assert!(std::fs::read_to_string(path).is_ok(), "{path}");
}

#[tokio::test]
async fn expires_on_is_written_as_the_test_has_it() {
    let harness = Harness::start();
    let asks = asks(&harness);
    let app = asks
        .iter()
        .find(|ask| ask.endpoint == Endpoint::AppService)
        .unwrap();
    let answer = async || json_of(app.request(&harness.client).send().await.unwrap()).await;
    assert!(answer().await["expires_on"].is_string());
    harness.service.write_expires_on(Some(ExpiresOn::Number));
    assert!(answer().await["expires_on"].is_u64());
    harness.service.write_expires_on(Some(ExpiresOn::Date));
    let date = answer().await["expires_on"].as_str().unwrap().to_owned();
    assert!(date.ends_with(" +00:00"), "{date}");
    harness.service.write_expires_on(Some(ExpiresOn::Absent));
    let absent = answer().await;
    assert_eq!(absent.get("expires_on"), None);
    assert_eq!(absent["expires_in"], "3600");
}

#[tokio::test]
async fn a_workflow_of_github_gets_in_without_a_secret() {
    let harness = Harness::start();
    let subject = "repo:octo-org/octo-repo:ref:refs/heads/main";
    let trust = |audience: &str| Credential::Federated {
        issuer: GITHUB_ISSUER.to_owned(),
        subject: subject.to_owned(),
        audience: audience.to_owned(),
    };
    let audience = "api://AzureADTokenExchange";
    harness.service.register_client(APP, trust(audience));
    let environment = harness.service.github_env();
    let url = variable(&environment, "ACTIONS_ID_TOKEN_REQUEST_URL");
    let secret = variable(&environment, "ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    let request = |query: &str, token: &str| {
        let request = harness.client.get(format!("{url}{query}"));
        request.header("Authorization", format!("bearer {token}"))
    };
    let asked = format!("&audience={audience}");
    assert_eq!(request(&asked, "guess").send().await.unwrap().status(), 401);

    let answer = json_of(request(&asked, &secret).send().await.unwrap()).await;
    let assertion = answer["value"].as_str().unwrap();
    let answer = harness.assertion_request(assertion).send().await.unwrap();
    assert_eq!(harness.owner(answer).await, APP);
    let seen = harness.service.seen();
    assert_eq!(seen[1].audience.as_deref(), Some(audience));
    assert_eq!(seen[2].proof, Some(Proof::Federated));

    let answer = json_of(request("", &secret).send().await.unwrap()).await;
    let for_others = answer["value"].as_str().unwrap();
    let refused = harness.assertion_request(for_others);
    assert_eq!(error_code(refused).await, (401, 700_212));

    let changed = format!("{}AAAA", &assertion[..assertion.len() - 4]);
    let refused = harness.assertion_request(&changed);
    assert_eq!(error_code(refused).await, (401, 700_027));
}
