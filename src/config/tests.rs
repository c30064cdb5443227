//! Attributes and variables, in BuildKit's meaning and beyond it.

mod stores;

use std::time::Duration;

use super::{AccountUrl, Config, ContainerName, Place, Tuning};
use crate::credential::{Access, Credential};
use crate::error::Error;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn owned(pairs: Pairs) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn parse(attributes: Pairs, environment: Pairs) -> Result<Config, Error> {
    Config::parse(owned(attributes), owned(environment))
}

/// The name and the reason that an attribute is refused with.
fn refused(attributes: Pairs, environment: Pairs) -> (String, String) {
    match parse(attributes, environment).map(|_| ()) {
        Err(Error::InvalidAttribute { name, reason }) => (name, reason),
        other => panic!("{attributes:?} gave {other:?}"),
    }
}

const URL: (&str, &str) = ("account_url", "https://acct.blob.core.windows.net");

#[test]
fn an_account_url_alone_gives_buildkits_defaults() {
    let config = parse(&[URL], &[]).unwrap();
    assert_eq!(config.account, "acct");
    assert_eq!(config.container.as_str(), "buildkit-cache");
    assert_eq!(config.names, ["buildkit"]);
    assert_eq!(
        config.layout.manifest("buildkit").as_str(),
        "manifests/buildkit"
    );
    assert_eq!(config.layout.blobs_begin_with(), "blobs/");
    assert_eq!(config.tuning, Tuning::default());
    assert!(matches!(*config.access, Access::Entra(_)) && config.ignored.is_empty());
}

#[test]
fn variables_stand_in_for_attributes_and_attributes_win() {
    let environment = [
        (
            "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
            "http://env.example:8080",
        ),
        ("BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME", "envaccount"),
        ("BUILDKIT_AZURE_STORAGE_CONTAINER", "env-container"),
        ("BUILDKIT_AZURE_STORAGE_PREFIX", "env/prefix"),
        ("AZURE_STORAGE_KEY", "a2V5"),
        ("UNRELATED", "x"),
    ];
    let config = parse(&[], &environment).unwrap();
    assert_eq!(config.account_url.authority, "env.example:8080");
    assert_eq!(config.account, "envaccount");
    assert_eq!(config.container.as_str(), "env-container");
    assert_eq!(
        config.layout.manifest("n").as_str(),
        "env/prefix/manifests/n"
    );
    assert!(matches!(*config.access, Access::SharedKey { .. }));

    let attributes = [
        URL,
        ("account_name", "given"),
        ("container", "given-container"),
        ("prefix", ""),
        ("secret_access_key", "a2V5"),
    ];
    let config = parse(&attributes, &environment).unwrap();
    assert_eq!(config.account_url.authority, "acct.blob.core.windows.net");
    assert_eq!(config.account, "given");
    assert_eq!(config.container.as_str(), "given-container");
    assert_eq!(config.layout.manifest("n").as_str(), "manifests/n");
}

#[test]
fn an_account_url_is_taken_in_every_form_that_people_give() {
    let cases = [
        // text, https, authority, path, account
        (
            "https://acct.blob.core.windows.net",
            true,
            "acct.blob.core.windows.net",
            "",
            Some("acct"),
        ),
        (
            "https://acct.blob.core.windows.net/",
            true,
            "acct.blob.core.windows.net",
            "",
            Some("acct"),
        ),
        (
            "acct.blob.core.windows.net",
            true,
            "acct.blob.core.windows.net",
            "",
            Some("acct"),
        ),
        (
            " ACCT.Blob.core.windows.net:443/ ",
            true,
            "acct.blob.core.windows.net",
            "",
            Some("acct"),
        ),
        (
            "HTTP://acct.blob.core.chinacloudapi.cn:80",
            false,
            "acct.blob.core.chinacloudapi.cn",
            "",
            Some("acct"),
        ),
        (
            "https://acct-secondary.blob.core.windows.net",
            true,
            "acct-secondary.blob.core.windows.net",
            "",
            Some("acct"),
        ),
        (
            "https://acct.z12.blob.storage.azure.net",
            true,
            "acct.z12.blob.storage.azure.net",
            "",
            Some("acct"),
        ),
        (
            "http://127.0.0.1:10000/devstoreaccount1",
            false,
            "127.0.0.1:10000",
            "/devstoreaccount1",
            Some("devstoreaccount1"),
        ),
        (
            "http://127.0.0.1:10000/devstoreaccount1-secondary/",
            false,
            "127.0.0.1:10000",
            "/devstoreaccount1-secondary",
            Some("devstoreaccount1"),
        ),
        (
            "http://azurite:10000/devstoreaccount1",
            false,
            "azurite:10000",
            "/devstoreaccount1",
            Some("devstoreaccount1"),
        ),
        (
            "http://host.docker.internal:10000/dev1/",
            false,
            "host.docker.internal:10000",
            "/dev1",
            Some("dev1"),
        ),
        (
            "http://[::1]:10000/dev1",
            false,
            "[::1]:10000",
            "/dev1",
            Some("dev1"),
        ),
        ("http://[::1]", false, "[::1]", "", None),
        ("http://127.0.0.1:10000", false, "127.0.0.1:10000", "", None),
        (
            "https://cache.example.com",
            true,
            "cache.example.com",
            "",
            Some("cache"),
        ),
    ];
    for (text, https, authority, path, account) in cases {
        let url = AccountUrl::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
        assert_eq!(
            (url.https, &*url.authority, &*url.path),
            (https, authority, path),
            "{text}"
        );
        let place = Place::find(url, &[]).unwrap();
        assert_eq!(place.account.as_deref(), account, "{text}");
    }
}

