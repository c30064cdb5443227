//! Asking for what was not granted: other hosts, variables, files, tokens.

use std::sync::{Arc, Mutex};

use blob_store::{Action, Fault};
use build_cache_host::{
    AccessToken, Authorities, AuthorityPattern, Error, Event, Grants, Identity, OpenOptions,
    Plugin, Policy,
};
use futures::future::BoxFuture;

use super::{beside_others, hostile, hostile_describing, import, open, orders, tight};
use crate::setup::{self, Attributes, run};

/// Loads it with a description that names these authorities.
async fn naming(authorities: &str) -> Plugin {
    describing(&format!("names {authorities}")).await
}

/// Loads it with this description.
async fn describing(what: &str) -> Plugin {
    let bytes = hostile_describing(what);
    let loaded = setup::host().load_bytes("hostile.wasm", bytes).await;
    loaded.expect("a plugin")
}

/// What it reports of its errand in `import`, and the warnings meanwhile.
async fn report(plugin: &Plugin, orders: Attributes, grants: Grants) -> (String, Vec<String>) {
    let warnings: Arc<Mutex<Vec<String>>> = Arc::default();
    let on_event = {
        let warnings = Arc::clone(&warnings);
        move |event| {
            if let Event::Warning(text) = event {
                warnings.lock().expect("nobody panics").push(text);
            }
        }
    };
    let options = OpenOptions {
        grants,
        on_event: Some(Arc::new(on_event)),
        ..OpenOptions::default()
    };
    let cache = plugin.open(&orders, options).await.expect("a cache");
    let told = beside_others(cache.import()).await.expect_err("a report");
    let warnings = warnings.lock().expect("nobody panics").clone();
    (told.to_string(), warnings)
}

#[test]
fn a_request_to_a_server_that_nobody_named_is_not_sent_and_told() {
    run(async {
        let (mine, other) = (setup::blob_store(), setup::blob_store());
        let urls = format!("{} {}", mine.plain_url(), other.plain_url());
        let allowed = mine.address().to_string();
        let grants = Grants {
            authorities: Authorities::Only(vec![
                AuthorityPattern::parse(&allowed).expect("a pattern"),
            ]),
            ..tight()
        };
        let orders = orders("request", "import", [("url", &urls), ("ask", &allowed)]);
        let (told, warnings) = report(&hostile().await, orders, grants).await;
        assert!(told.ends_with("HttpRequestDenied"), "{told}");
        assert_eq!((mine.stats().requests(), other.stats().requests()), (1, 0));
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}");
        };
        let address = other.address().to_string();
        assert!(
            warning.contains("hostile.wasm") && warning.contains(&address),
            "{warning}"
        );
    });
}

#[test]
fn a_redirect_is_not_followed_and_leads_the_plugin_nowhere() {
    run(async {
        let (mine, other) = (setup::blob_store(), setup::blob_store());
        mine.faults().push(Fault::new(Action::Answer {
            status: 302,
            code: "Found".into(),
            headers: vec![("Location".into(), other.plain_url())],
        }));
        let (url, address) = (mine.plain_url(), mine.address().to_string());
        let orders = orders("follow", "import", [("url", &url), ("ask", &address)]);
        let (told, warnings) = report(&hostile().await, orders, tight()).await;
        assert_eq!(told, "302, then ErrorCode::HttpRequestDenied");
        assert_eq!((mine.stats().requests(), other.stats().requests()), (1, 0));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    });
}

#[test]
fn another_port_of_the_users_server_is_another_server() {
    run(async {
        let (mine, other) = (setup::blob_store(), setup::blob_store());
        let (url, ask) = (mine.plain_url(), other.address().to_string());
        let port = other.address().port().to_string();
        let more = [("url", &*url), ("ask", "127.0.0.1:{port}"), ("port", &port)];
        let opened = open(orders("request", "import", more)).await;
        let error = opened.expect_err("a refusal");
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("hostile.wasm") && text.contains(&ask),
            "{text}"
        );
    });
}

