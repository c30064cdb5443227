//! What the host is asked to let the backend reach: the store, and those whom
//! the configured credential needs; IMDS only where the chain would come to it.

use blob_store::EMULATOR_KEY;
use build_cache_host::{Authorities, AuthorityPattern, Cache, Error, Grants};
use host_test::sample::Sample;
use token_service::{Credential, Environment, Secret};

use super::{CLIENT, World, with};
use crate::setup::run;

/// Opens the cache where the host allows the store and `allowed`, and no more.
async fn open_within(
    world: &World,
    variables: &Environment,
    allowed: &[&str],
) -> Result<Cache, Error> {
    let account_url = &world.attributes[0].1;
    let authorities = [account_url.as_str()]
        .into_iter()
        .chain(allowed.iter().copied());
    let parse = |url: &str| {
        let authority = url.split("://").last().unwrap_or_default();
        let authority = authority.split('/').next().unwrap_or_default();
        AuthorityPattern::parse(authority).expect("an authority")
    };
    let mut grants = Grants {
        authorities: Authorities::Only(authorities.map(parse).collect()),
        ..Grants::default()
    };
    for (name, value) in variables {
        grants.variables.insert(*name, value.clone());
    }
    world.open_with(grants, Sample::default()).await
}

#[test]
fn an_accounts_key_needs_the_store_alone() {
    run(async {
        let world = World::new().await;
        let variables = vec![("AZURE_STORAGE_KEY", EMULATOR_KEY.to_owned())];
        open_within(&world, &variables, &[]).await.expect("open");
        world.check_nothing_shows(&[EMULATOR_KEY]);
    });
}

#[test]
fn an_application_needs_its_authority_and_no_identity_of_the_machine() {
    run(async {
        let world = World::new().await;
        let secret = Secret::new("open sesame");
        let variables = world.service.client_env(CLIENT);
        let variables = with(variables, "AZURE_CLIENT_SECRET", secret.expose());
        world
            .service
            .register_client(CLIENT, Credential::Secret(secret));
        let authority = world.service.authority_url();
        open_within(&world, &variables, &[&authority])
            .await
            .expect("open");

        let denied = open_within(&world, &variables, &[]).await;
        match denied.err() {
            Some(Error::Denied {
                authority: asked, ..
            }) => {
                assert!(authority.ends_with(&asked), "{asked}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_host_with_an_identity_of_its_own_is_asked_in_the_place_of_imds() {
    run(async {
        let world = World::new().await;
        let variables = world.service.app_service_env();
        let endpoint = variables[0].1.clone();
        open_within(&world, &variables, &[&endpoint])
            .await
            .expect("open");
    });
}

#[test]
fn imds_is_asked_for_where_nothing_else_is_configured() {
    run(async {
        let world = World::new().await;
        let denied = open_within(&world, &Vec::new(), &[]).await;
        match denied.err() {
            Some(Error::Denied { authority, .. }) => assert_eq!(authority, "169.254.169.254"),
            other => panic!("{other:?}"),
        }
        let tools_alone = vec![("AZURE_TOKEN_CREDENTIALS", "dev".to_owned())];
        let error = open_within(&world, &tools_alone, &[]).await.err();
        assert!(
            matches!(error, Some(Error::Unauthenticated(_))),
            "{error:?}"
        );
    });
}
