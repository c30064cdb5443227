//! The check: what it says, and that it leaves nothing behind.

use std::cell::Cell;

use futures::executor::block_on;

use super::scripted;
use super::store::Store;
use crate::cache::check::Checked;
use crate::error::Error;
use crate::transport::scripted::{Answer, Reply};
use crate::transport::{Event, Method, Request, TransportError};

/// What was tried and whether it worked, where `refused` says no before the
/// store is asked.
fn check(store: &Store, refused: impl Fn(&Request) -> Option<Reply>) -> Vec<(&'static str, bool)> {
    let answer = |request: &Request| -> Answer {
        match refused(request) {
            Some(reply) => Ok(reply),
            None => store.answer(request),
        }
    };
    let cache = scripted(&[], answer);
    let checked = block_on(cache.check()).unwrap();
    let attempts = checked.attempts.into_iter();
    attempts
        .map(|(what, tried)| (what, tried.is_ok()))
        .collect()
}

fn mismatch() -> Reply {
    Reply::error(403, "AuthorizationPermissionMismatch")
}

#[test]
fn what_is_allowed_is_tried_on_a_probe_that_is_taken_away() {
    let (store, writes) = (Store::new(), Cell::new(0));
    let tried = check(&store, |request| {
        writes.set(writes.get() + u32::from(request.method == Method::Put));
        None
    });
    let all = ["read", "write", "list", "delete"].map(|what| (what, true));
    assert_eq!(tried, all);
    // The probe, and the probe in its own place, as a push replaces a name.
    assert_eq!(writes.get(), 2);
    assert!(store.blobs.borrow().is_empty());
}

#[test]
fn a_probe_that_could_not_be_taken_away_is_not_written() {
    let store = Store::new();
    let tried = check(&store, |request| {
        (request.method == Method::Delete).then(mismatch)
    });
    assert_eq!(
        tried,
        [
            ("read", true),
            ("write", true),
            ("list", true),
            ("delete", false)
        ]
    );
    assert!(store.blobs.borrow().is_empty());
}

#[test]
fn one_who_may_only_read_is_told_so() {
    let store = Store::new();
    let tried = check(&store, |request| {
        let reads = request.method == Method::Get && request.query.is_empty();
        (!reads).then(mismatch)
    });
    assert_eq!(
        tried,
        [
            ("read", true),
            ("write", false),
            ("list", false),
            ("delete", false)
        ]
    );
}

#[test]
fn a_container_that_is_not_there_is_not_made() {
    let store = Store::default();
    assert_eq!(check(&store, |_| None), [("write", false)]);
    assert!(!store.has_container.get());
}

#[test]
fn a_credential_that_is_refused_is_tried_once() {
    let (store, requests) = (Store::new(), Cell::new(0));
    let tried = check(&store, |_| {
        requests.set(requests.get() + 1);
        Some(Reply::error(403, "AuthenticationFailed"))
    });
    assert_eq!(tried, [("read", false)]);
    assert_eq!(requests.get(), 1);
}

/// All that the check says of one thing that was tried.
fn said(checked: &Checked, what: &str) -> String {
    let mut attempts = checked.attempts.iter();
    let (_, outcome) = attempts.find(|(tried, _)| *tried == what).unwrap();
    outcome.as_ref().unwrap_err().to_string()
}

#[test]
fn a_credential_that_may_make_blobs_but_not_replace_them_does_not_serve_for_a_push() {
    let store = Store::new();
    let cache = scripted(&[], |request: &Request| {
        let writes_on_any = request.headers.get("if-none-match").is_none();
        match request.method {
            Method::Put if writes_on_any => Ok(Reply::error(403, "UnauthorizedBlobOverwrite")),
            _ => store.answer(request),
        }
    });
    let checked = block_on(cache.check()).unwrap();
    let why = said(&checked, "write");
    assert!(
        why.contains("the first push under a name would work"),
        "{why}"
    );
    assert!(store.blobs.borrow().is_empty());

    // Where it may not delete either, its own words have to do.
    let sas = [("secret_access_key", ""), ("sas_token", "sv=1&sp=rc&sig=a")];
    for (permissions, may) in [("rc", false), ("rw", true)] {
        let token = format!("sv=1&sp={permissions}&sig=a");
        let sas = [sas[0], ("sas_token", &*token)];
        let cache = scripted(&sas, |request: &Request| {
            Ok(match request.method {
                Method::Get => Reply::error(404, "BlobNotFound"),
                Method::Put => Reply::error(412, "ConditionNotMet"),
                _ => mismatch(),
            })
        });
        let checked = block_on(cache.check()).unwrap();
        let mut attempts = checked.attempts.iter();
        let (_, written) = attempts.find(|(what, _)| *what == "write").unwrap();
        assert_eq!(written.is_ok(), may, "{permissions}");
    }
}

#[test]
fn what_a_retention_policy_keeps_from_being_taken_away_is_named() {
    let store = Store::new();
    let cache = scripted(&[], |request: &Request| {
        let is_there = !store.blobs.borrow().is_empty();
        match request.method {
            Method::Put | Method::Delete if is_there => {
                Ok(Reply::error(409, "BlobImmutableDueToPolicy"))
            }
            _ => store.answer(request),
        }
    });
    let checked = block_on(cache.check()).unwrap();
    let why = said(&checked, "write");
    assert!(why.contains("retention policy"), "{why}");
    let blobs = store.blobs.borrow();
    let probe = blobs.keys().next().unwrap();
    let stays = format!("The probe `{probe}` stays behind in the container `buildkit-cache`");
    assert!(said(&checked, "delete").contains(&stays));
    let events = cache.transport.events.borrow();
    let warned = |event: &Event| matches!(event, Event::Warning(text) if text.contains(&stays));
    assert!(events.iter().any(warned), "{events:?}");
}

#[test]
fn a_lost_answer_of_any_request_is_seen_through_and_nothing_stays_behind() {
    let all = ["read", "write", "list", "delete"].map(|what| (what, true));
    for lost in 1.. {
        let (store, requests) = (Store::new(), Cell::new(0));
        let cache = scripted(&[], |request: &Request| {
            requests.set(requests.get() + 1);
            let answer = store.answer(request);
            match requests.get() == lost {
                true => Err(TransportError::Broken("the connection broke".to_owned())),
                false => answer,
            }
        });
        let checked = block_on(cache.check()).unwrap();
        let tried = checked
            .attempts
            .iter()
            .map(|(what, tried)| (*what, tried.is_ok()));
        assert_eq!(tried.collect::<Vec<_>>(), all, "request {lost}");
        assert!(store.blobs.borrow().is_empty(), "request {lost}");
        if requests.get() < lost {
            assert_eq!(lost, 8, "there are seven requests");
            break;
        }
    }
}

#[test]
fn a_probe_whose_writing_failed_on_the_way_is_taken_away_as_well() {
    let store = Store::new();
    let cache = scripted(&[("max_retries", "0")], |request: &Request| {
        let answer = store.answer(request)?;
        match request.method {
            Method::Put => Ok(Reply::error(500, "OperationTimedOut")),
            _ => Ok(answer),
        }
    });
    let checked = block_on(cache.check()).unwrap();
    let written = checked.attempts.iter().find(|(what, _)| *what == "write");
    assert!(matches!(written, Some((_, Err(Error::Unavailable(_))))));
    assert!(store.blobs.borrow().is_empty());
}
