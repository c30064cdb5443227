//! SAS tokens and connection strings. The tokens in `fixtures/sas.json` were
//! made by Azure's own SDK for Python, for the emulator's account and its
//! container `sas`; they allow no more than an export or an import needs.

use std::sync::OnceLock;

use blob_store::{EMULATOR_ACCOUNT, EMULATOR_KEY};
use build_cache_host::Error;
use host_test::fixtures;
use host_test::sample::{Sample, unique};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{World, store, with};
use crate::setup::{azurite, run};

/// The container that the tokens are for.
pub(super) const CONTAINER: &str = "sas";

/// A SAS token that Azure's SDK made.
pub(super) fn token(name: &str) -> &'static str {
    static FIXTURE: OnceLock<Value> = OnceLock::new();
    let fixture = FIXTURE.get_or_init(|| {
        let path = fixtures::workspace().join("host-test/fixtures/sas.json");
        let json = std::fs::read(path).expect("a fixture");
        serde_json::from_slice(&json).expect("JSON")
    });
    fixture["tokens"][name].as_str().expect("a token")
}

/// The percent-encoded signature of a token, and the plain one.
pub(super) fn signatures(token: &str) -> [String; 2] {
    let encoded = token.split("sig=").last().expect("a signature");
    let plain = encoded.replace("%2B", "+").replace("%3D", "=");
    [encoded.to_owned(), plain]
}

/// Makes the container that the tokens are for.
pub(super) async fn container() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(async || {
        azurite().container(CONTAINER).await.expect("a container");
    })
    .await;
}

/// A world on the tokens' container, in a space of its own there.
async fn world() -> World {
    container().await;
    let mut world = World::new().await;
    *world.attribute("account_url") = azurite().url().to_owned();
    *world.attribute("container") = CONTAINER.to_owned();
    let space = ("prefix".to_owned(), unique("space"));
    world.attributes.push(space);
    world
}

fn given(token: &str) -> token_service::Environment {
    vec![("AZURE_STORAGE_SAS_TOKEN", token.to_owned())]
}

#[test]
fn the_least_permissions_do_for_each_kind_of_token() {
    run(async {
        for (export, import) in [
            ("accountExport", "accountImport"),
            ("serviceExport", "serviceImport"),
            ("delegatedExport", "delegatedImport"),
        ] {
            let world = world().await;
            let sample = Sample::of_sizes((0..10).map(|number| 100 + number));
            let variables = given(token(export));
            let cache = world.open(&variables, sample.clone()).await.expect("open");
            let summary = cache.export(&sample.manifest).await.expect(export);
            // Each layer is asked for and written, and one manifest: none went
            // to the container.
            assert_eq!(summary.requests, 2 * 10 + 1, "{export}");
            // The second writes over the manifest of the first.
            cache.export(&sample.manifest).await.expect(export);
            world.check_pull(&given(token(import)), &sample).await;
            for name in [export, import] {
                check_no_signature_shows(&world, token(name));
            }
        }
    });
}

/// Checks that a token's signature does not show.
fn check_no_signature_shows(world: &World, token: &str) {
    let signatures = signatures(token);
    world.check_nothing_shows(&signatures.each_ref().map(String::as_str));
}

#[test]
fn large_layers_take_no_more_permissions() {
    run(async {
        for export in ["accountExport", "serviceExport", "delegatedExport"] {
            let mut world = world().await;
            let block = ("block_size".to_owned(), "64KiB".to_owned());
            world.attributes.push(block);
            let sample = Sample::of_sizes([300_000]);
            let cache = world.open(&given(token(export)), sample.clone()).await;
            let cache = cache.expect("open");
            cache.export(&sample.manifest).await.expect(export);
            world.check_pull(&given(token(export)), &sample).await;
        }
    });
}

#[test]
fn a_token_that_lacks_a_permission_is_refused_and_that_is_said() {
    run(async {
        for name in [
            "accountImport",
            "serviceImport",
            "delegatedImport",
            "serviceWithoutRead",
        ] {
            let world = world().await;
            let error = world.push(&given(token(name)), 1).await;
            let error = error.expect_err("forbidden");
            assert!(matches!(error, Error::Forbidden(_)), "{name}: {error:?}");
            let text = error.to_string();
            for part in ["a SAS token ", ", permissions ", "r and w to push"] {
                assert!(text.contains(part), "{name}: {part} is missing in: {text}");
            }
            check_no_signature_shows(&world, token(name));
        }
    });
}

