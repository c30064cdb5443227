//! Tokens that end while they are used, on a store that says when; and what is
//! never sent: a token to somebody else, over plain http, or anything at all
//! where nothing was asked for.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blob_store::{BlobStore, Https, RunningStore, TokenCheck};
use build_cache_host::Error;
use host_test::sample::Sample;
use token_service::{Credential, Endpoint, Environment, Options, Running, Secret, TokenService};

use crate::credentials_world::{CLIENT, World, with};
use crate::setup::{blob_store, run};

/// How many layers are exported.
const LAYERS: u64 = 40;

/// Tokens with less left than this count as expired, in seconds.
const MARGIN: u64 = 5 * 60;

/// A world on a store of our own, and that store.
struct Ours {
    world: World,
    store: Arc<RunningStore>,
    /// An application with a secret.
    variables: Environment,
}

/// Whether the store takes a token that is good: by its place in the order in
/// which tokens came, from 0, and how often it came before.
type Rule = fn(token: usize, uses: u64) -> bool;

/// Takes every good token.
const ALL: Rule = |_, _| true;

impl Ours {
    /// A store by this rule, whose clock is ahead by some seconds.
    async fn start(rule: Rule, clock_ahead: u64) -> Self {
        let service = TokenService::start(Options::default()).expect("a token service");
        let verifier = service.verifier();
        let seen: Mutex<Vec<(String, u64)>> = Mutex::default();
        let check = TokenCheck::new(move |token| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_err(|error| error.to_string())?.as_secs();
            let good = verifier.verify(token, now + clock_ahead);
            good.map_err(|error| error.to_string())?;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let place = seen.iter().position(|(other, _)| other == token);
            let place = place.unwrap_or_else(|| {
                seen.push((token.to_owned(), 0));
                seen.len() - 1
            });
            let uses = seen[place].1;
            seen[place].1 += 1;
            match rule(place, uses) {
                true => Ok(()),
                false => Err("The token was revoked.".to_owned()),
            }
        });
        let store = secure_store(&service, Some(check));
        let secret = Secret::new("open sesame");
        let variables = service.client_env(CLIENT);
        let variables = with(variables, "AZURE_CLIENT_SECRET", secret.expose());
        service.register_client(CLIENT, Credential::Secret(secret));
        Self {
            world: World::at(service, &store.url(), &[]).await,
            store,
            variables,
        }
    }

    /// Sets an attribute that is not set yet, or sets it again.
    fn set(&mut self, name: &str, value: &str) {
        let attributes = &mut self.world.attributes;
        attributes.retain(|(other, _)| other != name);
        attributes.push((name.to_owned(), value.to_owned()));
    }

    fn tokens_asked_for(&self) -> usize {
        self.world.service.requests(Endpoint::Token)
    }
}

/// A store with a certificate of the service's private CA.
fn secure_store(service: &Running, tokens: Option<TokenCheck>) -> Arc<RunningStore> {
    let read = |path| fs::read_to_string(path).expect("a file of the service");
    let options = blob_store::Options {
        https: Some(Https {
            certificate_pem: read(service.server_certificate_path()),
            key_pem: read(service.server_key_path()),
            tokens,
        }),
        ..blob_store::Options::default()
    };
    Arc::new(BlobStore::start(options).expect("a store"))
}

fn forty_layers() -> Sample {
    Sample::of_sizes((0..LAYERS).map(|number| 1000 + number))
}

#[test]
fn a_token_that_is_revoked_in_the_middle_is_renewed_once_for_all_uploads() {
    run(async {
        let ours = Ours::start(|token, uses| token > 0 || uses < 20, 0).await;
        let world = &ours.world;
        let sample = forty_layers();
        let cache = world.open(&ours.variables, sample.clone()).await;
        let cache = cache.expect("open");
        // While the next token is on its way, the others come to wait for it.
        let late = token_service::Action::Delay { ms: 500 };
        world.service.fault(token_service::Fault::new(late));
        let summary = cache.export(&sample.manifest).await.expect("an export");

        assert_eq!(ours.tokens_asked_for(), 2);
        assert!(summary.retries > 1, "{summary:?}");
        assert_eq!(u64::from(summary.requests), ours.store.stats().requests());
        let said = world.heard();
        assert!(said.contains("401 InvalidAuthenticationInfo"), "{said}");
        world.check_pull(&ours.variables, &sample).await;
        world.check_nothing_shows(&["open sesame"]);
    });
}

