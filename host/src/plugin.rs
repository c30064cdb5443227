//! A plugin: a compiled component that was checked against the contract's
//! world, ready to open caches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::contract::{Contract, Pre};
use crate::files::LentFiles;
use crate::instance::{Instance, Opening};
use crate::limits;
use crate::listener::OnEvent;
use crate::state::State;
use crate::text::Scrubber;
use crate::{Cache, Content, Description, Digest, Error, Event, Grants, Host, Identity, Policy};
use crate::{nearest, secrets, typed};

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
    contract: Contract,
    pre: Pre,
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

        let (imports, exports) = interfaces(&host, &component);
        let refused = |reason: String| Error::NotABackend {
            plugin: name.clone(),
            reason: Scrubber::default().clean(&reason),
        };
        let contract = Contract::of(&imports, &exports).map_err(refused)?;
        let pre = host
            .linker()
            .instantiate_pre(&component)
            .and_then(|pre| Pre::new(contract, pre))
            .map_err(|error| {
                refused(format!(
                    "it does not fit the world `cache-backend` of version {contract} of the \
                     contract: {error:#}"
                ))
            })?;
        let description = describe(&host, &pre, &name).await?;
        Ok(Self(Arc::new(Inner {
            host,
            contract,
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

    /// The version of the contract that it speaks.
    pub fn contract(&self) -> Contract {
        self.0.contract
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
        let traffic = state.hooks.traffic();
        let opening = Opening {
            plugin: self.0.name.clone(),
            description: self.0.description.clone(),
            attributes: attributes.to_vec(),
            grants: options.grants,
            policy,
        };
        let started = Instance::start(self.0.host.engine(), self.0.pre.clone(), state, opening);
        let instance = started.await;
        let instance =
            instance.map_err(|error| self.with_hint(error.through(traffic.through())))?;
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
async fn describe(host: &Host, pre: &Pre, name: &str) -> Result<Description, Error> {
    let grants = Grants {
        compute_time: DESCRIBE_TIME,
        ..Grants::default()
    };
    let on_event = Arc::new(|_| ());
    let state = State::new(name, host.client(), &grants, on_event, Arc::default());
    let mut store = Store::new(host.engine(), state);
    limits::apply(&mut store);
    let described = async {
        let backend = pre.instantiate(&mut store).await?;
        backend.describe(&mut store).await
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

/// The interfaces that a component imports and exports, sorted.
fn interfaces(host: &Host, component: &Component) -> (Vec<String>, Vec<String>) {
    let ty = component.component_type();
    let imports = ty.imports(host.engine());
    let mut imports: Vec<_> = imports.map(|(name, _)| name.to_owned()).collect();
    let exports = ty.exports(host.engine());
    let mut exports: Vec<_> = exports
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
        .map(|(name, _)| name.to_owned())
        .collect();
    imports.sort();
    exports.sort();
    (imports, exports)
}
