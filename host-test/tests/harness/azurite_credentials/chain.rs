//! Each credential of the chain: it lets one in, it is asked once however many
//! layers there are, it is told in words, and it shows nowhere.

use build_cache_host::{AccessToken, Error};
use host_test::fixtures;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;
use token_service::{Credential, Endpoint, Environment, GITHUB_ISSUER, Options, Secret};

use super::{CLIENT, NO_IMDS, World, with};
use crate::setup::run;

/// How many layers are exported.
const LAYERS: u64 = 40;

/// Exports, reads back and checks with these variables, each in an instance of
/// its own, and sees that each asked just these endpoints, once each.
pub(super) async fn check_lets_in(
    world: &World,
    variables: &Environment,
    asked: &[Endpoint],
    words: &str,
) {
    let sees = |what: &str| {
        let seen = world.service.seen();
        let seen: Vec<_> = seen.iter().map(|seen| seen.endpoint).collect();
        assert_eq!(seen, asked, "{what}");
        world.service.reset_requests();
    };
    let sample = world.push(variables, LAYERS).await.expect("an export");
    sees("an export");
    world.check_pull(variables, &sample).await;
    sees("an import");
    let credential = world.credential(variables).await;
    assert!(credential.contains(words), "{credential}");
    sees("a check");
    world.check_nothing_shows(&[]);
}

/// The variables of an application with a file, and the folder that it is in.
fn with_file(
    variables: Environment,
    name: &'static str,
    contents: &Secret,
) -> (Environment, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("credential");
    std::fs::write(&path, contents.expose()).expect("a file");
    let path = path.to_str().expect("text");
    (with(variables, name, path), folder)
}

#[test]
fn a_secret_lets_an_application_in() {
    run(async {
        let world = World::new().await;
        let secret = Secret::new("~swordfish & 100% more+secret");
        world
            .service
            .register_client(CLIENT, Credential::Secret(secret.clone()));
        let variables = world.service.client_env(CLIENT);
        let variables = with(variables, "AZURE_CLIENT_SECRET", secret.expose());
        let words = format!("application {CLIENT} with the secret in AZURE_CLIENT_SECRET");
        check_lets_in(&world, &variables, &[Endpoint::Token], &words).await;
    });
}

