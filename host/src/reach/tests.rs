use super::*;

/// What a backend of type `azblob` gets that asks for `asked` and describes
/// `described`, where the user gave these attributes and variables.
fn decide(
    asked: &[&str],
    described: &[&str],
    attributes: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> Result<Reach, Error> {
    decide_with(
        &Policy::of_type("azblob"),
        asked,
        described,
        attributes,
        variables,
    )
}

fn decide_with(
    policy: &Policy,
    asked: &[&str],
    described: &[&str],
    attributes: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> Result<Reach, Error> {
    let description = Description {
        authorities: described.iter().map(ToString::to_string).collect(),
        ..Description::default()
    };
    let asked: Vec<_> = asked.iter().map(ToString::to_string).collect();
    let attributes = attributes.iter().copied();
    let given = Given::new(attributes, variables.iter().copied(), policy);
    Reach::decide(
        &Authorities::AsAsked,
        "test.wasm",
        &asked,
        &description,
        &given,
        policy,
    )
}

/// Who named the one authority that is asked for; none where it is denied.
fn named_by(
    asked: &str,
    described: &[&str],
    attributes: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> Option<NamedBy> {
    let reach = decide(&[asked], described, attributes, variables).ok()?;
    reach.0.first().map(|(_, named_by)| *named_by)
}

#[test]
fn a_backend_reaches_what_its_description_names() {
    let reach = decide(
        &["acct.blob.example.net"],
        &["*.blob.example.net"],
        &[],
        &[],
    )
    .unwrap();
    for (url, allowed) in [
        ("https://acct.blob.example.net/c/b", true),
        ("http://ACCT.blob.example.net/c/b", true),
        ("https://acct.blob.example.net:8443/", false),
        ("https://other.blob.example.net/", false),
        ("https://blob.example.net/", false),
    ] {
        let named_by = reach.named_by(&url.parse().unwrap());
        assert_eq!(named_by.is_some(), allowed, "{url}");
    }
}

#[test]
fn a_backend_reaches_what_the_user_named() {
    let given = [("url", "http://127.0.0.1:10000/devstoreaccount1")];
    let reach = decide(&["127.0.0.1:10000"], &[], &given, &[]).unwrap();
    let named_by = |url: &str| reach.named_by(&url.parse().unwrap());
    assert_eq!(named_by("http://127.0.0.1:10000/x"), Some(NamedBy::User));
    assert_eq!(named_by("http://127.0.0.1:10001/x"), None);
    assert_eq!(named_by("http://127.0.0.1/x"), None);
}

#[test]
fn what_nobody_named_is_denied_by_name() {
    let given = [("url", "https://a.example.net")];
    let error = decide(&["other.example"], &["*.example.net"], &given, &[]).unwrap_err();
    assert!(error.to_string().contains("other.example"), "{error}");
}

#[test]
fn an_address_that_is_not_public_takes_the_users_own_attribute() {
    for address in [
        "127.0.0.1:80",
        "127.9.9.9",
        "[::1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "10.0.0.4",
        "172.16.0.1:8080",
        "192.168.1.1",
        "100.64.0.1",
        "168.63.129.16",
        "169.254.1.1",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[fc00::1]",
        "[64:ff9b::a00:1]",
        "[2002:a00:1::]",
    ] {
        assert_eq!(named_by(address, &[address], &[], &[]), None, "{address}");
        let url = format!("http://{address}/");
        let query = format!("http://a.example/?at={url}");
        let attribute = |value: &str| named_by(address, &[address], &[("url", value)], &[]);
        assert_eq!(attribute(&query), None, "{address}");
        assert_eq!(attribute(&url), Some(NamedBy::User), "{address}");
        // Nor does every variable do.
        for (variable, expected) in [
            ("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", Some(NamedBy::User)),
            ("AZURE_CLIENT_ID", None),
        ] {
            let given = named_by(address, &[address], &[], &[(variable, &url)]);
            assert_eq!(given, expected, "{address} {variable}");
        }
    }
    // A public one that is written out is like any name.
    assert_eq!(
        named_by("192.0.2.1", &["192.0.2.1"], &[], &[]),
        Some(NamedBy::Plugin)
    );
}

#[test]
fn a_name_that_the_user_wrote_may_lead_anywhere_and_another_may_not() {
    let asked = "acct.blob.core.windows.net";
    let url = "https://acct.blob.core.windows.net/";
    assert_eq!(
        named_by(asked, &[], &[("account_url", url)], &[]),
        Some(NamedBy::User)
    );
    let hidden = format!("https://a.example/?next={url}");
    assert_eq!(
        named_by(asked, &[], &[("account_url", &hidden)], &[]),
        Some(NamedBy::Plugin)
    );
    assert_eq!(
        named_by(asked, &["*.core.windows.net"], &[], &[]),
        Some(NamedBy::Plugin)
    );
}

#[test]
fn the_machines_identity_is_reached_only_where_the_hosts_policy_has_it_too() {
    let imds = "169.254.169.254";
    assert_eq!(named_by(imds, &[imds], &[], &[]), Some(NamedBy::User));
    assert_eq!(named_by(imds, &[], &[], &[]), None);
    assert_eq!(named_by("169.254.169.254:8080", &[imds], &[], &[]), None);
    let stranger = Policy::of_type("stranger");
    assert!(decide_with(&stranger, &[imds], &[imds], &[], &[]).is_err());
    let mut granted = Policy::of_type("stranger");
    granted.grant(imds).unwrap();
    assert!(decide_with(&granted, &[imds], &[imds], &[], &[]).is_ok());

    let endpoint = ("IDENTITY_ENDPOINT", "http://169.254.129.3:8081/token");
    for (asked, expected) in [
        ("169.254.129.3:8081", Some(NamedBy::User)),
        ("169.254.129.3", None),
    ] {
        assert_eq!(named_by(asked, &[asked], &[], &[endpoint]), expected);
    }
}

#[test]
fn an_address_that_is_derived_from_what_the_user_gave_is_the_users() {
    let described: Vec<_> = crate::policy::known_authorities("azblob");
    let who = |asked: &str, attributes: &[(&str, &str)], variables: &[(&str, &str)]| {
        named_by(asked, &described, attributes, variables)
    };
    let connection = |suffix: &str| {
        format!("DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5{suffix}")
    };
    let by_suffix = connection(";EndpointSuffix=core.chinacloudapi.cn");
    let by_stack = connection(";EndpointSuffix=local.azurestack.external");
    for (asked, name, value) in [
        ("acct.blob.core.windows.net", "account_name", "acct"),
        (
            "acct.blob.core.windows.net",
            "connection_string",
            &*connection(""),
        ),
        (
            "acct.blob.core.chinacloudapi.cn",
            "connection_string",
            &*by_suffix,
        ),
        (
            "acct.blob.local.azurestack.external",
            "connection_string",
            &*by_stack,
        ),
        (
            "127.0.0.1:10000",
            "connection_string",
            "UseDevelopmentStorage=true",
        ),
        (
            "azurite:10000",
            "connection_string",
            "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite",
        ),
    ] {
        assert_eq!(who(asked, &[], &[]), None, "{asked}");
        assert_eq!(
            who(asked, &[(name, value)], &[]),
            Some(NamedBy::User),
            "{asked} {name}"
        );
        let variable = match name {
            "account_name" => "AZURE_STORAGE_ACCOUNT",
            _ => "AZURE_STORAGE_CONNECTION_STRING",
        };
        assert_eq!(
            who(asked, &[], &[(variable, value)]),
            Some(NamedBy::User),
            "{asked} {variable}"
        );
    }
    let given = [("account_name", "acct")];
    for other in [
        "other.blob.core.windows.net",
        "acct.queue.core.windows.net",
        "acct.blob.core.windows.net:8443",
        "acct.blob.evil.example",
        "acct",
        "127.0.0.1:10000",
    ] {
        assert_eq!(who(other, &given, &[]), None, "{other}");
    }
}

#[test]
fn a_derivation_that_only_the_plugin_knows_leads_to_public_addresses() {
    let given = [("account_name", "acct"), ("text", "Emulator=true")];
    let evil = "acct.store.evil.example";
    assert_eq!(
        named_by(evil, &["{account_name}.store.evil.example"], &given, &[]),
        Some(NamedBy::Plugin)
    );
    let described = ["127.0.0.1:6379 if text/Emulator=true"];
    assert_eq!(named_by("127.0.0.1:6379", &described, &given, &[]), None);
}

#[test]
fn a_policy_of_the_host_replaces_what_the_description_names() {
    let description = Description {
        authorities: vec!["*.example.net".into()],
        ..Description::default()
    };
    let only = ["a.example.net", "10.0.0.4:8080"].map(|p| AuthorityPattern::parse(p).unwrap());
    let only = Authorities::Only(only.into());
    let policy = Policy::default();
    let given = Given::new([("url", "b.example.net")], [], &policy);
    let decide = |asked: &str| {
        let asked = [asked.to_owned()];
        Reach::decide(&only, "p", &asked, &description, &given, &policy)
    };
    for (asked, is_granted) in [
        ("a.example.net", true),
        ("a.example.net:443", true),
        ("a.example.net:8443", false),
        ("a.example.net:22", false),
        ("b.example.net", false),
        ("10.0.0.4:8080", true),
        ("10.0.0.4", false),
    ] {
        assert_eq!(decide(asked).is_ok(), is_granted, "{asked}");
    }
    // What was asked with a port is granted as the policy means it.
    let reach = decide("a.example.net:443").unwrap();
    let named_by = |url: &str| reach.named_by(&url.parse().unwrap());
    assert_eq!(named_by("https://a.example.net/"), Some(NamedBy::User));
    assert_eq!(named_by("http://a.example.net:443/"), None);
}

#[test]
fn the_end_of_an_address_is_no_domain() {
    for (asked, described) in [("127.0.0.1", "*.0.0.1"), ("10.0.0.1", "*.1")] {
        let denied = decide(&[asked], &[described], &[], &[]);
        assert!(denied.is_err(), "{asked}");
    }
    let reach = decide(&["*.net"], &["*.net"], &[], &[]).unwrap();
    let named_by = |url: &str| reach.named_by(&url.parse().unwrap());
    assert_eq!(named_by("http://a.net/"), Some(NamedBy::Plugin));
    assert_eq!(named_by("http://127.1/"), None);
}

#[test]
fn what_the_user_and_the_plugin_name_is_the_users() {
    let given = [("url", "https://a.example")];
    let reach = decide(&["*.example", "a.example"], &["*.example"], &given, &[]).unwrap();
    let named_by = |url: &str| reach.named_by(&url.parse().unwrap());
    assert_eq!(named_by("https://a.example/"), Some(NamedBy::User));
    assert_eq!(named_by("https://b.example/"), Some(NamedBy::Plugin));
}
