//! The cache against a store that lives in the test.

mod checking;
mod exporting;
mod importing;
mod listing;
mod looking_up;
mod manifests;
mod one_blob;
mod publishing;
mod single;
mod store;

use crate::cache::Cache;
use crate::cache::manifest::{Layer, Manifest};
use crate::config::Config;
use crate::digest::Digest;
use crate::transport::scripted::{Answer, Scripted};
use crate::transport::{Request, Transport};

/// A cache with these attributes beside what every test needs.
fn open<T: Transport>(transport: T, extra: &[(&str, &str)]) -> Cache<T> {
    let base = [
        ("account_url", "http://127.0.0.1:10000/devstoreaccount1"),
        ("secret_access_key", "a2V5"),
    ];
    let attributes = base.iter().chain(extra);
    let attributes = attributes.map(|(name, value)| (name.to_string(), value.to_string()));
    let config = Config::parse(attributes.collect(), Vec::new()).unwrap();
    Cache::open(transport, config).unwrap()
}

/// A cache over a script.
fn scripted<F: Fn(&Request) -> Answer>(extra: &[(&str, &str)], script: F) -> Cache<Scripted<F>> {
    open(Scripted::new(script), extra)
}

/// A cache over a script, read without a credential.
fn nobody<F: Fn(&Request) -> Answer>(script: F) -> Cache<Scripted<F>> {
    let attributes = [
        ("account_url", "http://127.0.0.1:10000/devstoreaccount1"),
        ("anonymous", "true"),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::parse(attributes.into(), Vec::new()).unwrap();
    Cache::open(Scripted::new(script), config).unwrap()
}

/// The digest of test layer `number`.
fn digest(number: u32) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

/// A cache of layers with these sizes, one upon the other.
fn layers(sizes: &[u64]) -> Manifest {
    let layers = (0..).zip(sizes).map(|(index, &size)| Layer {
        blob: match size {
            0 => Digest::OF_NOTHING,
            _ => digest(index),
        },
        size,
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        diff_id: digest(1000 + index),
        created_at: None,
        parent: index.checked_sub(1),
    });
    Manifest {
        layers: layers.collect(),
        records:
            r#"[{"layers":[{"layer":0,"createdAt":"2026-01-01T00:00:00Z"}],"digest":"sha256:a"}]"#
                .to_owned(),
    }
}
