//! From what the user wrote to a gateway that could serve.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use build_cache_gateway::{
    CacheStore, Gateway, Notice, OnNotice, Options, Password, ServingPlugin, Spool, Stats, Store,
};
use build_cache_host::{CacheSpec, Content, Contract, Event, Registry};
use indicatif::DecimalBytes;

use super::args::GatewayArgs;
use super::failed_store::FailedStore;
use crate::console::{Console, number, seconds};
use crate::failure::{self, Misuse};
use crate::session::{self, Loaded};

/// The plugins behind a gateway, and how to load them again.
pub struct Plugins {
    registry: Arc<Registry>,
    specs: Vec<(String, CacheSpec)>,
    stats: Arc<Stats>,
}

/// A name for a store in messages, and the store.
type Named = (String, Arc<dyn Store>);

/// Loads the plugins and makes the gateway. Sends no request to a store.
pub async fn gateway(
    args: &GatewayArgs,
    password: Option<Password>,
    hosts: Vec<String>,
    console: &Console,
) -> Result<(Gateway, Plugins)> {
    let to: Option<CacheSpec> = args.to.as_deref().map(parse("--to")).transpose()?;
    let from = args.from.iter().map(String::as_str).map(parse("--from"));
    let from: Vec<CacheSpec> = from.collect::<Result<_>>()?;
    let stats = Stats::new(Some(notices(console)));
    let spool = open_spool(args)?;
    let registry = Arc::new(Registry::default());
    let mut plugins = Plugins {
        registry,
        specs: Vec::new(),
        stats: Arc::clone(&stats),
    };
    let options = Options {
        names: args.name_template.clone(),
        password,
        hosts,
        write_behind: args.write_behind,
        ignore_errors: to.as_ref().is_some_and(|to| to.ignore_error),
        ..Options::default()
    };
    let to = match to {
        Some(spec) => Some(
            plugins
                .open("--to", spec, args, Some(&spool), console)
                .await?,
        ),
        None => None,
    };
    let mut stores = Vec::new();
    for spec in from {
        stores.push(plugins.open("--from", spec, args, None, console).await?);
    }
    plugins.show();
    let gateway = Gateway::new(options, spool, to, stores, stats);
    Ok((gateway, plugins))
}

fn parse(option: &'static str) -> impl Fn(&str) -> Result<CacheSpec> {
    move |text| {
        let spec: CacheSpec = text.parse().context(option)?;
        if spec.mode.is_some() {
            return Err(Misuse(format!(
                "{option}: `mode` has no meaning here, since the builder chooses what it sends: \
                 give it to `--cache-to type=registry,…,mode=max`"
            ))
            .into());
        }
        Ok(spec)
    }
}

/// Where layers wait when the user names no place.
pub fn default_spool() -> PathBuf {
    let cache = dirs::cache_dir().map(|cache| cache.join("build-cache").join("spool"));
    cache.unwrap_or_else(|| std::env::temp_dir().join("build-cache-spool"))
}

fn open_spool(args: &GatewayArgs) -> Result<Arc<Spool>> {
    let place = args.spool.clone().unwrap_or_else(default_spool);
    let spool = Spool::open(&place, args.spool_size);
    spool.with_context(|| {
        format!(
            "cannot use {} as the spool; --spool chooses another place",
            place.display()
        )
    })
}

impl Plugins {
    /// Opens one store. Where its errors are to be ignored, one that cannot be
    /// opened becomes a store that fails.
    async fn open(
        &mut self,
        role: &'static str,
        spec: CacheSpec,
        args: &GatewayArgs,
        spool: Option<&Arc<Spool>>,
        console: &Console,
    ) -> Result<Named> {
        let label = spec.r#type.clone();
        match self.try_open(role, &spec, args, spool, console).await {
            Ok(store) => Ok((label, Arc::new(store))),
            Err(error) if spec.ignore_error => {
                let reason = failure::message(&error);
                console.warn(&format!(
                    "{role}: the cache is not used, which ignore-error=true allows: {reason}"
                ));
                Ok((label, Arc::new(FailedStore(reason))))
            }
            Err(error) => Err(error),
        }
    }