#[test]
fn a_malformed_account_url_is_refused_without_its_text() {
    for text in [
        "",
        "   ",
        "ftp://acct.example",
        "https://",
        "https:///path",
        "https://user:pw@host",
        "https://host:port",
        "https://host:0",
        "https://host:70000",
        "https://host:",
        "https://host:+443",
        "https://ho st",
        "https://host/pa th",
        "https://host?code=SECRET",
        "https://host/#top",
        "https://..",
        "https://a..b",
        "http://[",
        "http://[]",
        "https://hé",
        // What clients read as another host or path than is written.
        "http://0x7f.1",
        "http://2130706433",
        "http://0177.0.0.1",
        "http://169.254.169.254.",
        "https://host/a/../b",
        "https://host/%2E./b",
    ] {
        let (name, reason) = refused(&[("account_url", text)], &[]);
        assert_eq!(name, "account_url", "{text}");
        assert!(
            !reason.contains("SECRET") && !reason.contains("pw"),
            "{reason}"
        );
    }
    let (name, _) = refused(&[], &[("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", "ftp://x")]);
    assert_eq!(name, "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL");
    assert_eq!(refused(&[], &[]).0, "account_url");
}

#[test]
fn an_account_that_nothing_tells_must_be_given() {
    for url in [
        "http://127.0.0.1:10000",
        "http://[::1]",
        "http://azurite/dev%201",
    ] {
        let (name, reason) = refused(&[("account_url", url)], &[]);
        assert_eq!(name, "account_url");
        assert!(reason.contains("account_name"), "{reason}");
    }
    assert_eq!(refused(&[URL, ("account_name", "")], &[]).0, "account_name");
    assert_eq!(
        refused(&[URL, ("account_name", "a:b")], &[]).0,
        "account_name"
    );
}

#[test]
fn container_names_follow_azures_rules() {
    let longest = "a".repeat(63);
    for name in ["abc", "a-b-c", "123", &longest] {
        assert!(ContainerName::parse(name).is_ok(), "{name}");
    }
    let too_long = "a".repeat(64);
    for name in [
        "", "ab", &too_long, "Abc", "a_c", "-ab", "ab-", "a--b", "a/b", "äbc",
    ] {
        assert!(ContainerName::parse(name).is_err(), "{name}");
    }
    let (name, _) = refused(&[URL], &[("BUILDKIT_AZURE_STORAGE_CONTAINER", "No")]);
    assert_eq!(name, "BUILDKIT_AZURE_STORAGE_CONTAINER");
}

#[test]
fn names_are_split_at_semicolons_and_counted_once() {
    let names = |list| parse(&[URL, ("name", list)], &[]).unwrap().names;
    assert_eq!(names("app"), ["app"]);
    assert_eq!(names("b;a;b"), ["b", "a"]);
    assert_eq!(names("a;;b;"), ["a", "b"]);
    assert_eq!(names("feature/x"), ["feature/x"]);
    for list in ["", ";", "../../x", "..", "a\u{7}b"] {
        assert_eq!(refused(&[URL, ("name", list)], &[]).0, "name", "{list}");
    }
    let long = "x".repeat(1100);
    assert_eq!(refused(&[URL, ("name", &long)], &[]).0, "name");
    assert_eq!(
        refused(&[URL, ("blobs_prefix", &long)], &[]).0,
        "blobs_prefix"
    );
}

