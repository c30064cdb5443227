//! Managed identities, by the kind of host.

use super::tokens::{authorized, credential, form, planned};
use crate::error::Error;
use crate::transport::scripted::{Answer, Reply, Scripted};
use crate::transport::{Method, Request, TransportError};

const RESOURCE: &str = "resource=https%3A%2F%2Fstorage.azure.com";

/// A token that lives for an hour from the tests' moment.
fn token() -> Answer {
    let body = r#"{"access_token":"t","expires_on":"3600"}"#;
    Ok(Reply::foreign(200).body(body))
}

#[test]
fn each_kind_of_host_is_asked_in_its_own_way_and_once() {
    /// What the environment holds, the request it makes, and a header of it.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, (&'a str, &'a str));
    let cases: [Case; 5] = [
        (
            &[
                ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"),
                ("IDENTITY_HEADER", "h"),
                ("AZURE_CLIENT_ID", "u"),
            ],
            "GET /msi/token?api-version=2019-08-01&RESOURCE&client_id=u",
            ("x-identity-header", "h"),
        ),
        (
            &[
                ("IDENTITY_ENDPOINT", "https://127.0.0.1:1/sf"),
                ("IDENTITY_HEADER", "h"),
                ("IDENTITY_SERVER_THUMBPRINT", "ab"),
            ],
            "GET /sf?api-version=2019-07-01-preview&RESOURCE",
            ("secret", "h"),
        ),
        (
            &[
                ("MSI_ENDPOINT", "http://127.0.0.1:1/ml"),
                ("MSI_SECRET", "s"),
                ("AZURE_CLIENT_ID", "u"),
            ],
            "GET /ml?api-version=2017-09-01&RESOURCE&clientid=u",
            ("secret", "s"),
        ),
        (
            &[("MSI_ENDPOINT", "http://localhost:1/oauth2/token")],
            "POST /oauth2/token",
            ("metadata", "true"),
        ),
        (
            &[
                ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/arc"),
                ("IMDS_ENDPOINT", "http://127.0.0.1:1"),
            ],
            "GET /arc?api-version=2020-06-01&RESOURCE",
            ("metadata", "true"),
        ),
    ];
    for (environment, line, (name, value)) in cases {
        let transport = Scripted::new(|_: &Request| token());
        let credential = credential(environment);
        for _ in 0..2 {
            assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t");
        }
        assert_eq!(
            *transport.sent.borrow(),
            [line.replace("RESOURCE", RESOURCE)]
        );
        let request = &transport.requests.borrow()[0];
        assert_eq!(request.headers.get(name), Some(value));
        if request.method == Method::Post {
            assert_eq!(form(request), RESOURCE);
        }
        assert_eq!(
            planned(environment).unwrap().access.authorities(),
            std::slice::from_ref(&request.authority)
        );
    }
}

