//! Managed identities that ask for more than a request: Azure Arc for a key in
//! a file of the machine, Service Fabric for trust in a certificate that is
//! signed by nobody.

use std::path::{Path, PathBuf};

use build_cache_host::{Error, Files};
use tempfile::TempDir;
use token_service::{ARC_KEY_DIR, Endpoint, Options, TokenService};

use super::World;
use super::chain::check_lets_in;
use crate::setup::run;

/// A world whose machine has Arc's agent, which says that its keys are in
/// `announced`; and the root of that machine's files.
async fn with_arc(announced: &str) -> (World, TempDir) {
    let root = tempfile::tempdir().expect("a folder");
    let keys = Path::new(ARC_KEY_DIR).strip_prefix("/").expect("a path");
    let service = TokenService::start(Options {
        arc_key_dir: Some(root.path().join(keys)),
        arc_announced_dir: PathBuf::from(announced),
        ..Options::default()
    });
    let mut world = World::of(service.expect("a token service"), &[]).await;
    world.files = Files::AsAskedUnder(root.path().to_owned());
    (world, root)
}

#[test]
fn arc_lends_its_identity_to_who_may_read_its_key() {
    run(async {
        let (world, _root) = with_arc(ARC_KEY_DIR).await;
        let variables = world.service.arc_env();
        let asked = [Endpoint::ArcChallenge, Endpoint::Arc];
        check_lets_in(&world, &variables, &asked, "by Azure Arc").await;
    });
}

#[test]
fn arc_has_no_file_read_but_its_own_keys() {
    run(async {
        for announced in ["/etc", "/var/opt/azcmagent", "/var/opt/azcmagent/tokens/.."] {
            let (world, _root) = with_arc(announced).await;
            let variables = world.service.arc_env();
            let error = world.push(&variables, 1).await.expect_err("refused");
            assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
            assert!(error.to_string().contains("not one of its keys"), "{error}");
            assert_eq!(world.service.requests(Endpoint::Arc), 0);
        }
    });
}

#[test]
fn arc_lends_nothing_where_the_host_lends_no_files() {
    run(async {
        let (mut world, _root) = with_arc(ARC_KEY_DIR).await;
        world.files = Files::None;
        let variables = world.service.arc_env();
        let error = world.push(&variables, 1).await.expect_err("refused");
        assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
        assert!(error.to_string().contains("does not lend"), "{error}");
        world.check_nothing_shows(&[]);
    });
}

// Azure's SDKs compare the certificate's SHA-1 with the variable's, or check
// nothing. Here the host decides whom it trusts, and a plugin has no say in
// that: the cluster's certificate is given to the host, as any other is.
#[test]
fn service_fabric_lends_its_identity_where_the_host_trusts_its_certificate() {
    run(async {
        let service = TokenService::start(Options::default()).expect("a token service");
        let certificate = service.fabric_certificate_pem().to_owned();
        let world = World::of(service, &[&certificate]).await;
        let variables = world.service.service_fabric_env();
        let asked = [Endpoint::ServiceFabric];
        check_lets_in(&world, &variables, &asked, "by Service Fabric").await;
    });
}

#[test]
fn service_fabric_is_told_nothing_where_the_host_does_not() {
    run(async {
        let world = World::new().await;
        let variables = world.service.service_fabric_env();
        let error = world.push(&variables, 1).await.expect_err("refused");
        let text = error.to_string();
        for part in ["Service Fabric", "certificate"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert_eq!(world.service.seen(), []);
        world.check_nothing_shows(&[]);
    });
}