#[test]
fn a_token_for_one_blob_is_refused_in_the_stores_own_words() {
    run(async {
        let world = world().await;
        let sas = token("serviceOneBlob");
        let error = world.push(&given(sas), 1).await.expect_err("refused");
        // They come from a GET, as the first request is a HEAD, without a body.
        assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
        let text = error.to_string();
        for part in [
            "HEAD http://",
            "Server failed to authenticate the request",
            "is for this account and container",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        check_no_signature_shows(&world, sas);
    });
}

#[test]
fn permission_to_create_does_for_a_first_export_and_not_for_the_next() {
    run(async {
        let world = world().await;
        let variables = given(token("serviceWithoutWrite"));
        let sample = Sample::of_sizes([100]);
        let cache = world.open(&variables, sample.clone()).await.expect("open");
        cache
            .export(&sample.manifest)
            .await
            .expect("a first export");
        let error = cache.export(&sample.manifest).await.expect_err("forbidden");
        assert!(matches!(error, Error::Forbidden(_)), "{error:?}");
    });
}

#[test]
fn a_token_that_has_expired_says_until_when_it_was_good() {
    run(async {
        let world = world().await;
        let expired = token("serviceExpired");
        let error = world.push(&given(expired), 1).await.expect_err("refused");
        let is_refusal = matches!(error, Error::Unauthenticated(_) | Error::Forbidden(_));
        assert!(is_refusal, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("until 2026-01-01T00:00:00Z"), "{text}");
        check_no_signature_shows(&world, expired);
    });
}

#[test]
fn a_token_of_the_account_makes_the_container_where_it_may() {
    run(async {
        let mut world = world().await;
        *world.attribute("container") = unique("made");
        let variables = given(token("accountExport"));
        let error = world.push(&variables, 1).await.expect_err("no container");
        assert!(error.to_string().contains("srt=co"), "{error}");

        let variables = given(token("accountWithContainers"));
        let sample = world.push(&variables, 1).await.expect("an export");
        world.check_pull(&variables, &sample).await;
    });
}

#[test]
fn a_signature_that_is_wrong_is_refused_without_being_shown() {
    run(async {
        let world = world().await;
        let wrong = token("serviceExport").replace("sig=", "sig=Wr0ng");
        let error = world.push(&given(&wrong), 1).await.expect_err("refused");
        let is_refusal = matches!(error, Error::Unauthenticated(_) | Error::Forbidden(_));
        assert!(is_refusal, "{error:?}");
        check_no_signature_shows(&world, &wrong);
    });
}

#[test]
fn a_token_is_taken_from_the_attribute_and_from_the_accounts_address() {
    run(async {
        let sas = token("serviceExport");
        let mut in_attribute = world().await;
        let attribute = ("sas_token".to_owned(), format!("?{sas}"));
        in_attribute.attributes.push(attribute);
        let mut in_url = world().await;
        in_url.attributes[0].1 = format!("{}?{sas}", in_url.attributes[0].1);
        for world in [in_attribute, in_url] {
            let sample = world.push(&Vec::new(), 2).await.expect("an export");
            world.check_pull(&Vec::new(), &sample).await;
            check_no_signature_shows(&world, sas);
        }
    });
}

#[test]
fn a_connection_string_lets_in_with_a_key_and_with_a_token() {
    run(async {
        let endpoint = azurite().url();
        let sas = token("serviceExport");
        for string in [
            format!(
                "DefaultEndpointsProtocol=http;AccountName={EMULATOR_ACCOUNT};\
                 AccountKey={EMULATOR_KEY};BlobEndpoint={endpoint};"
            ),
            format!("BlobEndpoint={endpoint};SharedAccessSignature={sas}"),
        ] {
            let mut world = world().await;
            // A connection string says itself where the store is.
            let is_said = |name: &str| name == "account_url";
            world.attributes.retain(|(name, _)| !is_said(name));
            let variables = with(Vec::new(), "AZURE_STORAGE_CONNECTION_STRING", string);
            let sample = world.push(&variables, 2).await.expect("an export");
            world.check_pull(&variables, &sample).await;
            let [encoded, plain] = signatures(sas);
            world.check_nothing_shows(&[EMULATOR_KEY, &encoded, &plain]);
        }
    });
}

#[test]
fn the_addresses_that_the_portal_shows_name_the_container_too() {
    run(async {
        let (endpoint, sas) = (azurite().url(), token("serviceExport"));
        let address = format!("{endpoint}/{CONTAINER}");
        let signed = format!("{address}?{sas}");
        let connection = format!("BlobEndpoint={address};SharedAccessSignature={sas}");
        for (attribute, variables) in [
            (Some(signed.as_str()), Vec::new()),
            (Some(address.as_str()), given(sas)),
            (None, given(&signed)),
            (
                None,
                with(Vec::new(), "AZURE_STORAGE_CONNECTION_STRING", connection),
            ),
            (
                None,
                with(
                    Vec::new(),
                    "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
                    signed.clone(),
                ),
            ),
        ] {
            let mut world = world().await;
            world
                .attributes
                .retain(|(name, _)| name != "account_url" && name != "container");
            let url = attribute.map(|url| ("account_url".to_owned(), url.to_owned()));
            world.attributes.extend(url);
            let sample = world.push(&variables, 2).await.expect("an export");
            world.check_pull(&variables, &sample).await;
            // The check names the container that the layers are in.
            let cache = world.open(&variables, Sample::default()).await;
            let access = cache.expect("open").check().await.expect("a check");
            let part = format!("container `{CONTAINER}`");
            assert!(access.store.contains(&part), "{}", access.store);
            check_no_signature_shows(&world, sas);
        }
        // Two containers are one too many, and no error shows the token.
        let mut world = world().await;
        *world.attribute("account_url") = format!("{endpoint}/other?{sas}");
        let error = world.push(&Vec::new(), 1).await.expect_err("refused");
        let text = error.to_string();
        assert!(text.contains("`other`") && text.contains("`sas`"), "{text}");
        check_no_signature_shows(&world, sas);
    });
}

#[test]
fn a_token_works_whatever_it_went_through_on_its_way() {
    run(async {
        let sas = token("serviceExport");
        let plain = sas
            .replace("%2B", "+")
            .replace("%2F", "/")
            .replace("%3D", "=");
        for given_as in [
            format!("\"{sas}\"\n"),
            format!("'?{sas}'"),
            sas.replace('&', "&amp;"),
            sas.replace('&', "\\u0026"),
            sas.replace('%', "%25"),
            plain.clone(),
            plain.replace('+', " "),
        ] {
            let world = world().await;
            let variables = given(&given_as);
            let sample = world.push(&variables, 1).await;
            let sample = sample.unwrap_or_else(|error| panic!("{given_as}: {error}"));
            world.check_pull(&variables, &sample).await;
            check_no_signature_shows(&world, sas);
        }
    });
}

#[test]
fn a_check_tells_a_token_that_can_only_make_blobs_from_one_that_can_replace_them() {
    run(async {
        for (name, may_write) in [("serviceWithoutWrite", false), ("serviceExport", true)] {
            let world = world().await;
            let cache = world.open(&given(token(name)), Sample::default()).await;
            let access = cache.expect("open").check().await.expect("a check");
            assert_eq!(
                access.may("write"),
                may_write,
                "{name}: {:?}",
                access.attempts
            );
            // Neither may delete, so neither has written a probe.
            assert!(!access.may("delete"), "{name}");
            check_no_signature_shows(&world, token(name));
        }
    });
}

#[test]
fn the_emulators_shortcut_holds_its_key_wherever_it_listens() {
    run(async {
        let world = world().await;
        let shortcut = "UseDevelopmentStorage=true";
        let variables = with(Vec::new(), "AZURE_STORAGE_CONNECTION_STRING", shortcut);
        let sample = world.push(&variables, 2).await.expect("an export");
        world.check_pull(&variables, &sample).await;
        world.check_nothing_shows(&[EMULATOR_KEY]);
    });
}

#[test]
fn a_sas_token_works_over_tls_as_well() {
    run(async {
        let mut world = world().await;
        let azurite = &store().azurite;
        world.attributes[0].1 = azurite.url().to_owned();
        // The client of the harness does not know the private CA, the backend
        // does: it makes the container where the token lets it.
        let everything = token("accountEverything");
        let sample = world.push(&given(everything), 2).await.expect("an export");
        world.check_pull(&given(everything), &sample).await;
    });
}
