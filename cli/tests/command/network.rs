//! The way to the store: derived addresses, proxies and their variables, and
//! certificate authorities that are not there.

use std::process::Command;
use std::time::Instant;

use blob_store::{Passage, Proxy};
use token_service::{Endpoint, Options, TokenService};

use crate::world::{CONTAINER, Ran, World, buildkit, layers, text};

/// The base64 of `key`.
const KEY: &str = "a2V5";

fn proxy(passage: Passage) -> Proxy {
    Proxy::start(passage).expect("a proxy")
}

/// What a proxy was asked for, without the query.
fn targets(proxy: &Proxy) -> Vec<String> {
    let asked = proxy.asked().into_iter();
    asked
        .map(|asked| {
            asked
                .target
                .split('?')
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

/// Checks a cache for a pull with these attributes and variables.
fn check(world: &World, attributes: &str, prepare: impl FnOnce(&mut Command)) -> Ran {
    let from = format!("type=azblob,container={CONTAINER},max_retries=0");
    let from = match attributes {
        "" => from,
        attributes => format!("{from},{attributes}"),
    };
    let mut command = world.command(&["check", "-v", "--from", &from]);
    prepare(&mut command);
    world.run_command(command)
}

fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn an_address_that_is_derived_from_a_name_is_reached() {
    let world = World::new();
    let proxy = proxy(Passage::Answer(503, "busy"));
    let string = |more: &str| format!("AccountName=acct;AccountKey={KEY}{more}");
    for (attributes, variable, target) in [
        (
            "account_name=acct".to_owned(),
            None,
            "acct.blob.core.windows.net:443",
        ),
        (
            String::new(),
            Some(("AZURE_STORAGE_ACCOUNT", "acct".to_owned())),
            "acct.blob.core.windows.net:443",
        ),
        (
            String::new(),
            Some(("BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME", "acct".to_owned())),
            "acct.blob.core.windows.net:443",
        ),
        (
            format!("connection_string={}", string("")),
            None,
            "acct.blob.core.windows.net:443",
        ),
        (
            String::new(),
            Some((
                "AZURE_STORAGE_CONNECTION_STRING",
                string(";DefaultEndpointsProtocol=https;EndpointSuffix=core.windows.net"),
            )),
            "acct.blob.core.windows.net:443",
        ),
        (
            format!(
                "connection_string={}",
                string(";EndpointSuffix=core.usgovcloudapi.net")
            ),
            None,
            "acct.blob.core.usgovcloudapi.net:443",
        ),
        (
            String::new(),
            Some((
                "AZURE_STORAGE_CONNECTION_STRING",
                string(";EndpointSuffix=core.chinacloudapi.cn"),
            )),
            "acct.blob.core.chinacloudapi.cn:443",
        ),
        (
            format!(
                "connection_string={}",
                string(";DefaultEndpointsProtocol=http;EndpointSuffix=stack.example")
            ),
            None,
            "http://acct.blob.stack.example/",
        ),
        (
            "connection_string=UseDevelopmentStorage=true;\
             DevelopmentStorageProxyUri=http://azurite.example"
                .to_owned(),
            None,
            "http://azurite.example:10000/devstoreaccount1/",
        ),
    ] {
        let before = proxy.asked().len();
        let ran = check(&world, &attributes, |command| {
            command.env("HTTPS_PROXY", proxy.url());
            command.env("HTTP_PROXY", proxy.url());
            if !attributes.contains("connection_string") {
                command.env("AZURE_STORAGE_KEY", KEY);
            }
            if let Some((name, value)) = &variable {
                if *name == "AZURE_STORAGE_CONNECTION_STRING" {
                    command.env_remove("AZURE_STORAGE_KEY");
                }
                command.env(name, value);
            }
        });
        assert_eq!(ran.code, Some(1), "{attributes} {variable:?} {ran:?}");
        let asked = &targets(&proxy)[before..];
        let is_reached = |asked: &String| asked == target || asked.starts_with(target);
        assert!(
            !asked.is_empty() && asked.iter().all(is_reached),
            "{attributes} {variable:?} {asked:?} {ran:?}"
        );
    }
}

#[test]
fn the_emulator_is_reached_without_its_address() {
    let world = World::new();
    let proxy = proxy(Passage::Answer(503, "busy"));
    for variable in [false, true] {
        let string = "UseDevelopmentStorage=true";
        let attributes = match variable {
            true => String::new(),
            false => format!("connection_string={string}"),
        };
        let ran = check(&world, &attributes, |command| {
            command.env("HTTP_PROXY", proxy.url());
            if variable {
                command.env("AZURE_STORAGE_CONNECTION_STRING", string);
            }
        });
        // Nobody, or somebody else, is there; it was asked, though.
        assert!(said(&ran).contains("127.0.0.1:10000"), "{ran:?}");
        assert!(!said(&ran).contains("granted"), "{ran:?}");
    }
    assert_eq!(targets(&proxy), [""; 0]);
}

#[test]
fn what_is_on_this_machine_is_asked_directly() {
    let world = World::new();
    world
        .store
        .create_container(CONTAINER)
        .expect("a container");
    let proxy = proxy(Passage::Answer(503, "busy"));
    let mut command = world.command(&["check", "--to", &world.cache("name=app")]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env(name, proxy.url());
    }
    world.run_command(command).succeeded();
    assert_eq!(targets(&proxy), [""; 0]);
}

#[test]
fn a_machines_identity_is_not_asked_for_through_a_proxy() {
    let world = World::new();
    let service = TokenService::start(Options::default()).expect("a service");
    let proxy = proxy(Passage::Answer(200, "<html>a page</html>"));
    let account = "account_url=https://acct.example";
    // As a pod's identity on this machine, and at IMDS's own address.
    let here = service.imds_env();
    for environment in [here, Vec::new()] {
        let begun = Instant::now();
        let ran = check(&world, account, |command| {
            command.env("HTTP_PROXY", proxy.url());
            command.env("HTTPS_PROXY", "http://127.0.0.1:9");
            command.envs(environment);
        });
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(targets(&proxy), [""; 0], "{ran:?}");
        assert!(begun.elapsed().as_secs() < 30, "{ran:?}");
    }
    assert!(service.requests(Endpoint::Imds) > 0);
}

#[test]
fn no_proxy_means_what_it_means_in_go() {
    let world = World::new();
    let proxy = proxy(Passage::Answer(503, "busy"));
    let url = "http://acct.store.invalid:8080/account";
    for (no_proxy, is_direct) in [
        ("", false),
        ("*", true),
        ("acct.store.invalid", true),
        ("store.invalid", true),
        (".store.invalid", true),
        (".acct.store.invalid", false),
        ("re.invalid", false),
        ("other, Store.Invalid:8080", true),
        ("store.invalid:80", false),
        ("10.0.0.0/8,store", false),
    ] {
        let before = proxy.asked().len();
        let ran = check(&world, &format!("account_url={url}"), |command| {
            let name = if is_direct { "NO_PROXY" } else { "no_proxy" };
            command.args(["--connect-timeout", "2"]);
            command.env("AZURE_STORAGE_KEY", KEY).env(name, no_proxy);
            command.env("http_proxy", proxy.url());
        });
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let was_asked = proxy.asked().len() > before;
        assert_eq!(was_asked, !is_direct, "`{no_proxy}` {ran:?}");
        let names_it = said(&ran).contains("from http_proxy");
        assert_eq!(names_it, !is_direct, "`{no_proxy}` {ran:?}");
    }
}

#[test]
fn a_web_servers_handler_takes_no_proxy_from_a_request() {
    let world = World::new();
    let proxy = proxy(Passage::Answer(503, "busy"));
    let url = "account_url=http://acct.store.invalid/account";
    check(&world, url, |command| {
        command.env("AZURE_STORAGE_KEY", KEY);
        command.env("HTTP_PROXY", proxy.url());
        command.env("REQUEST_METHOD", "GET");
    });
    assert_eq!(targets(&proxy), [""; 0]);
}

#[test]
fn a_proxy_variable_that_is_malformed_is_named_and_not_shown() {
    let world = World::new();
    for variable in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
        for value in [
            "http://me:hunter2@",
            "me:hunter2@proxy.example:port",
            "socks4://me:hunter2@proxy.example",
        ] {
            let mut command = world.command(&["check", "--from", &world.cache("name=app")]);
            command.env(variable, value);
            let ran = world.run_command(command).failed(1, &[variable]);
            assert!(!said(&ran).contains("hunter2"), "{ran:?}");
            // What needs no network does not mind.
            let mut command = world.command(&["plugin", "list"]);
            command.env(variable, value);
            world.run_command(command).succeeded();
        }
    }
}

#[test]
fn a_failure_names_the_proxy_that_was_between() {
    let world = World::new();
    let (https, http) = (
        "account_url=https://acct.example",
        "account_url=http://acct.example",
    );
    for (url, passage, parts) in [
        (
            https,
            Passage::Answer(503, "busy"),
            &["refused to connect"][..],
        ),
        (
            https,
            Passage::Answer(407, "who"),
            &["407", "USER:PASSWORD"],
        ),
        (https, Passage::HangUp, &["through the proxy"]),
        (http, Passage::Answer(503, "<html>busy</html>"), &["503"]),
        (http, Passage::Answer(407, "who"), &["407", "USER:PASSWORD"]),
        (http, Passage::HangUp, &["through the proxy"]),
    ] {
        let proxy = proxy(passage.clone());
        let ran = check(&world, url, |command| {
            command.env("AZURE_STORAGE_KEY", KEY);
            let with_password = proxy.url().replace("://", "://me:hunter2@");
            command.env("HTTP_PROXY", &with_password);
            command.env("HTTPS_PROXY", &with_password);
        });
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let variable = if url == https {
            "HTTPS_PROXY"
        } else {
            "HTTP_PROXY"
        };
        let named = format!("the proxy {} from {variable}", proxy.url());
        for part in parts.iter().copied().chain([&*named]) {
            assert!(said(&ran).contains(part), "`{part}` {passage:?} {ran:?}");
        }
        assert!(!said(&ran).contains("hunter2"), "{ran:?}");
        let asked = proxy.asked();
        let shown = asked
            .first()
            .and_then(|asked| asked.authorization.as_deref());
        assert_eq!(shown, Some("Basic bWU6aHVudGVyMg=="), "{passage:?}");
    }

    let ran = check(&world, https, |command| {
        command.env("AZURE_STORAGE_KEY", KEY);
        command.env("HTTPS_PROXY", "http://127.0.0.1:9");
    });
    let part = "the proxy http://127.0.0.1:9 from HTTPS_PROXY refused the connection";
    assert!(said(&ran).contains(part), "{ran:?}");
}

#[test]
fn a_cache_goes_through_a_proxy_and_back() {
    let world = World::new();
    world
        .store
        .create_container(CONTAINER)
        .expect("a container");
    let key = world.store.key();
    let cache = format!(
        "type=azblob,account_url=http://store.invalid/devstoreaccount1,container={CONTAINER},\
         secret_access_key={key},max_retries=0"
    );
    let dir = buildkit("local-max");
    for scheme in ["http", "socks5"] {
        let proxy = proxy(Passage::To(world.store.address()));
        let address = format!("{scheme}://{}", proxy.address());
        let run = |args: &[&str]| {
            let mut command = world.command(args);
            command.env("HTTP_PROXY", &address);
            world.run_command(command).succeeded()
        };
        run(&["push", "--to", &cache, text(&dir)]);
        let pulled = world.path(scheme);
        run(&["pull", "--from", &cache, text(&pulled)]);
        assert_eq!(layers(&pulled).len(), layers(&dir).len());
        let asked = targets(&proxy);
        assert!(!asked.is_empty(), "{scheme}");
        let is_meant = |target: &String| target.contains("store.invalid");
        assert!(asked.iter().all(is_meant), "{asked:?}");
    }
}

#[test]
fn certificate_authorities_are_looked_for_only_where_tls_needs_them() {
    let world = World::new();
    world
        .store
        .create_container(CONTAINER)
        .expect("a container");
    let empty = world.path("empty.pem");
    std::fs::write(&empty, "").expect("a file");
    let missing = world.path("missing.pem");
    for (file, why) in [(&empty, "no certificate"), (&missing, "cannot be read")] {
        let run = |args: &[&str]| {
            let mut command = world.command(args);
            command
                .env("SSL_CERT_FILE", file)
                .env("AZURE_STORAGE_KEY", KEY);
            world.run_command(command)
        };
        run(&["plugin", "list"]).succeeded();
        run(&["check", "--to", &world.cache("name=app")]).succeeded();
        let from = "type=azblob,account_url=https://127.0.0.1:9/acct,max_retries=5";
        let ran = run(&["check", "--from", from]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for part in ["SSL_CERT_FILE", why, file.to_str().expect("text")] {
            assert!(said(&ran).contains(part), "`{part}` {ran:?}");
        }
    }
}

#[test]
fn a_variable_for_certificates_that_is_empty_counts_as_none() {
    let world = World::new();
    let ran = check(&world, "account_url=https://127.0.0.1:9/acct", |command| {
        command.env("AZURE_STORAGE_KEY", KEY);
        command.env("SSL_CERT_FILE", "").env("SSL_CERT_DIR", "");
    });
    let is_fine = said(&ran).contains("the connection was refused")
        // On a machine that has none.
        || said(&ran).contains("ca-certificates");
    assert!(is_fine, "{ran:?}");
}