#[test]
fn after_all_tokens_were_revoked_another_is_asked_for() {
    run(async {
        let ours = Ours::start(ALL, 0).await;
        let world = &ours.world;
        let sample = forty_layers();
        let cache = world.open(&ours.variables, sample.clone()).await;
        let cache = cache.expect("open");
        for tokens in 2..5 {
            world.service.revoke_tokens().expect("a new key");
            cache.export(&sample.manifest).await.expect("an export");
            assert_eq!(ours.tokens_asked_for(), tokens);
        }
    });
}

#[test]
fn an_export_longer_than_a_token_lives_sends_none_that_has_ended() {
    run(async {
        // For us a token serves for a second, for the store for at most three:
        // its clock is ahead. The export takes longer than that.
        let mut ours = Ours::start(ALL, MARGIN - 2).await;
        ours.world.service.set_lifetime(MARGIN + 1, None);
        // Of small layers, four.
        ours.set("parallelism", "1");
        let slow = blob_store::Action::Delay { ms: 500 };
        ours.store.faults().push(blob_store::Fault::new(slow));
        let world = &ours.world;
        let sample = forty_layers();
        let started = Instant::now();
        let cache = world.open(&ours.variables, sample.clone()).await;
        let cache = cache.expect("open");
        let summary = cache.export(&sample.manifest).await.expect("an export");

        assert!(started.elapsed() > Duration::from_secs(5));
        assert_eq!(summary.retries, 0, "{}", world.heard());
        assert!(ours.tokens_asked_for() > 3);
    });
}

#[test]
fn a_new_token_that_is_refused_too_is_the_end() {
    run(async {
        let ours = Ours::start(|_, _| false, 0).await;
        let error = ours.world.push(&ours.variables, 1).await;
        let error = error.expect_err("refused");
        assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
        let text = error.to_string();
        for part in ["401 InvalidAuthenticationInfo", "request id"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert_eq!(ours.tokens_asked_for(), 2);
        // Two by HEAD, and one by GET for the reason.
        assert_eq!(ours.store.stats().requests(), 3);
        ours.world.check_nothing_shows(&["open sesame"]);
    });
}

#[test]
fn a_token_does_not_follow_a_redirect_to_another_host() {
    run(async {
        let mut ours = Ours::start(ALL, 0).await;
        let elsewhere = secure_store(&ours.world.service, None);
        for status in [301, 302, 307, 308] {
            let redirect = blob_store::Action::Answer {
                status,
                code: String::new(),
                headers: vec![("Location".to_owned(), elsewhere.url() + "/c/blob")],
            };
            let redirect = blob_store::Fault::new(redirect);
            ours.store.faults().set(vec![redirect]);
            ours.set("max_retries", "0");
            let error = ours.world.push(&ours.variables, 1).await;
            let error = error.expect_err("refused");
            assert!(error.to_string().contains("a redirect"), "{error}");
        }
        assert_eq!(elsewhere.stats().connections, 0);
        ours.world.check_nothing_shows(&["open sesame"]);
    });
}

#[test]
fn a_store_without_tls_sees_no_token_and_nothing_else() {
    run(async {
        let mut ours = Ours::start(ALL, 0).await;
        let plain = blob_store();
        *ours.world.attribute("account_url") = plain.url();
        let error = ours.world.push(&ours.variables, 1).await;
        let error = error.expect_err("refused");
        assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
        assert!(error.to_string().contains("plain http"), "{error}");
        assert_eq!(plain.stats().connections, 0);
        assert_eq!(ours.tokens_asked_for(), 0);
    });
}

#[test]
fn everybody_reads_from_a_public_container_and_nobody_writes_to_it() {
    run(async {
        let mut ours = Ours::start(ALL, 0).await;
        let sample = ours.world.push(&ours.variables, 3).await.expect("a cache");
        let container = ours.world.attribute("container").clone();
        ours.world.service.reset_requests();
        ours.set("anonymous", "true");

        let closed = ours.world.open(&Vec::new(), Sample::default()).await;
        let closed = closed.expect("open").import().await.expect_err("private");
        assert!(matches!(closed, Error::Unauthenticated(_)), "{closed:?}");

        ours.store.make_public(&container).expect("a name");
        ours.world.check_pull(&Vec::new(), &sample).await;
        let error = ours.world.push(&Vec::new(), 1).await.expect_err("refused");
        assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
        let text = error.to_string();
        for part in ["401 NoAuthenticationInformation", "anonymous"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert_eq!(ours.tokens_asked_for(), 0);
    });
}
