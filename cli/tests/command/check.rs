//! Checking a credential, and whom the program trusts on the way to a token.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use blob_store::OperationKind;
use token_service::{Credential, Endpoint, Options, Running, Secret, TokenService};

use crate::world::{CONTAINER, Ran, World, text};

const PASSWORD: &str = "swordfish-of-the-tests";

/// Entra on this machine, which stands in for a store that knows nobody too.
fn entra() -> Running {
    let service = TokenService::start(Options::default()).expect("a service");
    service.register_client("builder", Credential::Secret(Secret::new(PASSWORD)));
    service
}

/// Checks a cache in a store at the token service's own address: the token is
/// got, and what the store says to it does not matter here.
fn check(world: &World, service: &Running, prepare: impl FnOnce(&mut Command)) -> Ran {
    let url = service.authority_url();
    let to = format!("type=azblob,account_url={url}/account,container=tests,name=a,max_retries=0");
    let mut command = world.command(&["check", "-v", "--to", &to]);
    command.envs(service.client_env("builder"));
    command.env("AZURE_CLIENT_SECRET", PASSWORD);
    prepare(&mut command);
    let ran = world.run_command(command);
    let secrets = service.secrets();
    for secret in secrets.iter().map(Secret::expose).chain([PASSWORD]) {
        let shown = ran.stdout.contains(secret) || ran.stderr.contains(secret);
        assert!(!shown, "a secret is shown");
    }
    ran
}

#[test]
fn a_key_is_checked_and_nothing_is_left_behind() {
    let world = World::new();
    world
        .store
        .create_container(CONTAINER)
        .expect("a container");
    let to = world.cache("name=app");
    for command in [&["check"][..], &["login", "check"]] {
        let args = [command, &["--to", &to]].concat();
        let ran = world.run(&args).succeeded();
        for part in [
            "credential: the key of the storage account",
            "✓ read ",
            "✓ write ",
            "✓ list ",
            "✓ delete ",
            CONTAINER,
            "Sufficient for push and pull.",
        ] {
            assert!(ran.stdout.contains(part), "`{part}` is not said: {ran:?}");
        }
    }
    let json = world.run(&["check", "--json", "--to", &to]).succeeded();
    let json = json.json();
    for does in ["pull", "push", "sufficient"] {
        assert_eq!(json[does], true, "{does}");
    }
    assert_eq!(json["attempts"].as_array().map(Vec::len), Some(4));
    assert!(world.store.stats().of(OperationKind::PutBlob) > 0);
    assert!(world.store.keys(CONTAINER).expect("a container").is_empty());
}