#[test]
fn a_certificate_lets_an_application_in_with_its_chain_and_without() {
    run(async {
        let world = World::new().await;
        let certificate = world.service.client_certificate("builder").expect("one");
        for with_chain in [false, true] {
            let der = certificate.der().to_vec();
            let registered = Credential::Certificate { der, with_chain };
            world.service.rotate_client(CLIENT, registered);
            let pem = match with_chain {
                true => certificate.pem_with_chain(),
                false => certificate.pem(),
            };
            let variables = world.service.client_env(CLIENT);
            let (variables, _folder) = with_file(variables, "AZURE_CLIENT_CERTIFICATE_PATH", &pem);
            let variables = match with_chain {
                true => with(variables, "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "true"),
                false => variables,
            };
            let words = "the certificate in AZURE_CLIENT_CERTIFICATE_PATH";
            check_lets_in(&world, &variables, &[Endpoint::Token], words).await;
            for line in pem.expose().lines().filter(|line| line.len() > 60) {
                world.check_nothing_shows(&[line]);
            }
        }
    });
}

#[test]
fn a_certificate_in_an_encrypted_file_lets_in_with_its_password() {
    run(async {
        // Both files hold the same key and certificate, which is not encrypted
        // in the second.
        let folder = fixtures::workspace().join("src/credential/certificate/fixtures");
        let der =
            CertificateDer::from_pem_file(folder.join("encrypted.pem")).expect("a certificate");
        let world = World::new().await;
        let registered = Credential::Certificate {
            der: der.to_vec(),
            with_chain: false,
        };
        world.service.register_client(CLIENT, registered);
        for file in ["modern.pfx", "encrypted.pem"] {
            let path = folder.join(file);
            let path = path.to_str().expect("text");
            let variables = world.service.client_env(CLIENT);
            let variables = with(variables, "AZURE_CLIENT_CERTIFICATE_PATH", path);
            let password = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
            let opened = with(variables.clone(), password, "swordfish");
            let words = "the certificate in AZURE_CLIENT_CERTIFICATE_PATH";
            check_lets_in(&world, &opened, &[Endpoint::Token], words).await;
            world.check_nothing_shows(&["swordfish"]);

            for wrong in ["shark-of-the-tests", ""] {
                let variables = with(variables.clone(), password, wrong);
                let error = world.push(&variables, 1).await.expect_err("refused");
                assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
                assert!(error.to_string().contains("password"), "{error}");
            }
            world.check_nothing_shows(&["shark-of-the-tests"]);
            assert_eq!(world.service.requests(Endpoint::Token), 0);
        }
    });
}

#[test]
fn a_user_with_a_password_is_let_in() {
    run(async {
        let world = World::new().await;
        let password = Secret::new("correct horse battery staple");
        let user = Credential::Password {
            username: "ann@octo.example".to_owned(),
            password: password.clone(),
        };
        world.service.register_client(CLIENT, user);
        let variables = world.service.client_env(CLIENT);
        let variables = with(variables, "AZURE_USERNAME", "ann@octo.example");
        let variables = with(variables, "AZURE_PASSWORD", password.expose());
        check_lets_in(
            &world,
            &variables,
            &[Endpoint::Token],
            "the user in AZURE_USERNAME",
        )
        .await;
    });
}

#[test]
fn workload_identity_lets_an_application_in() {
    run(async {
        let world = World::new().await;
        let token = Secret::new("eyJhbGciOiJub25lIn0.c2VydmljZS1hY2NvdW50.c2lnbmF0dXJl\n");
        world
            .service
            .register_client(CLIENT, Credential::Assertion(token.clone()));
        let variables = world.service.client_env(CLIENT);
        let (variables, _folder) = with_file(variables, "AZURE_FEDERATED_TOKEN_FILE", &token);
        let words = "AZURE_FEDERATED_TOKEN_FILE";
        check_lets_in(&world, &variables, &[Endpoint::Token], words).await;
        world.check_nothing_shows(&[token.expose().trim()]);
    });
}

#[test]
fn a_github_workflow_needs_no_secret() {
    run(async {
        let world = World::new().await;
        let federated = Credential::Federated {
            issuer: GITHUB_ISSUER.to_owned(),
            subject: Options::default().github_subject,
            audience: "api://AzureADTokenExchange".to_owned(),
        };
        world.service.register_client(CLIENT, federated);
        let mut variables = world.service.client_env(CLIENT);
        variables.extend(world.service.github_env());
        let asked = [Endpoint::GitHub, Endpoint::Token];
        check_lets_in(&world, &variables, &asked, "this GitHub workflow").await;
    });
}

#[test]
fn each_host_lends_its_managed_identity() {
    run(async {
        let world = World::new().await;
        let service = &world.service;
        for (variables, asked, words) in [
            (
                service.app_service_env(),
                Endpoint::AppService,
                "App Service",
            ),
            (
                service.azure_ml_env(),
                Endpoint::AzureMl,
                "Azure Machine Learning",
            ),
            (
                service.cloud_shell_env(),
                Endpoint::CloudShell,
                "Cloud Shell",
            ),
        ] {
            check_lets_in(&world, &variables, &[asked], words).await;
        }
    });
}

#[test]
fn imds_is_probed_and_then_lends_its_identity() {
    run(async {
        let world = World::new().await;
        let variables = world.service.imds_env();
        let asked = [Endpoint::ImdsProbe, Endpoint::Imds];
        check_lets_in(&world, &variables, &asked, "the managed identity by IMDS").await;
    });
}

#[test]
fn imds_is_not_probed_where_it_was_chosen() {
    run(async {
        let world = World::new().await;
        let variables = world.service.imds_env();
        let choice = "ManagedIdentityCredential";
        let variables = with(variables, "AZURE_TOKEN_CREDENTIALS", choice);
        check_lets_in(&world, &variables, &[Endpoint::Imds], "IMDS").await;
    });
}

#[test]
fn a_user_assigned_identity_is_asked_for_by_name() {
    run(async {
        let world = World::new().await;
        world.service.assign_identity(CLIENT);
        world.service.set_system_identity(false);
        for (variables, asked) in [
            (world.service.app_service_env(), Endpoint::AppService),
            (world.service.azure_ml_env(), Endpoint::AzureMl),
        ] {
            let variables = with(variables, "AZURE_CLIENT_ID", CLIENT);
            let words = format!("the user-assigned managed identity {CLIENT}");
            check_lets_in(&world, &variables, &[asked], &words).await;
        }
    });
}

#[test]
fn a_developers_tool_comes_last() {
    run(async {
        let world = World::new().await;
        let token = world.service.token(CLIENT).expose().to_owned();
        let expires_at = 4_000_000_000;
        let world = world.with_identity(Ok(Some(AccessToken { token, expires_at })));
        let passed_over = vec![(NO_IMDS.0, NO_IMDS.1.to_owned())];
        check_lets_in(&world, &passed_over, &[], "a developer's tool").await;

        let chosen = vec![("AZURE_TOKEN_CREDENTIALS", "dev".to_owned())];
        check_lets_in(&world, &chosen, &[], "a developer's tool").await;
    });
}

#[test]
fn the_first_credential_of_the_chain_is_taken_and_the_others_are_left_alone() {
    run(async {
        let world = World::new().await;
        let secret = Secret::new("the first of them");
        world
            .service
            .register_client(CLIENT, Credential::Secret(secret.clone()));
        let mut variables = world.service.client_env(CLIENT);
        variables.extend(world.service.github_env());
        variables.extend(world.service.app_service_env());
        let variables = with(variables, "AZURE_CLIENT_SECRET", secret.expose());
        check_lets_in(
            &world,
            &variables,
            &[Endpoint::Token],
            "AZURE_CLIENT_SECRET",
        )
        .await;
    });
}
