//! What the tests share: one runtime, one host, one Azurite, and a space of
//! its own in a store for each test.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use blob_store::{BlobStore, EMULATOR_KEY, Options, RunningStore};
use build_cache_host::{Digest, Host, HostOptions, Plugin};
use host_test::azurite::Azurite;
use host_test::conformance::Subject;
use host_test::fixtures;
use host_test::sample::unique;
use host_test::store::{BackDoor, OurContainer};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Attributes, as a plugin takes them.
pub type Attributes = Vec<(String, String)>;

/// Runs a test. All tests share a runtime, as they share a host, whose HTTP
/// connections belong to the runtime that opened them.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    });
    runtime.block_on(test)
}

/// The host.
pub fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::new(HostOptions::default()).expect("a host"))
}

/// The azblob backend.
pub async fn azblob() -> Plugin {
    static AZBLOB: OnceCell<Plugin> = OnceCell::const_new();
    load(&AZBLOB, "azblob").await
}

/// The http backend.
pub async fn http() -> Plugin {
    static HTTP: OnceCell<Plugin> = OnceCell::const_new();
    load(&HTTP, "http").await
}

async fn load(cell: &OnceCell<Plugin>, r#type: &str) -> Plugin {
    let load = async || host().load(fixtures::component(r#type)).await;
    let plugin = cell.get_or_try_init(load).await;
    plugin.expect("a plugin that loads").clone()
}

/// Attributes from names and values.
pub fn attributes<const N: usize>(pairs: [(&str, &str); N]) -> Attributes {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// A blob store of our own, for one test.
pub fn blob_store() -> Arc<RunningStore> {
    let options = Options {
        plain: true,
        ..Options::default()
    };
    Arc::new(BlobStore::start(options).expect("a blob store"))
}

/// The attributes of a container in a blob store of our own.
pub fn azblob_attributes(store: &RunningStore, container: &str) -> Attributes {
    attributes([
        ("account_url", &store.url()),
        ("account_name", store.account()),
        ("secret_access_key", &store.key()),
        ("container", container),
    ])
}

/// azblob on a container of a blob store of our own.
pub async fn azblob_on(store: &Arc<RunningStore>) -> Subject {
    let container = unique("test");
    let raw = OurContainer::new(Arc::clone(store), &container).expect("a container");
    Subject::new(azblob().await, azblob_attributes(store, &container))
        .with_back_door(BackDoor::new(Arc::new(raw), azblob_key))
}

/// Azurite.
pub fn azurite() -> &'static Azurite {
    static AZURITE: OnceLock<Azurite> = OnceLock::new();
    AZURITE.get_or_init(|| Azurite::start().unwrap_or_else(|why| panic!("{why}")))
}

/// azblob on a container of Azurite.
pub async fn azblob_on_azurite() -> Subject {
    let azurite = azurite();
    let container = unique("test");
    let raw = azurite.container(&container).await.expect("a container");
    let attributes = attributes([
        ("account_url", azurite.url()),
        ("secret_access_key", EMULATOR_KEY),
        ("container", &container),
    ]);
    Subject::new(azblob().await, attributes)
        .with_back_door(BackDoor::new(Arc::new(raw), azblob_key))
}

/// The http backend on the plain door of a blob store of our own.
pub async fn http_on(store: &Arc<RunningStore>) -> Subject {
    let raw = OurContainer::new(Arc::clone(store), "plain").expect("a container");
    Subject::new(http().await, attributes([("url", &store.plain_url())]))
        .with_back_door(BackDoor::new(Arc::new(raw), http_key).without_archive())
}

/// Where azblob puts a layer.
fn azblob_key(blob: &Digest) -> String {
    format!("blobs/{blob}")
}

/// Where the http backend puts a layer.
fn http_key(blob: &Digest) -> String {
    format!("blobs/sha256/{}", blob.hex())
}
