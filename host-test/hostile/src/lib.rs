//! A cache backend that means harm, for the tests of the sandbox. It stores
//! nothing: each call answers with nothing, but for the one that `at` names,
//! which does what `do` says. The tests in `tests/harness/hostile*` show what
//! the host makes of it.
//!
//! `deeds` use up what there is to use up, `errands` ask for what was not
//! granted, `lies` answer what no backend may.

mod deeds;
mod errands;
mod lies;

/// The contract in Rust.
#[allow(missing_docs, reason = "the contract documents itself")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "cache-backend" });
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Plugin with_types_in bindings);

use std::collections::BTreeMap;

use bindings::build_cache::plugin::types::{Error, Manifest};
use bindings::exports::build_cache::plugin::backend::{
    self, Access, CacheBorrow, Description, ExportSummary, Imported,
};
use bindings::exports::build_cache::plugin::inventory::{self, BlobInfo, ManifestInfo};
use bindings::exports::build_cache::plugin::layers::{self, Outcome, StoredLayer};
use bindings::exports::build_cache::plugin::names::{self, NamedManifest, Precondition};
use wit_bindgen::{FutureReader, StreamReader};

/// The contract knows no attributes when it asks for a description, so what is
/// to be done then stands here: a word, and what the word is about. The tests
/// replace it in the component's bytes.
static DESCRIBE: [u8; 64] = *b"describe:plain                                                  ";

/// What the user asked for.
struct Orders(BTreeMap<String, String>);

impl Orders {
    fn new(attributes: Vec<(String, String)>) -> Self {
        Self(attributes.into_iter().collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// What is to be done in this call. A second deed may be ordered for another.
    fn at(&self, call: &str) -> &str {
        let orders = [("at", "do"), ("also-at", "also-do")];
        let order = orders.into_iter().find(|(at, _)| self.get(at) == call);
        order.map_or("", |(_, deed)| self.get(deed))
    }

    /// The words of an attribute, with `{port}` as the attribute `port` has it,
    /// and `{dot}` likewise: so the user can give a server without naming it.
    fn words(&self, name: &str) -> impl Iterator<Item = String> {
        let words = self.get(name).split_whitespace();
        words.map(|word| {
            let word = word.replace("{port}", self.get("port"));
            word.replace("{dot}", self.get("dot"))
        })
    }
}

/// The component.
struct Plugin;

/// An open cache, which is nothing but the orders.
struct Cache(Orders);

/// A layer's bytes, and whether they were all.
type Outgoing = (StreamReader<u8>, FutureReader<Result<(), Error>>);

impl backend::Guest for Plugin {
    type Cache = Cache;

    fn describe() -> Description {
        // Read as it stands in memory: the compiler knows another text.
        let text = std::hint::black_box(&DESCRIBE);
        let text = String::from_utf8_lossy(&text["describe:".len()..]);
        let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        deeds::exhaust(word);
        lies::description(word, rest)
    }

    fn authorities(attributes: Vec<(String, String)>) -> Result<Vec<String>, Error> {
        let orders = Orders::new(attributes);
        deeds::exhaust(orders.at("authorities"));
        Ok(orders.words("ask").collect())
    }
}

impl backend::GuestCache for Cache {
    async fn open(_: u64, attributes: Vec<(String, String)>) -> Result<backend::Cache, Error> {
        let orders = Orders::new(attributes);
        misbehave(&orders, "open").await?;
        Ok(backend::Cache::new(Self(orders)))
    }

    async fn export(&self, _: u64, _: Manifest) -> Result<ExportSummary, Error> {
        misbehave(&self.0, "export").await?;
        Ok(lies::summary(self.0.at("export")))
    }

    async fn import(&self, _: u64) -> Result<Vec<Imported>, Error> {
        misbehave(&self.0, "import").await?;
        Ok(lies::imported(self.0.at("import")))
    }

    async fn check(&self, _: u64) -> Result<Access, Error> {
        misbehave(&self.0, "check").await?;
        Ok(lies::access(self.0.at("check")))
    }
}

impl layers::Guest for Plugin {
    async fn find(
        cache: CacheBorrow<'_>,
        _: u64,
        blobs: Vec<String>,
    ) -> Result<Vec<Option<StoredLayer>>, Error> {
        let orders = &cache.get::<Cache>().0;
        misbehave(orders, "find").await?;
        Ok(lies::found(orders.at("find"), blobs.len()))
    }

    async fn store(cache: CacheBorrow<'_>, _: u64, _: String, _: u64) -> Result<Outcome, Error> {
        misbehave(&cache.get::<Cache>().0, "store").await?;
        Ok(Outcome::Reused)
    }

    async fn read(
        cache: CacheBorrow<'_>,
        _: u64,
        _: String,
        _: u64,
        _: Option<u64>,
    ) -> Result<Option<Outgoing>, Error> {
        let orders = &cache.get::<Cache>().0;
        misbehave(orders, "read").await?;
        Ok(lies::layer(orders.at("read")))
    }

    async fn touch(cache: CacheBorrow<'_>, _: u64, blobs: Vec<String>) -> Result<Vec<bool>, Error> {
        let orders = &cache.get::<Cache>().0;
        misbehave(orders, "touch").await?;
        let lie = usize::from(orders.at("touch") == "too-many");
        Ok(vec![true; blobs.len() + lie])
    }
}

impl names::Guest for Plugin {
    fn configured(cache: CacheBorrow<'_>) -> Vec<String> {
        lies::names(cache.get::<Cache>().0.at("configured"))
    }

    async fn load(
        cache: CacheBorrow<'_>,
        _: u64,
        _: String,
    ) -> Result<Option<NamedManifest>, Error> {
        let orders = &cache.get::<Cache>().0;
        misbehave(orders, "load").await?;
        Ok(lies::named(orders.at("load")))
    }

    async fn publish(
        cache: CacheBorrow<'_>,
        _: u64,
        _: Vec<String>,
        _: Manifest,
        _: Precondition,
        _: Option<u64>,
    ) -> Result<(), Error> {
        let orders = &cache.get::<Cache>().0;
        misbehave(orders, "publish").await?;
        lies::missing(orders.at("publish")).map_or(Ok(()), |lie| Err(Error::MissingLayers(lie)))
    }
}

/// Does what the orders say of this call, whatever is no answer.
async fn misbehave(orders: &Orders, call: &str) -> Result<(), Error> {
    let deed = orders.at(call);
    deeds::exhaust(deed);
    deeds::hold(deed).await;
    errands::run(deed, orders).await
}

/// A listing, and whether it was all.
type Listing<T> = (StreamReader<T>, FutureReader<Result<(), Error>>);

impl inventory::Guest for Plugin {
    async fn manifests(cache: CacheBorrow<'_>, _: u64) -> Result<Listing<ManifestInfo>, Error> {
        Ok(lies::manifests(cache.get::<Cache>().0.at("manifests")))
    }

    async fn blobs(cache: CacheBorrow<'_>, _: u64) -> Result<Listing<BlobInfo>, Error> {
        Ok(lies::blobs(cache.get::<Cache>().0.at("blobs")))
    }

    async fn remove_blob(_: CacheBorrow<'_>, _: u64, _: BlobInfo) -> Result<bool, Error> {
        Ok(true)
    }

    async fn remove_manifest(_: CacheBorrow<'_>, _: u64, _: ManifestInfo) -> Result<bool, Error> {
        Ok(true)
    }
}
