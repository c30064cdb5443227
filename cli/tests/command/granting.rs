//! What a plugin asks for, and what of that it gets.

use std::path::PathBuf;

use blob_store::{Passage, Proxy};

use crate::world::{World, components, text};

/// The component that means harm, with what its description says.
fn hostile(world: &World, describes: &str) -> PathBuf {
    const MARKER: &[u8] = b"describe:plain ";
    const ROOM: usize = 64;
    let mut bytes = std::fs::read(components().join("hostile.wasm")).expect("the component");
    let mut places = bytes.windows(MARKER.len());
    let at = places
        .position(|window| window == MARKER)
        .expect("the marker");
    let told = format!("{:ROOM$}", format!("describe:{describes}"));
    assert_eq!(told.len(), ROOM, "`{describes}` is too long");
    bytes[at..at + ROOM].copy_from_slice(told.as_bytes());
    let file = world.path("hostile.wasm");
    std::fs::write(&file, bytes).expect("a file");
    file
}

/// What it reports of an errand in a pull, with these variables and grants.
fn told(
    world: &World,
    describes: &str,
    attributes: &str,
    variables: &[(&str, &str)],
    grants: &[&str],
) -> String {
    let file = hostile(world, describes);
    let dir = world.path("pulled");
    let mut args = vec![
        "pull",
        "--plugin",
        text(&file),
        "--from",
        attributes,
        text(&dir),
    ];
    args.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
    let mut command = world.command(&args);
    command.envs(variables.iter().copied());
    let ran = world.run_command(command);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    ran.stderr
}

#[test]
fn a_variable_that_a_plugin_merely_asks_for_is_not_seen() {
    let world = World::new();
    let reads = "reads DOCKER_HOST KUBERNETES_SERVICE_HOST";
    let variables = [
        ("DOCKER_HOST", "tcp://127.0.0.1:2375"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("AZURE_CLIENT_SECRET", "hush-hush-hush"),
    ];
    let tell = |describes: &str, r#type: &str, grants: &[&str]| {
        let attributes = format!("type={},do=variables,at=import", r#type);
        let told = told(&world, describes, &attributes, &variables, grants);
        told.trim().trim_start_matches("error:").trim().to_owned()
    };
    assert_eq!(tell(reads, "hostile", &[]), "");
    assert_eq!(tell(reads, "hostile", &["DOCKER_HOST"]), "DOCKER_HOST");
    // A type's own are given to whatever file the user chose for the type, and
    // no others are.
    let claims = "as azblob AZURE_CLIENT_SECRET DOCKER_HOST";
    assert_eq!(tell(claims, "azblob", &[]), "AZURE_CLIENT_SECRET");
    assert_eq!(tell("as http AZURE_CLIENT_SECRET", "http", &[]), "");
}

#[test]
fn a_variable_that_a_plugin_merely_asks_for_opens_no_way() {
    let world = World::new();
    let port = world.store.address().port().to_string();
    let docker = format!("tcp://127.0.0.1:{port}");
    let variables = [("DOCKER_HOST", &*docker)];
    let attributes = format!(
        "type=hostile,do=request,at=import,port={port},ask=127.0.0.1:{{port}},\
         url=http://127.0.0.1:{{port}}/x"
    );
    let run = |grants: &[&str]| told(&world, "reads DOCKER_HOST", &attributes, &variables, grants);
    let refused = run(&[]);
    assert!(refused.contains("which it was not granted"), "{refused}");
    assert_eq!(world.store.stats().requests(), 0);
    let reached = run(&["DOCKER_HOST"]);
    assert!(!reached.contains("not granted"), "{reached}");
    assert_eq!(world.store.stats().requests(), 1, "{reached}");
}

#[test]
fn a_proxy_on_this_machine_exempts_no_name() {
    let world = World::new();
    let port = world.store.address().port().to_string();
    let attributes = format!(
        "type=hostile,do=request,at=import,port={port},ask=localhost:{{port}},\
         url=http://localhost:{{port}}/x"
    );
    let names = format!("names localhost:{port}");
    // The proxy is called as the plugin's server is.
    let proxy = Proxy::start(Passage::To(world.store.address())).expect("a proxy");
    let at_localhost = format!("http://localhost:{}", proxy.address().port());
    let variables = [
        ("HTTP_PROXY", &*at_localhost),
        ("HTTPS_PROXY", &*at_localhost),
    ];
    let told = told(&world, &names, &attributes, &variables, &[]);
    assert!(told.contains("localhost leads to"), "{told}");
    assert_eq!(world.store.stats().requests(), 0);
    assert_eq!(proxy.asked(), []);
}

#[test]
fn a_file_that_a_plugin_merely_asks_for_is_not_lent() {
    let world = World::new();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = text(file.path());
    let attributes = format!("type=hostile,do=files,at=import,path={path}");
    let run = |grants: &[&str]| told(&world, &format!("opens {path}"), &attributes, &[], grants);
    let refused = run(&[]);
    assert!(refused.contains("the host does not lend"), "{refused}");
    let lent = run(&[path]);
    assert!(lent.contains("has 0 bytes"), "{lent}");
}

#[test]
fn what_is_merely_asked_for_is_shown_apart() {
    let world = World::new();
    let file = hostile(&world, "as azblob AZURE_CLIENT_ID DOCKER_HOST");
    let inspect = |more: &[&str]| {
        let args = [&["plugin", "inspect", text(&file)][..], more].concat();
        world.run(&args).succeeded()
    };
    let shown = inspect(&[]).stdout;
    let (granted, asked) = shown
        .split_once("gets each by `--grant NAME` alone")
        .unwrap_or_else(|| panic!("{shown}"));
    assert!(granted.contains("AZURE_CLIENT_ID") && !granted.contains("DOCKER_HOST"));
    assert!(asked.contains("DOCKER_HOST") && !asked.contains("AZURE_CLIENT_ID"));
    let json = inspect(&["--json"]).json();
    assert_eq!(json["granted"]["environment"][0], "AZURE_CLIENT_ID");
    assert_eq!(json["not_granted"]["environment"][0], "DOCKER_HOST");

    let shown = inspect(&["--grant", "DOCKER_HOST"]).stdout;
    assert!(
        shown.contains("DOCKER_HOST") && !shown.contains("--grant NAME"),
        "{shown}"
    );
}

#[test]
fn a_plugin_of_ours_gets_all_that_it_asks_for() {
    let world = World::new();
    for r#type in ["azblob", "http"] {
        let file = components().join(format!("{}.wasm", r#type));
        let json = world.run(&["plugin", "inspect", "--json", text(&file)]);
        let json = json.succeeded().json();
        for list in ["environment", "authorities", "files", "scopes"] {
            let none = serde_json::json!([]);
            assert_eq!(json["not_granted"][list], none, "{type} {list}");
        }
    }
}

#[test]
fn a_grant_of_what_nobody_asks_for_is_misuse() {
    let world = World::new();
    let cache = world.cache("name=app");
    for grant in ["DOCKER_HOST", "NAME=value", ""] {
        let args = ["check", "--grant", grant, "--from", &cache];
        world.run(&args).failed(2, &["--grant"]);
    }
}