#[test]
fn this_machine_is_out_of_reach_however_it_is_written() {
    run(async {
        let store = setup::blob_store();
        let port = store.address().port().to_string();
        // The user gives the port, and names no server.
        let asking = |host: &str| {
            let ask = format!("{host}:{{port}}");
            orders("request", "import", [("ask", &ask), ("port", &port)])
        };
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "127.1",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "0.0.0.0",
        ] {
            // The plugin names it itself, which is not enough.
            let plugin = naming(&format!("{host}:{port}")).await;
            let opened = plugin.open(&asking(host), OpenOptions::default()).await;
            let error = opened.expect_err(host).to_string();
            assert!(error.contains("hostile.wasm"), "{error}");
            assert!(error.contains(host), "{error}");
        }
        // Nor does a domain cover it.
        let plugin = naming("*.0.1").await;
        let opened = plugin
            .open(&asking("127.0.0.1"), OpenOptions::default())
            .await;
        let error = opened.expect_err("no domain").to_string();
        assert!(error.contains("hostile.wasm"), "{error}");
        assert_eq!(store.stats().requests(), 0);
    });
}

#[test]
fn other_ways_to_write_the_users_own_server_are_not_granted() {
    run(async {
        let store = setup::blob_store();
        let (mine, port) = (store.address().to_string(), store.address().port());
        let others = ["0x7f.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"];
        let urls = others
            .map(|host| format!("http://{host}:{port}/"))
            .join(" ");
        let more = [("url", urls.as_str()), ("ask", &mine)];
        let told = import("request", more).await.to_string();
        assert_eq!(told.matches("HttpRequestDenied").count(), 4, "{told}");
        assert_eq!(store.stats().requests(), 0);
    });
}

#[test]
fn a_name_that_leads_to_this_machine_is_reached_only_where_the_user_named_it() {
    run(async {
        let store = setup::blob_store();
        let port = store.address().port().to_string();
        let authority = format!("localhost:{port}");
        let plugin = naming(&authority).await;

        let unnamed = [
            ("url", "http://localhost:{port}/_plain/x"),
            ("ask", "localhost:{port}"),
            ("port", &port),
        ];
        let unnamed = orders("request", "import", unnamed);
        let (told, warnings) = report(&plugin, unnamed, tight()).await;
        assert!(told.contains("HttpRequestDenied"), "{told}");
        assert!(warnings[0].contains("localhost leads to"), "{warnings:?}");
        assert!(warnings[0].contains("hostile.wasm"), "{warnings:?}");
        assert_eq!(store.stats().requests(), 0);

        let url = format!("http://{authority}/_plain/x");
        let named = orders("request", "import", [("url", &url), ("ask", &authority)]);
        let (told, warnings) = report(&plugin, named, tight()).await;
        assert!(told.contains(": 404"), "{told}");
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(store.stats().requests(), 1);
    });
}

#[test]
fn a_variable_that_the_description_does_not_name_is_not_seen() {
    run(async {
        let mut grants = tight();
        for name in ["HOSTILE_VARIABLE", "SOMEBODY_ELSES_SECRET", "PATH"] {
            grants.variables.insert(name, "value");
        }
        let orders = orders("variables", "import", []);
        let (told, _) = report(&hostile().await, orders, grants).await;
        assert_eq!(told, "HOSTILE_VARIABLE");
    });
}

#[test]
fn no_file_is_read_and_no_folder_is_there_to_be_written_to() {
    run(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("text");
        let paths = format!("{path} /etc/passwd /proc/self/environ ../secret");
        let told = import("files", [("path", &paths)]).await.to_string();
        for path in paths.split(' ') {
            let refused = format!("the host does not lend {path}");
            assert!(told.contains(&refused), "{told}");
        }
        let told = import("folders", []).await.to_string();
        assert_eq!(told, "0 folders");
    });
}

/// A developer whose tool gives a token for every scope.
struct Generous;

impl Identity for Generous {
    fn token<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<AccessToken>, String>> {
        let token = AccessToken {
            token: "a-token-of-the-developer".to_owned(),
            expires_at: 4_000_000_000,
        };
        Box::pin(async { Ok(Some(token)) })
    }
}

#[test]
fn nobody_elses_token_is_given_away() {
    run(async {
        let trusting = |scope: &str| {
            let mut policy = Policy::default();
            policy.grant(scope).expect("a scope");
            policy
        };
        for (describes, policy, is_given) in [
            ("plain", Policy::of_type("azblob"), false),
            ("plain", trusting("scope:anything"), false),
            ("names scope:anything", Policy::of_type("hostile"), false),
            ("names scope:anything", trusting("scope:other"), false),
            ("names scope:other", trusting("scope:anything"), false),
            ("names scope:anything", trusting("scope:anything"), true),
        ] {
            let options = OpenOptions {
                grants: Grants {
                    policy: Some(policy),
                    ..tight()
                },
                identity: Some(Arc::new(Generous)),
                ..OpenOptions::default()
            };
            let plugin = describing(describes).await;
            let cache = plugin.open(&orders("token", "import", []), options).await;
            let told = cache
                .expect("a cache")
                .import()
                .await
                .expect_err("a report");
            let told = told.to_string();
            assert_eq!(told.contains("Ok(Some("), is_given, "{describes}: {told}");
            assert_eq!(told.contains("Ok(None)"), !is_given, "{describes}: {told}");
        }
    });
}

