//! The plugins of a running host by the type that they serve, and swapping
//! one for another while calls run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{Error, Lifecycle, LiveCache, OpenOptions, Plugin};

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

    /// A cache for as long as the host runs, which follows swaps: see
    /// [`LiveCache`]. Its instances have the default [`Lifecycle`].
    pub fn live(
        self: &Arc<Self>,
        r#type: &str,
        attributes: Vec<(String, String)>,
        options: OpenOptions,
    ) -> LiveCache {
        self.live_with(r#type, attributes, options, Lifecycle::default())
    }

    /// The same, with a life cycle of the caller's choice.
    pub fn live_with(
        self: &Arc<Self>,
        r#type: &str,
        attributes: Vec<(String, String)>,
        options: OpenOptions,
        lifecycle: Lifecycle,
    ) -> LiveCache {
        LiveCache::new(Arc::clone(self), r#type, attributes, options, lifecycle)
    }
}
