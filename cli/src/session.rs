//! From what the user wrote to an open cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use build_cache_host::{
    Cache, CacheSpec, Content, Description, Event, Grants, Host, HostOptions, HttpOptions,
    OpenOptions, Plugin, Policy,
};

use crate::args::{GrantArgs, NetworkArgs, PluginArgs};
use crate::console::Console;
use crate::failure::Misuse;
use crate::{search, secrets, tools};

/// Hears of events, on the thread that runs the plugin.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// A plugin, and what it is trusted with.
pub struct Loaded {
    pub plugin: Plugin,
    pub policy: Policy,
}

/// Loads the plugin for the type of `spec`. The user chose its file for this
/// type, so it is trusted with what plugins of the type are, and with what
/// `--grant` names.
pub async fn load(spec: &CacheSpec, plugin: &PluginArgs, network: &NetworkArgs) -> Result<Loaded> {
    let grants = &plugin.grants;
    let folders = search::folders(plugin.folders.plugin_dir.as_deref());
    let path = match &plugin.plugin {
        Some(path) => path.clone(),
        None => search::find(&spec.r#type, &folders)?,
    };
    let plugin = host(Some(network))?.load(&path).await?;
    let serves = &plugin.description().r#type;
    if *serves != spec.r#type {
        let (path, wanted) = (path.display(), &spec.r#type);
        return Err(Misuse(format!(
            "{path} is a plugin for `type={serves}`, not for `type={wanted}`"
        ))
        .into());
    }
    let policy = policy(plugin.description(), grants)?;
    Ok(Loaded { plugin, policy })
}

/// What a plugin of this description is trusted with. What is granted, and not
/// asked for, is a typing error.
pub fn policy(description: &Description, grants: &GrantArgs) -> Result<Policy, Misuse> {
    let mut policy = Policy::of_type(&description.r#type);
    for what in &grants.grant {
        let granted = policy.grant(what);
        granted.map_err(|error| Misuse(format!("--grant: {error}")))?;
        if !policy.judge(description).0.contains(what) {
            return Err(Misuse(format!(
                "--grant: the plugin for `type={}` does not ask for `{what}`: `build-cache plugin \
                 inspect FILE.wasm` shows what it asks for",
                description.r#type
            )));
        }
    }
    Ok(policy)
}

/// Opens the cache that `spec` names. The plugin sees the variables that it is
/// trusted with, reaches what they and the attributes name, and may ask for a
/// token of the developer's tools.
pub async fn open(
    loaded: &Loaded,
    spec: &CacheSpec,
    content: Option<Arc<dyn Content>>,
    on_event: OnEvent,
    console: &Console,
) -> Result<Cache> {
    let (attributes, options) = how_to_open(loaded, spec, content, on_event, console)?;
    Ok(loaded.plugin.open(&attributes, options).await?)
}

/// What [`open`] opens a cache with, for those who open it again and again.
pub fn how_to_open(
    loaded: &Loaded,
    spec: &CacheSpec,
    content: Option<Arc<dyn Content>>,
    on_event: OnEvent,
    console: &Console,
) -> Result<(Vec<(String, String)>, OpenOptions)> {
    let Loaded { plugin, policy } = loaded;
    let attributes = secrets::read_files(&spec.attributes, plugin.description())?;
    secrets::of(&attributes, plugin.description()).for_each(|secret| console.hide(&secret));
    let options = OpenOptions {
        grants: Grants::by_policy(policy.clone(), plugin.description()),
        content,
        on_event: Some(on_event),
        identity: Some(Arc::new(tools::identities())),
    };
    Ok((attributes, options))
}

/// Sets up a host that keeps compiled plugins in the user's cache folder.
pub fn host(network: Option<&NetworkArgs>) -> Result<Host> {
    let http = network.map(http_options).transpose()?.unwrap_or_default();
    let compiled_cache = dirs::cache_dir().map(|cache| cache.join("build-cache").join("compiled"));
    Ok(Host::new(HostOptions {
        compiled_cache,
        http,
    })?)
}

fn http_options(network: &NetworkArgs) -> Result<HttpOptions> {
    let read = |path: &PathBuf| read_authorities(path);
    Ok(HttpOptions {
        connect_timeout: Duration::from_secs(network.connect_timeout),
        idle_timeout: Duration::from_secs(network.idle_timeout),
        extra_roots_pem: network.ca_file.iter().map(read).collect::<Result<_>>()?,
    })
}

fn read_authorities(path: &Path) -> Result<Vec<u8>> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if !pem.windows(marker.len()).any(|part| part == marker) {
        let path = path.display();
        return Err(Misuse(format!("{path} holds no certificate in PEM form")).into());
    }
    Ok(pem)
}