#[test]
fn a_host_that_refuses_ends_the_chain_and_its_secret_is_not_shown() {
    let environment = [
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"),
        ("IDENTITY_HEADER", "hunter2"),
        ("AZURE_CLIENT_ID", "u"),
    ];
    let body = r#"{"statusCode":400,"message":"hunter2: no identity"}"#;
    let transport = Scripted::new(|_: &Request| Ok(Reply::foreign(400).body(body)));
    let Err(Error::Unauthenticated(text)) = authorized(&credential(&environment), &transport)
    else {
        panic!("not unauthenticated")
    };
    assert!(
        text.contains("App Service") && text.contains("identity u"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn arc_is_shown_the_key_that_it_names() {
    let environment = [
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/arc"),
        ("IMDS_ENDPOINT", "http://127.0.0.1:1"),
    ];
    let path = "/var/opt/azcmagent/tokens/a.key";
    let transport = Scripted::new(
        |request: &Request| match request.headers.get("authorization") {
            Some("Basic key") => token(),
            _ => Ok(Reply::foreign(401).with("www-authenticate", format!("Basic realm={path}"))),
        },
    );
    let error = authorized(&credential(&environment), &transport).unwrap_err();
    assert!(error.to_string().contains("himds"), "{error}");
    transport.write_file(path, "key");
    let authorization = authorized(&credential(&environment), &transport);
    assert_eq!(authorization.unwrap(), "Bearer t");
}

/// What IMDS says to a question without its header.
fn no_header() -> Answer {
    let body = r#"{"error":"invalid_request","error_description":"Required metadata header not specified"}"#;
    Ok(Reply::foreign(400).body(body))
}

#[test]
fn imds_is_probed_without_its_header_and_then_asked() {
    let transport = Scripted::new(|request: &Request| match request.headers.get("metadata") {
        None => no_header(),
        Some(_) => token(),
    });
    let credential = credential(&[]);
    for _ in 0..2 {
        assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t");
    }
    assert_eq!(transport.sent.borrow().len(), 2);
    assert_eq!(
        transport.sent.borrow()[1],
        format!("GET /metadata/identity/oauth2/token?api-version=2018-02-01&{RESOURCE}")
    );
    assert_eq!(transport.requests.borrow()[1].authority, "169.254.169.254");
}

#[test]
fn imds_that_starts_slowly_is_waited_for() {
    let tries = std::cell::Cell::new(0);
    let transport = Scripted::new(|request: &Request| {
        tries.set(tries.get() + 1);
        match (request.headers.get("metadata"), tries.get()) {
            (None, _) => no_header(),
            (_, ..=5) => Ok(Reply::foreign(410)),
            _ => token(),
        }
    });
    authorized(&credential(&[]), &transport).unwrap();
    let slept: Vec<_> = transport
        .slept
        .borrow()
        .iter()
        .map(|d| d.as_secs())
        .collect();
    assert_eq!(slept, [2, 4, 8, 16]);
}

#[test]
fn imds_without_an_identity_is_passed_over_but_a_wrong_one_is_the_end() {
    let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    let transport = Scripted::new(|_: &Request| Ok(Reply::foreign(400).body(body)));
    *transport.host_identity.borrow_mut() = Ok(Some(("host".to_owned(), 9_999_999)));
    assert_eq!(
        authorized(&credential(&[]), &transport).unwrap(),
        "Bearer host"
    );
    let user_assigned = credential(&[("AZURE_CLIENT_ID", "u")]);
    let error = authorized(&user_assigned, &transport).unwrap_err();
    assert!(error.to_string().contains("Identity not found"), "{error}");

    let text = "A socket operation was attempted to an unreachable network.";
    let transport = Scripted::new(|_: &Request| Ok(Reply::foreign(403).body(text)));
    *transport.host_identity.borrow_mut() = Ok(Some(("host".to_owned(), 9_999_999)));
    authorized(&credential(&[]), &transport).unwrap();
}

#[test]
fn whatever_is_not_imds_is_passed_over_at_once_and_the_tools_are_asked() {
    let page = "<!doctype html><html>Sign in</html>";
    let json = r#"{"message":"upstream connect error","code":503}"#;
    let slowly = std::time::Duration::from_secs(9);
    let answers: [(&str, Answer); 18] = [
        ("a page", Ok(Reply::foreign(200).body(page))),
        (
            "a page by its header",
            Ok(Reply::foreign(400)
                .with("content-type", "text/html")
                .body("no")),
        ),
        ("nothing", Ok(Reply::foreign(200))),
        ("nothing, in more words", Ok(Reply::foreign(204))),
        ("another cloud's 401", Ok(Reply::foreign(401))),
        ("another cloud's 403", Ok(Reply::foreign(403).body(page))),
        (
            "another cloud's 404",
            Ok(Reply::foreign(404).body("<?xml version=\"1.0\"?><html/>")),
        ),
        (
            "another cloud's short 404",
            Ok(Reply::foreign(404).body("not found")),
        ),
        (
            "another cloud's 404 in JSON",
            Ok(Reply::foreign(404).body(r#"{"error":"not found"}"#)),
        ),
        ("another cloud's 405", Ok(Reply::foreign(405))),
        (
            "a proxy that asks who we are",
            Ok(Reply::foreign(407).body(page)),
        ),
        ("a proxy's 502", Ok(Reply::foreign(502).body(page))),
        (
            "a proxy's 503",
            Ok(Reply::foreign(503).body("no healthy upstream")),
        ),
        ("a proxy's 503 in JSON", Ok(Reply::foreign(503).body(json))),
        ("a proxy's 504", Ok(Reply::foreign(504))),
        (
            "a redirect",
            Ok(Reply::foreign(302).with("location", "https://login.example")),
        ),
        ("a drip", Ok(Reply::foreign(400).body("{").taking(slowly))),
        (
            "nobody",
            Err(TransportError::Broken(
                "the connection was refused".to_owned(),
            )),
        ),
    ];
    for (what, answer) in answers {
        let transport = Scripted::new(|_: &Request| answer.clone());
        *transport.host_identity.borrow_mut() = Ok(Some(("host".to_owned(), 9_999_999)));
        let got = authorized(&credential(&[]), &transport);
        assert_eq!(got.unwrap(), "Bearer host", "{what}");
        assert!(transport.slept.borrow().is_empty(), "{what}");
        assert!(transport.sent.borrow().len() <= 2, "{what}");
        for request in transport.requests.borrow().iter() {
            let timeouts = request.timeouts;
            let longest = timeouts
                .connect
                .max(timeouts.first_byte)
                .max(timeouts.between_bytes);
            assert!(longest <= std::time::Duration::from_secs(1), "{what}");
        }
        // A user-assigned identity is not looked for elsewhere either.
        let got = authorized(&credential(&[("AZURE_CLIENT_ID", "u")]), &transport);
        assert_eq!(got.unwrap(), "Bearer host", "{what}");
    }
}

#[test]
fn what_was_passed_over_in_the_place_of_imds_is_told() {
    for (answer, part) in [
        (
            Reply::foreign(403).body("<html>No.</html>"),
            "is not IMDS: 403 with a page for people",
        ),
        (Reply::foreign(302), "is not IMDS: 302, a redirect"),
        (
            Reply::foreign(407),
            "is not IMDS: 407, a proxy that asks for",
        ),
        (Reply::foreign(404), "is not IMDS: 404 and nothing else"),
    ] {
        let transport = Scripted::new(|_: &Request| Ok(answer.clone()));
        let error = authorized(&credential(&[]), &transport)
            .unwrap_err()
            .to_string();
        let part = format!("managed identity: what answers at 169.254.169.254 {part}");
        assert!(error.contains(&part), "{error}");
    }
}

#[test]
fn an_identity_service_that_does_not_know_the_probe_is_known_by_its_token() {
    for body in ["", "no metadata header"] {
        let transport = Scripted::new(|request: &Request| match request.headers.get("metadata") {
            None => Ok(Reply::foreign(400).body(body)),
            Some(_) => token(),
        });
        let got = authorized(&credential(&[]), &transport);
        assert_eq!(got.unwrap(), "Bearer t");
        assert_eq!(transport.sent.borrow().len(), 2);
    }
}

#[test]
fn where_imds_alone_was_asked_for_a_page_is_not_waited_for() {
    let environment = [("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")];
    let transport = Scripted::new(|_: &Request| Ok(Reply::foreign(503).body("<html>")));
    let error = authorized(&credential(&environment), &transport).unwrap_err();
    assert!(error.to_string().contains("is not IMDS: 503"), "{error}");
    assert!(transport.slept.borrow().is_empty());
}

#[test]
fn imds_is_not_probed_when_it_alone_was_asked_for() {
    let environment = [
        ("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:7/"),
    ];
    let transport = Scripted::new(|_: &Request| Err(TransportError::Denied));
    let error = authorized(&credential(&environment), &transport).unwrap_err();
    assert!(
        error.to_string().contains("127.0.0.1:7/metadata"),
        "{error}"
    );
    assert_eq!(transport.sent.borrow().len(), 1);
}

#[test]
fn an_empty_client_id_is_told() {
    let transport = Scripted::new(|_: &Request| Err(TransportError::Denied));
    let error = authorized(&credential(&[("AZURE_CLIENT_ID", "")]), &transport).unwrap_err();
    assert!(
        error.to_string().contains("AZURE_CLIENT_ID is empty"),
        "{error}"
    );
}
