//! The plugins of a running host by the type that they serve, and swapping
//! one for another while calls run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::{Cache, Error, OpenOptions, Plugin};

/// Maps a type to the plugin that serves it. A swap is atomic: who asks after
/// it gets the new plugin, and caches that are open stay with the old one
/// until they are dropped.
#[derive(Default)]
pub struct Registry {
    plugins: ArcSwap<BTreeMap<String, Plugin>>,
}

impl Registry {
    /// Lets the plugin serve the type that it names itself. Returns the plugin
    /// that served it so far.
    pub fn install(&self, plugin: Plugin) -> Option<Plugin> {
        let r#type = plugin.description().r#type.clone();
        self.install_as(&r#type, plugin)
    }

    /// Lets the plugin serve `type`, whatever it names itself.
    pub fn install_as(&self, r#type: &str, plugin: Plugin) -> Option<Plugin> {
        let before = self.plugins.rcu(|plugins| {
            let mut plugins = BTreeMap::clone(plugins);
            plugins.insert(r#type.to_owned(), plugin.clone());
            plugins
        });
        before.get(r#type).cloned()
    }

    /// Lets no plugin serve `type` any more. Returns the one that did.
    pub fn remove(&self, r#type: &str) -> Option<Plugin> {
        let before = self.plugins.rcu(|plugins| {
            let mut plugins = BTreeMap::clone(plugins);
            plugins.remove(r#type);
            plugins
        });
        before.get(r#type).cloned()
    }

    /// The plugin that serves `type` now.
    pub fn get(&self, r#type: &str) -> Result<Plugin, Error> {
        let plugins = self.plugins.load();
        plugins
            .get(r#type)
            .cloned()
            .ok_or_else(|| Error::UnknownType {
                wanted: r#type.to_owned(),
                known: plugins.keys().cloned().collect(),
            })
    }

    /// A cache that follows swaps: see [`LiveCache`].
    pub fn live(
        self: &Arc<Self>,
        r#type: &str,
        attributes: Vec<(String, String)>,
        options: OpenOptions,
    ) -> LiveCache {
        LiveCache {
            registry: Arc::clone(self),
            r#type: r#type.to_owned(),
            attributes,
            options,
            open: Mutex::default(),
        }
    }
}

/// A cache for as long as the host runs: each [`LiveCache::get`] gives one that
/// the plugin of the moment serves. Calls that run on an earlier one finish
/// there.
pub struct LiveCache {
    registry: Arc<Registry>,
    r#type: String,
    attributes: Vec<(String, String)>,
    options: OpenOptions,
    open: Mutex<Option<(Plugin, Cache)>>,
}

impl LiveCache {
    /// The cache to use for the next call. Opens it when there is none yet, and
    /// when another plugin serves the type since.
    pub async fn get(&self) -> Result<Cache, Error> {
        let plugin = self.registry.get(&self.r#type)?;
        let mut open = self.open.lock().await;
        if let Some((by, cache)) = &*open
            && by.is(&plugin)
        {
            return Ok(cache.clone());
        }
        let cache = plugin.open(&self.attributes, self.options.clone()).await?;
        *open = Some((plugin, cache.clone()));
        Ok(cache)
    }
}
