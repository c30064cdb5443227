//! What the script does to a client, and what a store is told of a token.

use std::time::{Duration, Instant};

use token_service::{Action, BadToken, Credential, Endpoint, Fault, Secret};

use crate::common::{APP, Harness, error_code, json_of, now};

fn harness() -> Harness {
    let harness = Harness::start();
    let credential = Credential::Secret(Secret::new("swordfish"));
    harness.service.register_client(APP, credential);
    harness
}

async fn ask(harness: &Harness) -> reqwest::Result<reqwest::Response> {
    let request = harness.token_request(&[("client_secret", "swordfish")]);
    request.send().await
}

#[tokio::test]
async fn a_client_is_throttled_and_then_served() {
    let harness = harness();
    harness
        .service
        .fault(Fault::new(Action::throttle(7)).on(Endpoint::Token).times(2));
    for _ in 0..2 {
        let answer = ask(&harness).await.unwrap();
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()["retry-after"], "7");
    }
    assert_eq!(harness.owner(ask(&harness).await.unwrap()).await, APP);
    assert_eq!(harness.service.requests(Endpoint::Token), 3);
    harness.service.reset_requests();
    assert_eq!(harness.service.requests(Endpoint::Token), 0);
}

#[tokio::test]
async fn what_a_client_presents_is_noted_also_where_the_script_answers() {
    let harness = harness();
    harness.service.fault(Fault::new(Action::status(500)));
    let assertion = harness.assertion_request("an assertion");
    assert_eq!(assertion.send().await.unwrap().status(), 500);
    let seen = &harness.service.seen()[0];
    assert_eq!(seen.client_id.as_deref(), Some(APP));
    assert!(seen.assertion_sha256.is_some());
    assert_eq!((seen.proof, seen.status), (None, Some(500)));
    let secrets = harness.service.secrets();
    assert!(secrets.contains(&Secret::new("an assertion")));
}

#[tokio::test]
async fn an_answer_can_be_anything_but_a_token() {
    let harness = harness();
    let elsewhere = "https://elsewhere.test/";
    for (action, status, kind) in [
        (Action::status(503), 503, Some("application/json")),
        (Action::html(200), 200, Some("text/html")),
        (Action::broken_json(), 200, Some("application/json")),
        (Action::redirect(elsewhere), 307, None),
    ] {
        harness.service.clear_faults();
        harness.service.fault(Fault::new(action.clone()));
        let answer = ask(&harness).await.unwrap();
        assert_eq!(answer.status(), status, "{action:?}");
        let found = answer.headers().get("content-type");
        assert_eq!(found.map(|kind| kind.to_str().unwrap()), kind, "{action:?}");
        let location = answer.headers().get("location").cloned();
        assert_eq!(location.is_some_and(|to| to == elsewhere), status == 307);
        let body = answer.bytes().await.unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_err() || status == 503);
    }
}

#[tokio::test]
async fn entra_can_refuse_with_any_number() {
    let harness = harness();
    harness.service.fault(Fault::new(Action::EntraError {
        status: 401,
        error: "invalid_client".to_owned(),
        code: 7_000_222,
        message: "The provided client secret keys are expired.".to_owned(),
    }));
    let request = harness.token_request(&[("client_secret", "swordfish")]);
    assert_eq!(error_code(request).await, (401, 7_000_222));
}

#[tokio::test]
async fn an_answer_can_be_late_or_none() {
    let harness = harness();
    harness
        .service
        .fault(Fault::new(Action::Delay { ms: 60 }).times(1));
    let start = Instant::now();
    ask(&harness).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(60));

    harness.service.fault(Fault::new(Action::Close).times(1));
    assert!(ask(&harness).await.is_err());
    assert_eq!(harness.service.seen()[1].status, None);
}

#[tokio::test]
async fn a_token_can_live_for_a_short_time() {
    let harness = harness();
    let short = Action::Lifetime {
        seconds: 2,
        refresh_in: Some(1),
    };
    harness.service.fault(Fault::new(short).times(1));
    let answer = json_of(ask(&harness).await.unwrap()).await;
    assert_eq!(
        (&answer["expires_in"], &answer["refresh_in"]),
        (&2.into(), &1.into())
    );
    let token = answer["access_token"].as_str().unwrap();
    let verifier = harness.service.verifier();
    assert_eq!(verifier.verify(token, now() + 2), Err(BadToken::Expired));

    let answer = json_of(ask(&harness).await.unwrap()).await;
    assert_eq!(answer["expires_in"], 3600);
    harness.service.set_lifetime(60, Some(30));
    let answer = json_of(ask(&harness).await.unwrap()).await;
    assert_eq!(
        (&answer["expires_in"], &answer["refresh_in"]),
        (&60.into(), &30.into())
    );
}

#[tokio::test]
async fn revoked_tokens_are_good_for_nothing() {
    let harness = harness();
    let token = harness.service.token(APP);
    let verifier = harness.service.verifier();
    assert!(verifier.verify(token.expose(), now()).is_ok());
    harness.service.revoke_tokens().unwrap();
    assert_eq!(
        verifier.verify(token.expose(), now()),
        Err(BadToken::Signature)
    );
    assert_eq!(harness.owner(ask(&harness).await.unwrap()).await, APP);
}