    async fn try_open(
        &mut self,
        role: &'static str,
        spec: &CacheSpec,
        args: &GatewayArgs,
        spool: Option<&Arc<Spool>>,
        console: &Console,
    ) -> Result<CacheStore> {
        let loaded = match self.registry.get(&spec.r#type) {
            Ok(plugin) => Loaded {
                policy: session::policy(plugin.description(), &args.plugin.grants)?,
                plugin,
            },
            Err(_) => {
                let loaded = load(spec, args).await?;
                self.registry
                    .install_as(&spec.r#type, loaded.plugin.clone());
                loaded
            }
        };
        let stats = Arc::clone(&self.stats);
        let on_event = Arc::new(move |event: Event| stats.on_event(&event));
        let content = spool.map(|spool| Arc::clone(spool) as Arc<dyn Content>);
        let (attributes, options) =
            session::how_to_open(&loaded, spec, content, on_event, console)?;
        // What cannot be opened should be said before a build begins.
        loaded.plugin.open(&attributes, options.clone()).await?;
        let live = self.registry.live(&spec.r#type, attributes, options);
        self.specs.push((role.to_owned(), spec.clone()));
        Ok(CacheStore::new(live))
    }

    /// Loads each plugin again, and lets it serve if it is another one. A file
    /// that is not a plugin changes nothing.
    pub async fn reload(&self, args: &GatewayArgs, console: &Console) {
        let mut types: HashMap<&str, &CacheSpec> = HashMap::new();
        for (_, spec) in &self.specs {
            types.insert(&spec.r#type, spec);
        }
        for (r#type, spec) in types {
            let before = self.registry.get(r#type).ok();
            match load(spec, args).await {
                Ok(Loaded { plugin, .. })
                    if before.is_some_and(|before| before.digest() == plugin.digest()) =>
                {
                    console.note(&format!("the plugin for type={type} is the same as before"));
                }
                Ok(Loaded { plugin, .. }) => {
                    let (version, digest) = (&plugin.description().version, plugin.digest());
                    console.note(&format!(
                        "type={type} is served by version {version} ({digest}) from now on"
                    ));
                    self.registry.install_as(r#type, plugin);
                }
                Err(error) => console.warn(&format!(
                    "the plugin for type={type} stays the one it was: {}",
                    failure::message(&error)
                )),
            }
        }
        self.show();
    }

    /// The files that the plugins were loaded from.
    pub fn files(&self) -> Vec<PathBuf> {
        let plugins = self.specs.iter().filter_map(|(_, spec)| {
            let plugin = self.registry.get(&spec.r#type).ok()?;
            Some(Path::new(plugin.name()).to_owned())
        });
        plugins.collect()
    }

    fn show(&self) {
        let serving = self.specs.iter().filter_map(|(role, spec)| {
            let plugin = self.registry.get(&spec.r#type).ok()?;
            Some(ServingPlugin {
                role: role.trim_start_matches('-').to_owned(),
                r#type: spec.r#type.clone(),
                version: plugin.description().version.clone(),
                digest: plugin.digest().clone(),
            })
        });
        self.stats.set_plugins(serving.collect());
    }
}

async fn load(spec: &CacheSpec, args: &GatewayArgs) -> Result<Loaded> {
    let loaded = session::load(spec, &args.plugin, &args.network).await?;
    let plugin = &loaded.plugin;
    if plugin.contract() == Contract::V0_1 {
        let name = plugin.name();
        return Err(Misuse(format!(
            "{name} speaks version {} of the contract, in which a cache is stored as a whole; \
             `serve` and `with` need a plugin of version {}",
            Contract::V0_1,
            Contract::V0_2,
        ))
        .into());
    }
    Ok(loaded)
}

/// Shows what happens, as lines for people or as JSON.
fn notices(console: &Console) -> OnNotice {
    let console = console.clone();
    Arc::new(move |notice: &Notice| {
        if console.is_json() {
            console.event(notice);
            return;
        }
        match notice {
            Notice::Warning { text } => console.warn(text),
            Notice::Absent { name } => console.note(&format!("{name}: not there")),
            Notice::Imported {
                name,
                layers,
                bytes,
                left_out,
            } => {
                let left_out = match left_out {
                    0 => String::new(),
                    count => format!(", without {}", number(*count, "layer")),
                };
                let (layers, bytes) = (number(*layers, "layer"), DecimalBytes(*bytes));
                console.note(&format!("{name}: given, {layers}, {bytes}{left_out}"));
            }
            Notice::Published {
                name,
                layers,
                bytes,
            } => {
                let (layers, bytes) = (number(*layers, "layer"), DecimalBytes(*bytes));
                console.note(&format!("{name}: stored, {layers}, {bytes}"));
            }
            Notice::Stored {
                blob,
                bytes,
                reused,
                seconds: took,
            } => {
                let what = if *reused { "was there" } else { "stored" };
                let (bytes, took) = (DecimalBytes(*bytes), seconds(*took));
                console.detail(&format!("{blob} {what}, {bytes}, {took}"));
            }
            Notice::Request {
                method,
                path,
                status,
                seconds: took,
            } => console.detail(&format!("{method} {path} {status}, {}", seconds(*took))),
        }
    })
}
