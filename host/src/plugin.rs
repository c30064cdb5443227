//! A plugin: a compiled component that was checked against the contract's
//! world, ready to open caches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::bindings::{CacheBackend, CacheBackendPre};
use crate::files::LentFiles;
use crate::instance::{Instance, Opening};
use crate::limits;
use crate::listener::OnEvent;
use crate::state::State;
use crate::text::Scrubber;
use crate::{Cache, Content, Description, Digest, Error, Event, Grants, Host, Identity, Policy};
use crate::{nearest, secrets, typed};

/// The package of the contract, and the version of it that this host speaks.
const CONTRACT: &str = "build-cache:plugin/";
const CONTRACT_VERSION: &str = "0.1";

/// How long a plugin may think about what it is.
const DESCRIBE_TIME: Duration = Duration::from_secs(5);

/// The largest component that is compiled, in bytes. Those here have less than
/// one megabyte; ones with a language's whole runtime have some ten.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// A loaded plugin. Cheap to clone; clones share the compiled code.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    host: Host,
    pre: CacheBackendPre<State>,
    name: String,
    digest: Digest,
    size: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    description: Description,
}

/// What an opened cache is given beside its attributes.
#[derive(Clone, Default)]
pub struct OpenOptions {
    /// What the instance may reach and use.
    pub grants: Grants,
    /// The layers that an export reads. Without it there are none.
    pub content: Option<Arc<dyn Content>>,
    /// Hears of events, on the thread that runs the plugin: it must be quick.
    pub on_event: Option<OnEvent>,
    /// Whose tokens the backend may ask for. Without it there are none.
    pub identity: Option<Arc<dyn Identity>>,
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.0.name)
            .field("digest", &self.0.digest)
            .field("type", &self.0.description.r#type)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    pub(crate) async fn load(host: Host, name: String, wasm: Vec<u8>) -> Result<Self, Error> {
        check_is_component(&name, &wasm)?;
        let digest = Digest::of(&wasm);
        let size = wasm.len();
        let component = tokio::task::spawn_blocking({
            let (host, name) = (host.clone(), name.clone());
            move || {
                host.compile(&wasm).map_err(|error| Error::NotABackend {
                    plugin: name,
                    reason: format!("it does not compile: {error:#}"),
                })
            }
        })
        .await
        .map_err(|error| Error::Setup(error.to_string()))??;

        let (imports, exports) = check_world(&host, &name, &component)?;
        let pre = host
            .linker()
            .instantiate_pre(&component)
            .and_then(CacheBackendPre::new)
            .map_err(|error| Error::NotABackend {
                plugin: name.clone(),
                reason: format!("it does not fit the world `cache-backend`: {error:#}"),
            })?;
        let description = describe(&host, &pre, &name).await?;
        Ok(Self(Arc::new(Inner {
            host,
            pre,
            name,
            digest,
            size,
            imports,
            exports,
            description,
        })))
    }

    /// What the backend reports about itself.
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// The file that it was loaded from, or the name that it was given.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The digest of the component's bytes.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// The component's size, in bytes.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// The interfaces that the component imports, sorted.
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// The interfaces that the component exports, sorted.
    pub fn exports(&self) -> &[String] {
        &self.0.exports
    }

    /// Opens a cache in an instance of its own. `attributes` are the user's,
    /// without `type`, `mode` and `ignore-error`. Of the granted variables the
    /// plugin sees those that its description asks for.
    pub async fn open(
        &self,
        attributes: &[(String, String)],
        mut options: OpenOptions,
    ) -> Result<Cache, Error> {
        let description = &self.0.description;
        options.grants.variables.keep_described(description);
        let policy = options.grants.policy.take();
        let policy = policy.unwrap_or_else(|| Policy::of_type(&description.r#type));
        self.0.host.client().check_proxies()?;
        let scrubber = Arc::new(Scrubber::new(self.secrets(attributes, &options.grants)));
        let on_event = options.on_event.unwrap_or_else(|| Arc::new(|_: Event| ()));
        let mut state = State::new(
            &self.0.name,
            self.0.host.client(),
            &options.grants,
            on_event,
            Arc::clone(&scrubber),
        );
        if let Some(content) = options.content {
            state.content = content;
        }
        state.files = Arc::new(LentFiles::decide(&options.grants, &policy, description));
        state.identity = options.identity;
        state.scopes = policy.judge(description).0.scopes;
        let opening = Opening {
            plugin: self.0.name.clone(),
            description: self.0.description.clone(),
            attributes: attributes.to_vec(),
            grants: options.grants,
            policy,
        };
        let instance = Instance::start(self.0.host.engine(), self.0.pre.clone(), state, opening)
            .await
            .map_err(|error| self.with_hint(error))?;
        Ok(Cache::new(instance, scrubber))
    }

    /// The error, with the attribute that may have been meant.
    fn with_hint(&self, error: Error) -> Error {
        match error {
            Error::InvalidAttribute { name, reason } => {
                let hint = nearest::hint(&name, &self.0.description);
                let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                let reason = reason + &hint;
                Error::InvalidAttribute { name, reason }
            }
            error => error,
        }
    }

    /// Whether the other is this very plugin, not one that was loaded again.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What must never be shown: the values of the attributes and variables
    /// that the backend calls secret, and what may be secret in others: in a
    /// URL, or behind a name that sounds like a secret's, as in a line whose
    /// separators are wrong.
    fn secrets(&self, attributes: &[(String, String)], grants: &Grants) -> Vec<String> {
        let description = &self.0.description;
        let attributes = attributes.iter().flat_map(|(name, value)| {
            let mut known = description.attributes.iter();
            match known.find(|known| known.name == *name) {
                Some(known) if known.secret => vec![value.clone()],
                Some(_) => secrets::within(value),
                None => typed::secrets(&format!("{name}={value}")),
            }
        });
        let variables = grants.variables.iter().flat_map(|(name, value)| {
            let mut known = description.environment.iter();
            match known.any(|known| known.secret && known.name == name) {
                true => vec![value.to_owned()],
                false => secrets::within(value),
            }
        });
        attributes.chain(variables).collect()
    }
}

/// Asks the backend what it is, in an instance that is granted nothing.
async fn describe(
    host: &Host,
    pre: &CacheBackendPre<State>,
    name: &str,
) -> Result<Description, Error> {
    let grants = Grants {
        compute_time: DESCRIBE_TIME,
        ..Grants::default()
    };
    let on_event = Arc::new(|_| ());
    let state = State::new(name, host.client(), &grants, on_event, Arc::default());
    let mut store = Store::new(host.engine(), state);
    limits::apply(&mut store);
    let described = async {
        let backend: CacheBackend = pre.instantiate_async(&mut store).await?;
        let backend = backend.build_cache_plugin_backend();
        backend.call_describe(&mut store).await
    };
    described
        .await
        .map(Description::from)
        .map_err(|error| Error::PluginFailed {
            plugin: name.to_owned(),
            reason: Scrubber::default().clean(&limits::explain(&error, &store.data().limits)),
        })
}

/// Distinguishes a component from other files that users give instead.
fn check_is_component(name: &str, wasm: &[u8]) -> Result<(), Error> {
    const MAGIC: &[u8] = b"\0asm";
    const MODULE: &[u8] = &[1, 0, 0, 0];
    let reason = if wasm.is_empty() {
        "the file is empty"
    } else if wasm.len() > MAX_BYTES {
        "it is larger than 64 MiB"
    } else if !wasm.starts_with(MAGIC) {
        "it is not a WebAssembly file"
    } else if wasm[MAGIC.len()..].starts_with(MODULE) {
        "it is a core module; make it a component first (`wasm-tools component new`)"
    } else {
        return Ok(());
    };
    Err(Error::NotABackend {
        plugin: name.to_owned(),
        reason: reason.into(),
    })
}

/// Checks by name what the component asks for and gives, so that a component
/// of another world, or of another version of the contract, is distinguished
/// from a broken one. Returns its imports and exports.
fn check_world(
    host: &Host,
    name: &str,
    component: &Component,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let ty = component.component_type();
    let mut imports: Vec<_> = ty
        .imports(host.engine())
        .map(|(n, _)| n.to_owned())
        .collect();
    let mut exports: Vec<_> = ty
        .exports(host.engine())
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
        .map(|(n, _)| n.to_owned())
        .collect();
    imports.sort();
    exports.sort();

    let refused = |reason: String| Error::NotABackend {
        plugin: name.to_owned(),
        reason: Scrubber::default().clean(&reason),
    };
    let ours = format!("@{CONTRACT_VERSION}.");
    if let Some(other) = exports
        .iter()
        .find(|e| e.starts_with(CONTRACT) && !e.contains(&ours))
    {
        return Err(refused(format!(
            "it exports {other}, and this host speaks version {CONTRACT_VERSION} of the contract; \
             take a plugin that was built for it"
        )));
    }
    for interface in ["backend", "inventory"] {
        let wanted = format!("{CONTRACT}{interface}{ours}");
        if !exports.iter().any(|e| e.starts_with(&wanted)) {
            return Err(refused(format!(
                "it does not export {CONTRACT}{interface}@{CONTRACT_VERSION}; it is a component \
                 of another world"
            )));
        }
    }
    if let Some(foreign) = imports.iter().find(|import| !may_import(import)) {
        return Err(refused(format!(
            "it imports {foreign}, which the contract does not give a backend"
        )));
    }
    Ok((imports, exports))
}

/// Whether the contract gives a backend this import.
fn may_import(import: &str) -> bool {
    const INTERFACES: [&str; 14] = [
        "build-cache:plugin/types@0.1.",
        "build-cache:plugin/content@0.1.",
        "build-cache:plugin/events@0.1.",
        "build-cache:plugin/identity@0.1.",
        "build-cache:plugin/files@0.1.",
        "wasi:http/types@0.3.",
        "wasi:http/client@0.3.",
        "wasi:clocks/types@0.3.",
        "wasi:clocks/monotonic-clock@0.3.",
        "wasi:clocks/system-clock@0.3.",
        "wasi:random/random@0.3.",
        "wasi:cli/environment@0.3.",
        "wasi:filesystem/types@0.3.",
        "wasi:filesystem/preopens@0.3.",
    ];
    INTERFACES.iter().any(|known| import.starts_with(known))
}