/// How a request to this port of this machine ended, where the user gave
/// `named`, and nothing else that names a server.
async fn outcome(plugin: &Plugin, port: u16, named: &str, grants: Grants) -> Result<String, Error> {
    let more = [
        ("ask", "127.0.0.1:{port}"),
        ("url", "http://127.0.0.1:{port}/_plain/x"),
        ("port", &port.to_string()),
        ("named", named),
    ];
    let options = OpenOptions {
        grants,
        ..OpenOptions::default()
    };
    let cache = plugin
        .open(&orders("request", "import", more), options)
        .await?;
    Ok(cache.import().await.expect_err("a report").to_string())
}

#[test]
fn a_port_and_an_address_are_checked_under_every_form_of_grant() {
    run(async {
        let store = setup::blob_store();
        let port = store.address().port();
        let only = |pattern: &str| Grants {
            authorities: Authorities::Only(vec![AuthorityPattern::parse(pattern).unwrap()]),
            ..tight()
        };
        let granting = |what: &str| {
            let mut policy = Policy::default();
            policy.grant(what).expect("a grant");
            Grants {
                policy: Some(policy),
                ..tight()
            }
        };
        let variable = |value: &str| {
            let mut grants = tight();
            grants.variables.insert("HOSTILE_VARIABLE", value);
            grants
        };
        let mine = format!("127.0.0.1:{port}");
        let plain = hostile().await;
        let naming = naming(&mine).await;
        let derived = describing(&format!("offers {mine} if named=yes")).await;
        for (plugin, named, grants, is_reached) in [
            // The description alone is not enough, nor is a part of a value.
            (&plain, "", tight(), false),
            (&naming, "", tight(), false),
            (&derived, "yes", tight(), false),
            (&plain, "127.0.0.1", tight(), false),
            (&plain, "http://127.0.0.1:1/", tight(), false),
            (
                &plain,
                &format!("http://a.example/?u=http://{mine}/"),
                tight(),
                false,
            ),
            // The user's own attribute is, and so is a variable that was granted.
            (&plain, &format!("http://{mine}/x"), tight(), true),
            (&plain, &mine, tight(), true),
            (&plain, "", variable(&format!("http://{mine}")), true),
            (&plain, "", variable("http://127.0.0.1:1"), false),
            // The host's policy, for the very same entry.
            (&naming, "", granting(&mine), true),
            (&plain, "", granting(&mine), false),
            (&naming, "", granting("127.0.0.1"), false),
            (
                &derived,
                "yes",
                granting(&format!("{mine} if named=yes")),
                true,
            ),
            (
                &derived,
                "no",
                granting(&format!("{mine} if named=yes")),
                false,
            ),
            // The embedder's list, by the port.
            (&plain, "", only(&mine), true),
            (&plain, "", only("127.0.0.1"), false),
            (&plain, "", only("127.0.0.1:1"), false),
        ] {
            let before = store.stats().requests();
            let told = outcome(plugin, port, named, grants.clone()).await;
            let was_reached = store.stats().requests() > before;
            assert_eq!(was_reached, is_reached, "{named} {grants:?}: {told:?}");
            assert_eq!(told.is_ok(), is_reached, "{named} {grants:?}: {told:?}");
        }
    });
}

#[test]
fn private_addresses_are_refused_where_only_the_plugin_names_them() {
    run(async {
        for address in [
            "10.0.0.4",
            "172.16.0.1:8080",
            "192.168.1.1",
            "100.64.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[fc00::1]",
            "[fe80::1]",
            "[::ffff:a00:4]",
            "[64:ff9b::a9fe:a9fe]",
        ] {
            let plugin = naming(address).await;
            // The plugin derives it from a value that names no server.
            let dot = if address.starts_with('[') { ":" } else { "." };
            let ask = address.replace(dot, "{dot}");
            let orders = orders("", "import", [("ask", &*ask), ("dot", dot)]);
            let opened = plugin.open(&orders, OpenOptions::default()).await;
            let error = opened.expect_err(address);
            assert!(matches!(error, Error::Denied { .. }), "{address} {error:?}");
        }
    });
}