#[test]
fn a_check_makes_no_container_and_says_that_a_push_would() {
    let world = World::new();
    let ran = world.run(&["check", "--to", &world.cache("name=app")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let part = "there is no container `tests` yet. A check creates none; the first push does";
    assert!(ran.stdout.contains(part), "{ran:?}");
    assert_eq!(world.store.stats().of(OperationKind::CreateContainer), 0);
}

#[test]
fn a_public_container_does_for_a_pull_and_not_for_a_push() {
    let world = World::new();
    world
        .store
        .create_container(CONTAINER)
        .expect("a container");
    world.store.make_public(CONTAINER).expect("public");
    let cache = world.cache_without_key("anonymous=true");
    let from = world.run(&["check", "--from", &cache]).succeeded();
    for part in [
        "credential: none: requests are anonymous",
        "✓ read ",
        "✗ write ",
        "anonymous=true",
        "Sufficient for pull, but not for push",
    ] {
        assert!(from.stdout.contains(part), "`{part}` is not said: {from:?}");
    }
    let to = world.run(&["check", "--json", "--to", &cache]);
    assert_eq!(to.code, Some(1), "{to:?}");
    let json = to.json();
    assert_eq!(
        (&json["pull"], &json["push"]),
        (&true.into(), &false.into())
    );
    assert_eq!(world.store.stats().of(OperationKind::PutBlob), 2);
    assert!(world.store.keys(CONTAINER).expect("a container").is_empty());
}

#[test]
fn a_key_that_is_refused_is_said_once_with_where_it_came_from() {
    let world = World::new();
    let to = world.cache_without_key("name=app");
    let mut command = world.command(&["check", "--to", &to]);
    command.env("AZURE_STORAGE_KEY", "d3Jvbmcga2V5");
    let ran = world.run_command(command);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.stdout.matches(" 403 ").count(), 1, "{ran:?}");
    for part in [
        "not signed in: ",
        "It was sent with the key of the storage account",
        "(AZURE_STORAGE_KEY)",
        "Check that the key is one of this account",
    ] {
        assert!(ran.stdout.contains(part), "`{part}` is not said: {ran:?}");
    }
}

#[test]
fn a_certificate_authority_of_nobody_is_not_trusted() {
    let (world, service) = (World::new(), entra());
    let ran = check(&world, &service, |_| {});
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(service.requests(Endpoint::Token), 0);
}

#[test]
fn the_certificate_authorities_of_ssl_cert_file_are_trusted() {
    let (world, service) = (World::new(), entra());
    check(&world, &service, |command| {
        command.env("SSL_CERT_FILE", service.ca_path());
    });
    assert_eq!(service.requests(Endpoint::Token), 1);
}

#[test]
fn the_certificate_authorities_of_a_flag_are_trusted() {
    let (world, service) = (World::new(), entra());
    check(&world, &service, |command| {
        command.args(["--ca-file", text(&service.ca_path())]);
    });
    assert_eq!(service.requests(Endpoint::Token), 1);
}

/// A tool that writes down what it is asked, and prints this.
fn tool(folder: &Path, name: &str, asked: &Path, prints: &str) {
    let (tool, asked) = (folder.join(name), asked.display());
    let script = format!("#!/bin/sh\necho \"$*\" >> '{asked}'\necho '{prints}'\n");
    std::fs::write(&tool, script).expect("a script");
    let runnable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&tool, runnable).expect("permissions");
}

#[test]
fn a_developers_tool_that_is_named_is_the_only_one_asked() {
    let (world, service) = (World::new(), entra());
    let tools = world.path("tools");
    std::fs::create_dir(&tools).expect("a folder");
    let (az, azd) = (world.path("az-asked"), world.path("azd-asked"));
    let token = "eyJub3RoaW5n-a-token-of-some-length";
    let printed = format!(r#"{{"accessToken":"{token}","expires_on":4000000000}}"#);
    tool(&tools, "az", &az, &printed);
    let printed = format!(r#"{{"token":"{token}","expiresOn":"2096-10-02T07:06:40Z"}}"#);
    tool(&tools, "azd", &azd, &printed);

    check(&world, &service, |command| {
        command.env_remove("AZURE_CLIENT_SECRET");
        command.env("AZURE_TOKEN_CREDENTIALS", "AzureDeveloperCliCredential");
        command.env("SSL_CERT_FILE", service.ca_path());
        command.env("PATH", &tools);
    });
    let asked = std::fs::read_to_string(&azd).expect("azd was asked");
    assert_eq!(
        asked,
        "auth token -o json --no-prompt --scope https://storage.azure.com/.default\n"
    );
    assert!(!az.exists());
}

#[test]
fn the_token_of_a_developers_tool_is_used_and_not_shown() {
    let (world, service) = (World::new(), entra());
    let tools = world.path("tools");
    std::fs::create_dir(&tools).expect("a folder");
    let asked = world.path("asked");
    let token = "eyJub3RoaW5n-a-token-of-some-length";
    let printed = format!(r#"{{"accessToken":"{token}","expires_on":4000000000}}"#);
    tool(&tools, "az", &asked, &printed);

    let ran = check(&world, &service, |command| {
        command.env_remove("AZURE_CLIENT_SECRET");
        command.env("AZURE_TOKEN_CREDENTIALS", "dev");
        command.env("SSL_CERT_FILE", service.ca_path());
        command.env("PATH", &tools);
    });
    let asked = std::fs::read_to_string(&asked).expect("the tool was asked");
    assert_eq!(
        asked,
        "account get-access-token -o json --resource https://storage.azure.com\n"
    );
    assert!(!ran.stdout.contains(token) && !ran.stderr.contains(token));
    assert_eq!(service.requests(Endpoint::Token), 0);
}
