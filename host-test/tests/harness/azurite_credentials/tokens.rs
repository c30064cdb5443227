//! Tokens over time: when the next one is asked for, and where none is sent.

use std::time::Duration;

use build_cache_host::Error;
use host_test::sample::Sample;
use token_service::{Action, Credential, Endpoint, Environment, Fault, Secret};

use super::{CLIENT, World, with};
use crate::setup::run;

/// Tokens with less left than this count as expired, in seconds.
const MARGIN: u64 = 5 * 60;

/// An application with a secret, and the variables that say so.
async fn world_with_secret() -> (World, Environment) {
    let world = World::new().await;
    let secret = Secret::new("open sesame");
    let variables = world.service.client_env(CLIENT);
    let variables = with(variables, "AZURE_CLIENT_SECRET", secret.expose());
    world
        .service
        .register_client(CLIENT, Credential::Secret(secret));
    (world, variables)
}

#[test]
fn a_token_that_is_about_to_end_is_replaced_once_for_all_that_wait() {
    run(async {
        let (world, variables) = world_with_secret().await;
        world.service.set_lifetime(MARGIN + 2, None);
        let sample = Sample::of_sizes((0..40).map(|number| 1000 + number));
        let cache = world.open(&variables, sample.clone()).await.expect("open");
        world.service.set_lifetime(3600, None);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        cache.export(&sample.manifest).await.expect("an export");
        assert_eq!(world.service.requests(Endpoint::Token), 2);
        cache.export(&sample.manifest).await.expect("another");
        assert_eq!(world.service.requests(Endpoint::Token), 2);
    });
}

#[test]
fn tokens_that_never_live_long_do_all_the_same() {
    run(async {
        let (world, variables) = world_with_secret().await;
        world.service.set_lifetime(60, None);
        let sample = world.push(&variables, 10).await.expect("an export");
        world.check_pull(&variables, &sample).await;
        world.check_nothing_shows(&[]);
    });
}

#[test]
fn a_busy_authority_is_asked_again_and_that_is_told() {
    run(async {
        let (world, variables) = world_with_secret().await;
        world
            .service
            .fault(Fault::new(Action::throttle(1)).on(Endpoint::Token).times(1));
        world.push(&variables, 1).await.expect("an export");
        assert_eq!(world.service.requests(Endpoint::Token), 2);
        let said = world.said.lock().expect("no panic").join("\n");
        assert!(said.contains("Retrying") && said.contains("429"), "{said}");
        world.check_nothing_shows(&["open sesame"]);
    });
}

#[test]
fn no_credential_follows_a_redirect() {
    run(async {
        let (world, variables) = world_with_secret().await;
        let elsewhere = world.service.imds_url();
        world
            .service
            .fault(Fault::new(Action::redirect(&elsewhere)).on(Endpoint::Token));
        let error = world.push(&variables, 1).await.expect_err("refused");
        assert!(error.to_string().contains("307"), "{error}");
        let seen = world.service.seen();
        assert!(
            seen.iter().all(|seen| seen.endpoint == Endpoint::Token),
            "{seen:?}"
        );
    });
}

#[test]
fn no_token_is_asked_for_or_sent_over_plain_http() {
    run(async {
        let (mut world, variables) = world_with_secret().await;
        for (name, value) in &mut world.attributes {
            if name == "account_url" {
                *value = value.replace("https://", "http://");
            }
        }
        let error = world.push(&variables, 1).await.expect_err("refused");
        assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
        assert!(error.to_string().contains("plain http"), "{error}");
        assert_eq!(world.service.seen(), []);
    });
}