#[test]
fn an_unknown_attribute_is_refused_by_name() {
    for given in ["acount_url", "Container", "x"] {
        assert_eq!(refused(&[URL, (given, "x")], &[]).0, given);
    }
}

#[test]
fn booleans_have_gos_forms() {
    let key = [("secret_access_key", "a2V5")];
    for yes in ["1", "t", "T", "true", "TRUE", "True"] {
        let config = parse(&[URL, ("anonymous", yes)], &[]).unwrap();
        assert!(matches!(*config.access, Access::Anonymous), "{yes}");
    }
    for no in ["0", "f", "F", "false", "FALSE", "False", ""] {
        let config = parse(&[URL, ("anonymous", no), key[0]], &[]).unwrap();
        assert!(matches!(*config.access, Access::SharedKey { .. }), "{no}");
    }
    for neither in ["yes", "tRUE", "2"] {
        assert_eq!(refused(&[URL, ("anonymous", neither)], &[]).0, "anonymous");
    }
    let application = [
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem"),
    ];
    let with = |value| {
        [
            &application[..],
            &[("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", value)],
        ]
        .concat()
    };
    for value in ["1", "T", "True", "tRuE", "0", "False", ""] {
        parse(&[URL], &with(value)).unwrap();
    }
    let (name, _) = refused(&[URL], &with("yes"));
    assert_eq!(name, "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN");
}

#[test]
fn what_buildkit_ignores_is_accepted_and_noted() {
    let config = parse(
        &[URL, ("compression", "zstd"), ("oci-mediatypes", "true")],
        &[],
    )
    .unwrap();
    assert_eq!(config.ignored, ["compression", "oci-mediatypes"]);
}

#[test]
fn numbers_have_units_and_limits() {
    let tuning = |name, value| parse(&[URL, (name, value)], &[]).unwrap().tuning;
    assert_eq!(tuning("parallelism", "4").parallelism, 4);
    assert_eq!(tuning("max_retries", "0").max_retries, 0);
    for (text, bytes) in [
        ("65536", 65_536),
        ("8MiB", 8 << 20),
        ("8 mib", 8 << 20),
        ("100KiB", 102_400),
        ("1MB", 1_000_000),
        ("3GiB", 3 << 30),
    ] {
        assert_eq!(tuning("block_size", text).block_size, bytes, "{text}");
    }
    for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600)] {
        let timeout = tuning("stall_timeout", text).stall_timeout;
        assert_eq!(timeout, Duration::from_secs(seconds), "{text}");
    }
    for (name, values) in [
        ("parallelism", ["0", "257", "many"]),
        ("max_retries", ["-1", "101", ""]),
        ("block_size", ["1KiB", "5000MiB", "99999999999GiB"]),
        ("stall_timeout", ["0s", "2d", "s"]),
    ] {
        for value in values {
            assert_eq!(refused(&[URL, (name, value)], &[]).0, name, "{value}");
        }
    }
}

#[test]
fn a_bad_key_names_its_source_and_is_not_shown() {
    for (attributes, environment, source) in [
        (
            vec![URL, ("secret_access_key", "k!e!y")],
            vec![],
            "secret_access_key",
        ),
        (
            vec![URL],
            vec![("AZURE_STORAGE_KEY", "k!e!y")],
            "AZURE_STORAGE_KEY",
        ),
        (
            vec![URL, ("secret_access_key", "")],
            vec![("AZURE_STORAGE_KEY", "k!e!y")],
            "AZURE_STORAGE_KEY",
        ),
    ] {
        let (name, reason) = refused(&attributes, &environment);
        assert_eq!(name, source);
        assert!(!reason.contains("k!e!y"), "{reason}");
    }
}

#[test]
fn no_token_goes_over_plain_http_and_the_text_says_what_to_do() {
    let url = ("account_url", "http://acct.blob.core.windows.net");
    let config = parse(&[url], &[]).unwrap();
    match Credential::find(&config).map(|_| ()) {
        Err(Error::Unauthenticated(text)) => {
            assert!(
                text.contains("`acct`")
                    && text.contains("https://")
                    && text.contains("secret_access_key"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    Credential::find(&parse(&[URL], &[]).unwrap()).unwrap();
}
