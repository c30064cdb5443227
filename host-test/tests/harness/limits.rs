//! What an instance may reach and use, and what happens when it wants more.

use std::sync::Arc;
use std::time::Duration;

use blob_store::{Action, Fault, OperationKind};
use build_cache_host::{
    Authorities, AuthorityPattern, Error, Grants, Manifest, OpenOptions, Plugin, Policy,
};
use host_test::sample::Sample;

use crate::setup::{self, Attributes, run};

async fn open_with_grants(
    plugin: &Plugin,
    attributes: &Attributes,
    grants: Grants,
) -> Result<build_cache_host::Cache, Error> {
    let options = OpenOptions {
        grants,
        ..OpenOptions::default()
    };
    plugin.open(attributes, options).await
}

#[test]
fn an_authority_that_the_host_does_not_grant_is_denied_by_name() {
    run(async {
        let store = setup::blob_store();
        let elsewhere = AuthorityPattern::parse("cache.example").expect("a pattern");
        let grants = || Grants {
            authorities: Authorities::Only(vec![elsewhere.clone()]),
            ..Grants::default()
        };
        let azblob = setup::azblob_attributes(&store, "test");
        let http = setup::attributes([("url", &store.plain_url())]);
        for (plugin, attributes) in [(setup::azblob().await, azblob), (setup::http().await, http)] {
            let opened = open_with_grants(&plugin, &attributes, grants()).await;
            let error = opened.expect_err("a refusal");
            assert!(matches!(error, Error::Denied { .. }), "{error:?}");
            let address = store.address().to_string();
            assert!(error.to_string().contains(&address), "{error}");
        }
        assert_eq!(store.stats().requests(), 0);
    });
}

#[test]
fn a_variable_is_granted_that_is_both_asked_for_and_trusted() {
    run(async {
        // Every process has it; no cache backend has a reason to read it.
        assert!(std::env::var_os("PATH").is_some());
        let names = |grants: Grants| -> Vec<String> {
            let names = grants.variables.iter().map(|(name, _)| name.to_owned());
            names.collect()
        };
        let mut asking = setup::azblob().await.description().clone();
        asking.environment[0].name = "PATH".to_owned();
        let granted = names(Grants::from_environment(&asking));
        assert!(!granted.contains(&"PATH".to_owned()), "{granted:?}");

        let mut policy = Policy::of_type("azblob");
        policy.grant("PATH").expect("a variable");
        let granted = names(Grants::by_policy(policy.clone(), &asking));
        assert!(granted.contains(&"PATH".to_owned()), "{granted:?}");
        asking.environment.remove(0);
        let granted = names(Grants::by_policy(policy, &asking));
        assert!(!granted.contains(&"PATH".to_owned()), "{granted:?}");
    });
}

#[test]
fn the_backends_that_come_with_the_product_get_all_that_they_ask_for() {
    run(async {
        for plugin in [setup::azblob().await, setup::http().await] {
            let description = plugin.description();
            let policy = Policy::of_type(&description.r#type);
            let (granted, asked) = policy.judge(description);
            assert!(asked.is_empty(), "{asked:?}");
            assert!(!granted.environment.is_empty(), "{granted:?}");
            // Word for word: what is derived may lead to a private endpoint.
            for text in &description.authorities {
                let is_derived = text.contains(['{', ' ']);
                assert!(!is_derived || policy.trusts_authority(text), "{text}");
            }
        }
    });
}

#[test]
fn an_instance_that_wants_too_much_memory_ends_alone() {
    run(async {
        let store = setup::blob_store();
        store.create_container("test").expect("a container");
        let azblob = setup::azblob().await;
        let attributes = setup::azblob_attributes(&store, "test");
        let small = Grants {
            memory_bytes: 4 << 20,
            ..Grants::default()
        };
        let doomed = open_with_grants(&azblob, &attributes, small).await;
        let doomed = doomed.expect("room enough to open");
        let other = open_with_grants(&azblob, &attributes, Grants::default()).await;
        let other = other.expect("the other cache");

        let slow = Fault::new(Action::Delay { ms: 4000 }).on(OperationKind::GetBlob);
        store.faults().push(slow);
        let spawn_import = |cache: &build_cache_host::Cache| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.import().await })
        };
        let (under_way, elsewhere) = (spawn_import(&doomed), spawn_import(&other));
        while store.stats().of(OperationKind::GetBlob) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let huge = Manifest {
            records: format!("[{}]", vec![r#"{"digest":"x"}"#; 500_000].join(",")),
            ..Sample::of_sizes([]).manifest
        };
        let why = doomed.export(&huge).await.expect_err("too much memory");
        let under_way = under_way.await.expect("the task").expect_err("the end");
        for error in [why, under_way] {
            assert!(matches!(error, Error::PluginFailed { .. }), "{error:?}");
            assert!(error.to_string().contains("memory"), "{error}");
        }
        let later = doomed.import().await.expect_err("it has ended");
        assert!(matches!(later, Error::PluginFailed { .. }), "{later:?}");

        let imported = elsewhere.await.expect("the task").expect("an import");
        assert!(imported.is_empty(), "{imported:?}");
        other.export(&huge).await.expect("room enough");
    });
}

#[test]
fn an_instance_ends_with_its_last_handle() {
    run(async {
        let store = setup::blob_store();
        let subject = setup::azblob_on(&store).await;
        let content = Arc::new(Sample::of_sizes([100]));
        let (lent, manifest) = (Arc::clone(&content), content.manifest.clone());
        let cache = subject.open(&["app"], Shared(lent)).await.expect("open");
        cache.export(&manifest).await.expect("an export");
        drop(cache);
        for _ in 0..200 {
            if Arc::strong_count(&content) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the instance still holds what was lent to it");
    });
}

/// A sample that a test holds on to.
struct Shared(Arc<Sample>);

impl build_cache_host::Content for Shared {
    fn read(
        &self,
        blob: &build_cache_host::Digest,
        offset: u64,
        length: u64,
    ) -> futures::stream::BoxStream<'static, std::io::Result<bytes::Bytes>> {
        self.0.read(blob, offset, length)
    }
}
