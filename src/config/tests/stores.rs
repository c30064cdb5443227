//! Which store is meant where several attributes and variables name it.

use super::{Pairs, URL, parse, refused};
use crate::config::Config;
use crate::credential::{Access, Credential};
use crate::error::Error;

const URL_VARIABLE: &str = "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL";
const NAME_VARIABLE: &str = "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME";
const USUAL_NAME: &str = "AZURE_STORAGE_ACCOUNT";
const CONTAINER_VARIABLE: &str = "BUILDKIT_AZURE_STORAGE_CONTAINER";
const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";
const SAS: &str = "AZURE_STORAGE_SAS_TOKEN";
const KEY: (&str, &str) = ("AZURE_STORAGE_KEY", "a2V5");

/// Host and path, account, container.
fn store(config: &Config) -> (String, &str, &str) {
    let url = &config.account_url;
    let address = format!("{}{}", url.authority, url.path);
    (address, &config.account, config.container.as_str())
}

#[test]
fn each_part_of_the_store_comes_from_where_the_readme_says() {
    /// Attributes, variables; address, account, container.
    type Case<'a> = (Pairs<'a>, Pairs<'a>, (&'a str, &'a str, &'a str));
    let cases: &[Case] = &[
        // A custom domain does not tell the account: whoever names it is right.
        (
            &[("account_url", "https://cache.example.com")],
            &[(USUAL_NAME, "realacct")],
            ("cache.example.com", "realacct", "buildkit-cache"),
        ),
        (
            &[],
            &[
                (URL_VARIABLE, "cache.example.com"),
                (NAME_VARIABLE, "mine"),
                (USUAL_NAME, "other"),
            ],
            ("cache.example.com", "mine", "buildkit-cache"),
        ),
        (
            &[
                ("account_url", "cache.example.com"),
                ("account_name", "given"),
            ],
            &[(NAME_VARIABLE, "mine"), (USUAL_NAME, "other")],
            ("cache.example.com", "given", "buildkit-cache"),
        ),
        (
            &[("account_url", "cache.example.com")],
            &[],
            ("cache.example.com", "cache", "buildkit-cache"),
        ),
        // Where the address tells it, a variable for other programs does not count.
        (
            &[URL],
            &[(USUAL_NAME, "other")],
            ("acct.blob.core.windows.net", "acct", "buildkit-cache"),
        ),
        (
            &[("account_url", "http://127.0.0.1:10000/dev1")],
            &[(USUAL_NAME, "other")],
            ("127.0.0.1:10000/dev1", "dev1", "buildkit-cache"),
        ),
        (
            &[URL],
            &[(NAME_VARIABLE, "mine")],
            ("acct.blob.core.windows.net", "mine", "buildkit-cache"),
        ),
        // Without an address, the name gives it.
        (
            &[("account_name", "acct")],
            &[(USUAL_NAME, "b")],
            ("acct.blob.core.windows.net", "acct", "buildkit-cache"),
        ),
        (
            &[],
            &[(NAME_VARIABLE, "mine"), (USUAL_NAME, "b")],
            ("mine.blob.core.windows.net", "mine", "buildkit-cache"),
        ),
        (
            &[],
            &[(USUAL_NAME, "acct")],
            ("acct.blob.core.windows.net", "acct", "buildkit-cache"),
        ),
        (
            &[],
            &[(USUAL_NAME, "acct"), (NAME_VARIABLE, "")],
            ("acct.blob.core.windows.net", "acct", "buildkit-cache"),
        ),
        // An attribute takes precedence over every variable.
        (
            &[("connection_string", "AccountName=acct;AccountKey=a2V5")],
            &[
                (URL_VARIABLE, "https://other.blob.core.windows.net"),
                (NAME_VARIABLE, "other"),
            ],
            ("acct.blob.core.windows.net", "acct", "buildkit-cache"),
        ),
        (
            &[("account_name", "acct")],
            &[(CONNECTION, "AccountName=other;AccountKey=a2V5")],
            ("acct.blob.core.windows.net", "acct", "buildkit-cache"),
        ),
        (
            &[],
            &[
                (CONNECTION, "AccountName=acct;AccountKey=a2V5"),
                (USUAL_NAME, "other"),
            ],
            ("acct.blob.core.windows.net", "acct", "buildkit-cache"),
        ),
        (
            &[],
            &[
                (
                    CONNECTION,
                    "BlobEndpoint=https://cache.example.com;AccountName=acct;AccountKey=a2V5",
                ),
                (NAME_VARIABLE, "acct"),
            ],
            ("cache.example.com", "acct", "buildkit-cache"),
        ),
        (
            &[URL],
            &[
                (CONTAINER_VARIABLE, "\"mine\"\n"),
                (NAME_VARIABLE, "'acct'"),
            ],
            ("acct.blob.core.windows.net", "acct", "mine"),
        ),
        // A container's address is the container's.
        (
            &[("account_url", "https://acct.blob.core.windows.net/mine")],
            &[],
            ("acct.blob.core.windows.net", "acct", "mine"),
        ),
        (
            &[
                (
                    "account_url",
                    "https://acct.blob.core.windows.net/mine?sv=1&sr=c&sig=a",
                ),
                ("container", "mine"),
            ],
            &[],
            ("acct.blob.core.windows.net", "acct", "mine"),
        ),
        (
            &[],
            &[
                (
                    URL_VARIABLE,
                    "\"https://acct.blob.core.windows.net/mine/\"\n",
                ),
                (CONTAINER_VARIABLE, "mine"),
            ],
            ("acct.blob.core.windows.net", "acct", "mine"),
        ),
        (
            &[("account_url", "http://127.0.0.1:10000/dev1/mine")],
            &[],
            ("127.0.0.1:10000/dev1", "dev1", "mine"),
        ),
        (
            &[
                ("account_url", "https://cache.example.com/mine"),
                ("account_name", "acct"),
            ],
            &[],
            ("cache.example.com", "acct", "mine"),
        ),
        (
            &[(
                "connection_string",
                "BlobEndpoint=https://acct.blob.core.windows.net/mine;SharedAccessSignature=sig=a",
            )],
            &[],
            ("acct.blob.core.windows.net", "acct", "mine"),
        ),
        (
            &[
                URL,
                (
                    "connection_string",
                    "BlobEndpoint=https://acct.blob.core.windows.net/mine;SharedAccessSignature=sig=a",
                ),
            ],
            &[],
            ("acct.blob.core.windows.net", "acct", "mine"),
        ),
        // What the portal calls the SAS URL, where the token is asked for.
        (
            &[],
            &[(
                "AZURE_STORAGE_SAS_TOKEN",
                "https://acct.blob.core.windows.net/mine?sv=1&sig=a",
            )],
            ("acct.blob.core.windows.net", "acct", "mine"),
        ),
        (
            &[
                URL,
                (
                    "sas_token",
                    "'https://acct.blob.core.windows.net/?sv=1&sig=a'",
                ),
            ],
            &[(CONTAINER_VARIABLE, "mine")],
            ("acct.blob.core.windows.net", "acct", "mine"),
        ),
    ];
    for (attributes, variables, wanted) in cases {
        // A key would be found before the connection string and the SAS token.
        let is_later = |(name, _): &(&str, &str)| [CONNECTION, SAS].contains(name);
        let key = match variables.iter().any(is_later) {
            true => &[][..],
            false => &[KEY],
        };
        let config = parse(attributes, &[variables, key].concat());
        let config = config.unwrap_or_else(|error| panic!("{attributes:?} {variables:?}: {error}"));
        let (address, account, container) = store(&config);
        assert_eq!(
            (&*address, account, container),
            *wanted,
            "{attributes:?} {variables:?}"
        );
    }
}

