//! Credentials that do not do: which one, why, and in whose words.

use build_cache_host::Error;
use token_service::{Action, Credential, Endpoint, Environment, Fault, Secret};

use super::{CLIENT, NO_IMDS, World, with};
use crate::setup::run;

/// Fails to export with these variables, and gives the error, which says all
/// of `parts` and shows no secret.
async fn check_refused(world: &World, variables: &Environment, parts: &[&str]) -> Error {
    world.service.reset_requests();
    let error = world.push(variables, 1).await.expect_err("refused");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    world.check_nothing_shows(&[]);
    error
}

fn is_unauthenticated(error: &Error) -> bool {
    matches!(error, Error::Unauthenticated(_))
}

#[test]
fn where_no_credential_is_found_each_one_tried_is_named() {
    run(async {
        let world = World::new().await;
        let variables = vec![(NO_IMDS.0, NO_IMDS.1.to_owned())];
        let parts = [
            "environment: AZURE_TENANT_ID, AZURE_CLIENT_ID are not set",
            "workload identity: ",
            "AZURE_FEDERATED_TOKEN_FILE",
            "GitHub Actions: ",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "managed identity: IMDS does not answer",
            "developer tools: ",
            "`az login`",
            "AZURE_STORAGE_SAS_TOKEN",
        ];
        let error = check_refused(&world, &variables, &parts).await;
        assert!(is_unauthenticated(&error), "{error:?}");
    });
}

#[test]
fn a_tool_that_failed_says_so_among_the_others() {
    run(async {
        let why = "az: please run `az login` again";
        let world = World::new().await.with_identity(Err(why.to_owned()));
        let variables = vec![(NO_IMDS.0, NO_IMDS.1.to_owned())];
        check_refused(&world, &variables, &["environment: ", why]).await;
    });
}

#[test]
fn a_wrong_proof_is_refused_in_entras_own_words() {
    run(async {
        let world = World::new().await;
        let right = Credential::Secret(Secret::new("the right one"));
        world.service.register_client(CLIENT, right);
        let stranger = world.service.client_certificate("stranger").expect("one");
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, contents: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, contents).expect("a file");
            path.to_str().expect("text").to_owned()
        };
        let application = || world.service.client_env(CLIENT);
        let mut of_github = application();
        of_github.extend(world.service.github_env());
        let of_a_user = with(application(), "AZURE_USERNAME", "ann@octo.example");
        for (variables, what) in [
            (
                with(application(), "AZURE_CLIENT_SECRET", "a wrong one"),
                "AZURE_CLIENT_SECRET",
            ),
            (
                with(
                    application(),
                    "AZURE_CLIENT_CERTIFICATE_PATH",
                    file("pem", stranger.pem().expose()),
                ),
                "AZURE_CLIENT_CERTIFICATE_PATH",
            ),
            (
                with(
                    application(),
                    "AZURE_FEDERATED_TOKEN_FILE",
                    file("token", "eyJhbGciOiJub25lIn0.bm9ib2R5LWtub3dz.bWU"),
                ),
                "AZURE_FEDERATED_TOKEN_FILE",
            ),
            (of_github, "GitHub workflow"),
            (
                with(of_a_user, "AZURE_PASSWORD", "a wrong one"),
                "AZURE_PASSWORD",
            ),
        ] {
            let parts = [
                what,
                "Microsoft Entra refused",
                "AADSTS",
                "correlation id",
                CLIENT,
            ];
            let error = check_refused(&world, &variables, &parts).await;
            assert!(is_unauthenticated(&error), "{error:?}");
            assert_eq!(world.service.requests(Endpoint::Token), 1, "{what}");
        }
    });
}

#[test]
fn a_host_that_knows_another_secret_or_identity_is_named() {
    run(async {
        let world = World::new().await;
        let service = &world.service;
        let wrong_secret = |mut variables: Environment, name: &str| {
            variables.retain(|(other, _)| *other != name);
            variables
        };
        let app_service = wrong_secret(service.app_service_env(), "IDENTITY_HEADER");
        let azure_ml = wrong_secret(service.azure_ml_env(), "MSI_SECRET");
        for (variables, parts) in [
            (
                with(app_service, "IDENTITY_HEADER", "not this host's"),
                ["App Service", "401"],
            ),
            (
                with(azure_ml, "MSI_SECRET", "not this host's"),
                ["Azure Machine Learning", "401"],
            ),
            (
                with(service.app_service_env(), "AZURE_CLIENT_ID", CLIENT),
                ["user-assigned identity", CLIENT],
            ),
            (
                with(service.imds_env(), "AZURE_CLIENT_ID", CLIENT),
                ["user-assigned identity", CLIENT],
            ),
        ] {
            let error = check_refused(&world, &variables, &parts).await;
            assert!(is_unauthenticated(&error), "{error:?}");
        }
    });
}

#[test]
fn imds_without_an_identity_is_passed_over() {
    run(async {
        let world = World::new().await;
        world.service.set_system_identity(false);
        let variables = world.service.imds_env();
        let parts = [
            "managed identity: IMDS has no identity",
            "developer tools: ",
        ];
        check_refused(&world, &variables, &parts).await;
        assert_eq!(world.service.requests(Endpoint::Imds), 1);

        world.service.set_system_identity(true);
        let elsewhere = Fault::new(Action::docker_desktop()).on(Endpoint::Imds);
        world.service.fault(elsewhere);
        let parts = ["managed identity: ", "developer tools: "];
        check_refused(&world, &variables, &parts).await;
    });
}

#[test]
fn arcs_key_that_is_not_there_is_named() {
    run(async {
        let world = World::new().await;
        let variables = world.service.arc_env();
        let parts = ["Azure Arc", "/var/opt/azcmagent/tokens/", ".key", "himds"];
        let error = check_refused(&world, &variables, &parts).await;
        assert!(is_unauthenticated(&error), "{error:?}");
        assert_eq!(world.service.requests(Endpoint::ArcChallenge), 1);
        assert_eq!(world.service.requests(Endpoint::Arc), 0);
    });
}

#[test]
fn a_file_that_is_not_there_is_named() {
    run(async {
        let world = World::new().await;
        for name in [
            "AZURE_CLIENT_CERTIFICATE_PATH",
            "AZURE_FEDERATED_TOKEN_FILE",
        ] {
            let path = "/nowhere/to/be/found";
            let variables = with(world.service.client_env(CLIENT), name, path);
            let error = check_refused(&world, &variables, &[name, path, "no such file"]).await;
            assert!(is_unauthenticated(&error), "{error:?}");
            assert_eq!(world.service.requests(Endpoint::Token), 0);
        }
    });
}

#[test]
fn an_authority_that_is_not_itself_is_told_from_a_refusal() {
    run(async {
        let world = World::new().await;
        let variables = world.service.client_env(CLIENT);
        let variables = with(variables, "AZURE_CLIENT_SECRET", "never mind");
        for answer in [Action::html(200), Action::broken_json()] {
            world.service.fault(Fault::new(answer).times(1));
            let error = check_refused(&world, &variables, &["is not a token"]).await;
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        }
    });
}
