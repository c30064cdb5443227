//! Tokens: kept, renewed ahead, dropped after a 401; and what these tests and
//! those of the places share.

use std::cell::Cell;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;

use crate::blob::Blobs;
use crate::cache::layout::BlobKey;
use crate::config::Config;
use crate::credential::Credential;
use crate::error::Error;
use crate::transport::scripted::{Answer, Reply, Scripted};
use crate::transport::{Body, Headers, Method, Request, Timeouts};

pub(super) const BLOB: &str = "acct.blob.core.windows.net";
pub(super) const TENANT: &str = "11111111-2222-3333-4444-555555555555";

const SECRET: [(&str, &str); 3] = [
    ("AZURE_TENANT_ID", TENANT),
    ("AZURE_CLIENT_ID", "app"),
    ("AZURE_CLIENT_SECRET", "hunter2"),
];

/// What the configuration comes to with these variables.
pub(super) fn planned(environment: &[(&str, &str)]) -> Result<Config, Error> {
    let owned = environment.iter();
    let owned = owned.map(|(name, value)| (name.to_string(), value.to_string()));
    let url = ("account_url".to_owned(), format!("https://{BLOB}"));
    Config::parse(vec![url], owned.collect())
}

pub(super) fn credential(environment: &[(&str, &str)]) -> Credential {
    Credential::find(&planned(environment).unwrap()).unwrap()
}

/// The `Authorization` of a request to the store.
pub(super) fn authorized<F: Fn(&Request) -> Answer>(
    credential: &Credential,
    transport: &Scripted<F>,
) -> Result<String, Error> {
    block_on(authorize(credential, transport))
}

async fn authorize<F: Fn(&Request) -> Answer>(
    credential: &Credential,
    transport: &Scripted<F>,
) -> Result<String, Error> {
    let mut request = to_store(true);
    credential.authorize(transport, &mut request).await?;
    let authorization = request.headers.get("authorization");
    Ok(authorization.unwrap_or_default().to_owned())
}

fn to_store(https: bool) -> Request {
    Request {
        method: Method::Get,
        https,
        authority: BLOB.to_owned(),
        path: "/c/k".to_owned(),
        query: Vec::new(),
        given_query: None,
        headers: Headers::default(),
        body: Body::Empty,
        timeouts: Timeouts::default(),
    }
}

/// The form that a request carries.
pub(super) fn form(request: &Request) -> String {
    match &request.body {
        Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        _ => String::new(),
    }
}

/// An answer with a token that lives so long, in seconds.
pub(super) fn token(token: &str, life: u64) -> Answer {
    let body = format!("{{\"access_token\":\"{token}\",\"expires_in\":{life}}}");
    Ok(Reply::foreign(200).body(body))
}

pub(super) fn fresh() -> Answer {
    token("t-1", 3600)
}

/// Gives `t-1`, `t-2` and so on, with these members beside the token.
fn counting(members: &str) -> impl Fn(&Request) -> Answer {
    let (count, members) = (Cell::new(0), members.to_owned());
    move |_| {
        count.set(count.get() + 1);
        let body = format!("{{\"access_token\":\"t-{}\",{members}}}", count.get());
        Ok(Reply::foreign(200).body(body))
    }
}

#[test]
fn however_many_wait_one_request_gets_the_token() {
    for life in ["3600", "60"] {
        let members = format!("\"expires_in\":{life}");
        let transport = Scripted::new(counting(&members));
        let credential = credential(&SECRET);
        let waiting = (0..50).map(|_| authorize(&credential, &transport));
        for got in block_on(join_all(waiting)) {
            assert_eq!(got.unwrap(), "Bearer t-1");
        }
        assert_eq!(transport.sent.borrow().len(), 1);
    }
}

#[test]
fn a_token_with_less_than_five_minutes_left_is_replaced() {
    let transport = Scripted::new(counting("\"expires_in\":3600"));
    let credential = credential(&SECRET);
    authorized(&credential, &transport).unwrap();
    transport.pass(Duration::from_secs(3600 - 301));
    assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t-1");
    transport.pass(Duration::from_secs(1));
    assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t-2");
}

