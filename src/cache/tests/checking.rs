//! The check: what it says, and that it leaves nothing behind.

use std::cell::Cell;

use futures::executor::block_on;

use super::scripted;
use super::store::Store;
use crate::error::Error;
use crate::transport::scripted::{Answer, Reply};
use crate::transport::{Method, Request};

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
    assert_eq!(writes.get(), 1);
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
