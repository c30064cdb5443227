//! Each place of the chain: it works, it is passed over when absent, it fails
//! clearly when wrong, it is not asked twice.

use super::tokens::{TENANT, authorized, credential, form, fresh, planned};
use crate::error::Error;
use crate::transport::TransportError;
use crate::transport::scripted::{Answer, Reply, Scripted};
use crate::transport::{Method, Request};

const APPLICATION: [(&str, &str); 2] = [("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", "app")];

fn with<'a>(extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&APPLICATION[..], extra].concat()
}

fn refused() -> Answer {
    let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Wrong hunter2. Trace ID: t","correlation_id":"c-1"}"#;
    Ok(Reply::foreign(401).body(body))
}

#[test]
fn a_secret_in_the_environment_gets_a_token_once() {
    let environment = with(&[("AZURE_CLIENT_SECRET", "hunter 2")]);
    let transport = Scripted::new(|_: &Request| fresh());
    let credential = credential(&environment);
    for _ in 0..3 {
        assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t-1");
    }
    let requests = transport.requests.borrow();
    let [request] = requests.as_slice() else {
        panic!("{} requests", requests.len())
    };
    assert!(request.https && request.method == Method::Post);
    assert_eq!(request.authority, "login.microsoftonline.com");
    assert_eq!(request.path, format!("/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(
        form(request),
        "client_id=app&scope=https%3A%2F%2Fstorage.azure.com%2F.default\
         &grant_type=client_credentials&client_secret=hunter%202"
    );
    assert!(credential.describe().contains("application app"));
}

#[test]
fn a_user_and_password_are_sent_as_such() {
    let environment = with(&[("AZURE_USERNAME", "me"), ("AZURE_PASSWORD", "pw")]);
    let transport = Scripted::new(|_: &Request| fresh());
    authorized(&credential(&environment), &transport).unwrap();
    let sent = form(&transport.requests.borrow()[0]);
    assert!(
        sent.ends_with("grant_type=password&username=me&password=pw"),
        "{sent}"
    );
}

#[test]
fn a_refused_secret_ends_the_chain_and_says_who_said_what() {
    let environment = with(&[("AZURE_CLIENT_SECRET", "hunter2")]);
    let transport = Scripted::new(|_: &Request| refused());
    *transport.host_identity.borrow_mut() = Ok(Some(("host".to_owned(), 9_999_999)));
    let Err(Error::Unauthenticated(text)) = authorized(&credential(&environment), &transport)
    else {
        panic!("not unauthenticated")
    };
    for part in [
        "AZURE_CLIENT_SECRET",
        "application app",
        TENANT,
        "401 invalid_client: AADSTS7000215",
        "(correlation id c-1)",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(transport.sent.borrow().len(), 1);
}

#[test]
fn an_authority_that_is_busy_is_asked_again() {
    let environment = with(&[("AZURE_CLIENT_SECRET", "s")]);
    let tries = std::cell::Cell::new(0);
    let transport = Scripted::new(|_: &Request| {
        tries.set(tries.get() + 1);
        match tries.get() {
            1 => Ok(Reply::foreign(429).with("retry-after", "7")),
            2 => Err(TransportError::Broken("it broke".to_owned())),
            _ => fresh(),
        }
    });
    authorized(&credential(&environment), &transport).unwrap();
    let slept: Vec<_> = transport
        .slept
        .borrow()
        .iter()
        .map(|d| d.as_millis())
        .collect();
    assert_eq!(slept, [7000, 1600]);
}

#[test]
fn the_authority_may_be_another_but_never_over_plain_http() {
    let mut environment = with(&[("AZURE_CLIENT_SECRET", "s")]);
    environment.push(("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn/"));
    let config = planned(&environment).unwrap();
    assert_eq!(config.access.authorities(), ["login.chinacloudapi.cn"]);

    environment.pop();
    environment.push(("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1"));
    let Err(Error::InvalidAttribute { name, .. }) = planned(&environment).map(drop) else {
        panic!("plain http is taken")
    };
    assert_eq!(name, "AZURE_AUTHORITY_HOST");
}

#[test]
fn a_workloads_token_file_is_read_again_after_ten_minutes() {
    let environment = with(&[("AZURE_FEDERATED_TOKEN_FILE", "/token")]);
    let credential = credential(&environment);
    // A token that is asked for each time: it has ended by the next.
    let transport = Scripted::new(|_: &Request| super::tokens::token("t", 1));
    transport.write_file("/token", "one\n");
    authorized(&credential, &transport).unwrap();
    transport.write_file("/token", "two");
    transport.pass(std::time::Duration::from_secs(599));
    authorized(&credential, &transport).unwrap();
    transport.pass(std::time::Duration::from_secs(1));
    authorized(&credential, &transport).unwrap();
    let sent: Vec<_> = transport.requests.borrow().iter().map(form).collect();
    assert!(sent[0].ends_with("client_assertion=one%0A"), "{sent:?}");
    assert!(sent[1].ends_with("client_assertion=one%0A"), "{sent:?}");
    assert!(sent[2].ends_with("client_assertion=two"), "{sent:?}");
    assert!(sent[0].contains(
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    ));
}

#[test]
fn a_token_file_that_is_not_there_is_named() {
    let environment = with(&[("AZURE_FEDERATED_TOKEN_FILE", "/gone")]);
    let transport = Scripted::new(|_: &Request| fresh());
    let error = authorized(&credential(&environment), &transport).unwrap_err();
    assert!(error.to_string().contains("/gone"), "{error}");
    assert!(transport.sent.borrow().is_empty());
}

#[test]
fn a_github_workflow_needs_no_secret() {
    let url = "https://run.example/idtoken?api-version=2.0";
    let environment = with(&[
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job"),
    ]);
    let transport = Scripted::new(|request: &Request| match request.authority.as_str() {
        "run.example" => Ok(Reply::foreign(200).body(r#"{"count":1,"value":"jwt"}"#)),
        _ => fresh(),
    });
    assert_eq!(
        planned(&environment).unwrap().access.authorities(),
        ["login.microsoftonline.com", "run.example"]
    );
    authorized(&credential(&environment), &transport).unwrap();
    let requests = transport.requests.borrow();
    assert_eq!(
        transport.sent.borrow()[0],
        "GET /idtoken?audience=api%3A%2F%2FAzureADTokenExchange&api-version=2.0"
    );
    assert_eq!(requests[0].headers.get("authorization"), Some("Bearer job"));
    assert!(form(&requests[1]).ends_with("client_assertion=jwt"));
}

#[test]
fn the_hosts_own_identity_comes_last_and_all_that_was_passed_over_is_told() {
    let transport = Scripted::new(|_: &Request| Err(TransportError::Denied));
    let credential = credential(&[]);
    let Err(Error::Unauthenticated(text)) = authorized(&credential, &transport) else {
        panic!("not unauthenticated")
    };
    for part in [
        "`acct`",
        "environment: AZURE_TENANT_ID, AZURE_CLIENT_ID are not set",
        "AZURE_FEDERATED_TOKEN_FILE",
        "GitHub Actions: ACTIONS_ID_TOKEN_REQUEST_URL",
        "managed identity: IMDS does not answer",
        "developer tools: the host has none",
        "secret_access_key",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    *transport.host_identity.borrow_mut() = Ok(Some(("host".to_owned(), 9_999_999)));
    assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer host");
    assert_eq!(
        transport.sent.borrow().len(),
        2,
        "IMDS was probed once a try"
    );
}

#[test]
fn a_variable_chooses_the_places() {
    let places = |value: &str| planned(&[("AZURE_TOKEN_CREDENTIALS", value)]);
    let imds = ["169.254.169.254"];
    assert!(places("dev").unwrap().access.authorities().is_empty());
    assert_eq!(places("PROD").unwrap().access.authorities(), imds);
    let alone = places("ManagedIdentityCredential").unwrap();
    assert_eq!(alone.access.authorities(), imds);
    assert!(
        places("EnvironmentCredential")
            .unwrap()
            .access
            .authorities()
            .is_empty()
    );
    let Err(Error::InvalidAttribute { name, .. }) = places("all").map(drop) else {
        panic!("`all` is taken")
    };
    assert_eq!(name, "AZURE_TOKEN_CREDENTIALS");
}

#[test]
fn imds_is_asked_for_only_where_nothing_before_it_is_certain() {
    let environment = with(&[("AZURE_CLIENT_SECRET", "s")]);
    let authorities = planned(&environment).unwrap().access.authorities();
    assert_eq!(authorities, ["login.microsoftonline.com"]);
    let key = [("AZURE_STORAGE_KEY", "a2V5")];
    assert!(planned(&key).unwrap().access.authorities().is_empty());
}