#[test]
fn a_token_that_ends_soon_is_not_fetched_anew_for_every_request() {
    // Such as `az` and IMDS give, which keep a token until it ends.
    let transport = Scripted::new(counting("\"expires_in\":240"));
    let credential = credential(&SECRET);
    for (pause, expected) in [
        (0, "Bearer t-1"),
        (1, "Bearer t-1"),
        (28, "Bearer t-1"),
        (1, "Bearer t-2"),
        (1, "Bearer t-2"),
        (30, "Bearer t-3"),
    ] {
        transport.pass(Duration::from_secs(pause));
        assert_eq!(authorized(&credential, &transport).unwrap(), expected);
    }
    assert_eq!(transport.sent.borrow().len(), 3);
}

#[test]
fn a_token_that_was_good_is_replaced_as_soon_as_it_ends_soon() {
    // Two seconds more than the margin, and the store's clock may be ahead.
    let transport = Scripted::new(counting("\"expires_in\":302"));
    let credential = credential(&SECRET);
    for (pause, expected) in [(0, "Bearer t-1"), (1, "Bearer t-1"), (1, "Bearer t-2")] {
        transport.pass(Duration::from_secs(pause));
        assert_eq!(authorized(&credential, &transport).unwrap(), expected);
    }
}

#[test]
fn a_token_that_ends_soon_is_used_where_there_is_no_other() {
    let works = Cell::new(true);
    let transport = Scripted::new(|_: &Request| match works.get() {
        true => token("t", 3600),
        false => Ok(Reply::foreign(400)),
    });
    let credential = credential(&SECRET);
    authorized(&credential, &transport).unwrap();
    works.set(false);
    transport.pass(Duration::from_secs(3600 - 60));
    assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t");
    transport.pass(Duration::from_secs(60));
    authorized(&credential, &transport).unwrap_err();
}

#[test]
fn a_token_is_renewed_when_its_giver_says_so() {
    let transport = Scripted::new(counting("\"expires_in\":3600,\"refresh_in\":600"));
    let credential = credential(&SECRET);
    authorized(&credential, &transport).unwrap();
    transport.pass(Duration::from_secs(599));
    assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t-1");
    transport.pass(Duration::from_secs(1));
    assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t-2");
}

#[test]
fn a_renewal_ahead_of_time_that_fails_is_tried_again_after_thirty_seconds() {
    let works = Cell::new(true);
    let transport = Scripted::new(|_: &Request| match works.get() {
        true => {
            let body = r#"{"access_token":"t","expires_in":3600,"refresh_in":600}"#;
            Ok(Reply::foreign(200).body(body))
        }
        false => Ok(Reply::foreign(400)),
    });
    let credential = credential(&SECRET);
    authorized(&credential, &transport).unwrap();
    works.set(false);
    for (pause, requests) in [(600, 2), (1, 2), (28, 2), (1, 3)] {
        transport.pass(Duration::from_secs(pause));
        assert_eq!(authorized(&credential, &transport).unwrap(), "Bearer t");
        assert_eq!(transport.sent.borrow().len(), requests);
    }
    // Once it has ended, the failure counts.
    transport.pass(Duration::from_secs(3600));
    authorized(&credential, &transport).unwrap_err();
}

#[test]
fn a_token_that_the_store_refuses_is_replaced_once_and_the_request_sent_again() {
    for (good, sent) in [("Bearer t-2", 4), ("Bearer none", 4)] {
        let tokens = counting("\"expires_in\":3600");
        let transport = Scripted::new(|request: &Request| match request.authority.as_str() {
            BLOB if request.headers.get("authorization") == Some(good) => Ok(Reply::azure(201)),
            BLOB => Ok(Reply::error(401, "InvalidAuthenticationInfo")),
            _ => tokens(request),
        });
        let config = planned(&SECRET).unwrap();
        let credential = Credential::find(&config).unwrap();
        let blobs = Blobs::new(&transport, &config, &credential);
        let outcome = block_on(blobs.put_probe(&BlobKey::new("k"), b"x"));
        assert_eq!(outcome.is_ok(), good == "Bearer t-2");
        assert_eq!(transport.sent.borrow().len(), sent);
    }
}

#[test]
fn a_token_never_goes_over_plain_http() {
    let transport = Scripted::new(|_: &Request| fresh());
    let credential = credential(&SECRET);
    let mut request = to_store(false);
    let outcome = block_on(credential.authorize(&transport, &mut request));
    assert!(matches!(outcome, Err(Error::Unauthenticated(_))));
    assert!(request.headers.get("authorization").is_none());
    assert!(transport.sent.borrow().is_empty());
}