#[test]
fn two_containers_or_two_accounts_are_refused_with_both_names() {
    let portal = "https://acct.blob.core.windows.net/mine";
    let connection = format!("BlobEndpoint={portal};SharedAccessSignature=sig=a");
    let sas = format!("{portal}?sv=1&sig=hunter2");
    let other = "https://other.blob.core.windows.net/mine?sv=1&sig=hunter2";
    /// Attributes, variables; whose error, and what it names.
    type Case<'a> = (Pairs<'a>, Pairs<'a>, &'a str, [&'a str; 2]);
    let cases: &[Case] = &[
        (
            &[("account_url", portal), ("container", "yours")],
            &[],
            "account_url",
            ["`mine`", "`yours`"],
        ),
        (
            &[("account_url", portal)],
            &[(CONTAINER_VARIABLE, "yours")],
            "account_url",
            ["`mine`", CONTAINER_VARIABLE],
        ),
        (
            &[("container", "yours")],
            &[(URL_VARIABLE, portal)],
            URL_VARIABLE,
            ["`mine`", "`yours`"],
        ),
        (
            &[("connection_string", &connection), ("container", "yours")],
            &[],
            "connection_string",
            ["`mine`", "`yours`"],
        ),
        (
            &[URL, ("sas_token", &sas), ("container", "yours")],
            &[],
            "sas_token",
            ["`mine`", "`yours`"],
        ),
        (
            &[URL, ("sas_token", other)],
            &[],
            "sas_token",
            ["other.blob", "acct.blob"],
        ),
        (
            &[
                ("connection_string", "AccountName=other;AccountKey=a2V5"),
                URL,
            ],
            &[],
            "connection_string",
            ["`other`", "`acct`"],
        ),
    ];
    for (attributes, variables, source, parts) in cases {
        let (name, reason) = refused(attributes, variables);
        assert_eq!(name, *source, "{reason}");
        assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}

#[test]
fn a_variable_for_another_account_authenticates_nobody() {
    let other = [(CONNECTION, "AccountName=other;AccountKey=a2V5")];
    for attributes in [&[URL][..], &[("account_name", "acct")]] {
        let config = parse(attributes, &other).unwrap();
        assert!(matches!(*config.access, Access::Entra(_)));
    }
}

#[test]
fn a_sas_token_goes_over_plain_http_to_this_machine_alone() {
    const TOKEN: (&str, &str) = ("sas_token", "sv=1&sig=hunter2");
    for (url, goes) in [
        ("http://127.0.0.1:10000/dev1", true),
        ("http://127.9.9.9:10000/dev1", true),
        ("http://localhost:10000/dev1", true),
        ("http://[::1]:10000/dev1", true),
        ("http://acct.blob.core.windows.net", false),
        ("http://azurite:10000/devstoreaccount1", false),
        ("http://10.0.0.1/dev1", false),
        ("http://localhost.example:10000/dev1", false),
        ("http://127.0.0.1.example:10000/dev1", false),
        ("https://acct.blob.core.windows.net", true),
    ] {
        let config = parse(&[("account_url", url), TOKEN], &[]).unwrap();
        match Credential::find(&config).map(drop) {
            Ok(()) => assert!(goes, "{url}"),
            Err(Error::InvalidAttribute { name, reason }) => {
                assert!(!goes && name == "account_url", "{url}: {name}");
                assert!(
                    reason.contains("https://") && !reason.contains("hunter2"),
                    "{reason}"
                );
            }
            Err(other) => panic!("{url}: {other}"),
        }
    }
    // The key signs and does not travel.
    let url = ("account_url", "http://azurite:10000/devstoreaccount1");
    let key = ("secret_access_key", "a2V5");
    Credential::find(&parse(&[url, key], &[]).unwrap()).unwrap();
    // The one who gave the address is named.
    let text = "DefaultEndpointsProtocol=http;AccountName=acct;SharedAccessSignature=sig=hunter2";
    let config = parse(&[], &[(CONNECTION, text)]).unwrap();
    let error = Credential::find(&config).map(drop).unwrap_err().to_string();
    assert!(error.contains(CONNECTION), "{error}");
}

#[test]
fn a_key_is_read_however_it_was_pasted_and_what_is_something_else_is_named() {
    let key = "Zm9v/mFyYmF6+w==";
    for text in [
        key,
        "\"Zm9v/mFyYmF6+w==\"",
        "'Zm9v/mFyYmF6+w=='\n",
        " Zm9v/mFyYmF6+w==\r\n",
        "Zm9v%2FmFyYmF6%2Bw%3D%3D",
        "Zm9v/mFyYmF6+w",
    ] {
        let config = parse(&[URL, ("secret_access_key", text)], &[]).unwrap();
        let Access::SharedKey { key: read, .. } = &*config.access else {
            panic!("{text}")
        };
        let wanted = parse(&[URL, ("secret_access_key", key)], &[]).unwrap();
        let Access::SharedKey { key: wanted, .. } = &*wanted.access else {
            panic!("{key}")
        };
        assert_eq!(read.sign("x"), wanted.sign("x"), "{text}");
    }
    for (text, part) in [
        ("sv=1&sig=hunter2", "sas_token"),
        ("AccountName=a;AccountKey=hunter2", "connection_string"),
        ("hunter 2", "base64"),
    ] {
        let (name, reason) = refused(&[URL], &[("AZURE_STORAGE_KEY", text)]);
        assert_eq!(name, "AZURE_STORAGE_KEY");
        assert!(
            reason.contains(part) && !reason.contains("hunter"),
            "{reason}"
        );
    }
}

#[test]
fn ids_have_no_quotation_marks_and_no_line_ends() {
    let config = parse(
        &[URL],
        &[
            ("AZURE_TENANT_ID", "\"tenant\""),
            ("AZURE_CLIENT_ID", "app\n"),
            ("AZURE_CLIENT_SECRET", "s"),
        ],
    );
    let Access::Entra(chain) = &*config.unwrap().access else {
        panic!("no application")
    };
    assert_eq!(chain.authorities(), ["login.microsoftonline.com"]);
}
