//! The host: one wasmtime engine, one HTTP client and one place for compiled
//! components, shared by every plugin it loads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine};

use crate::bindings::build_cache::plugin::{content, events, files, identity, types};
use crate::capacity::{self, Reservation};
use crate::compiled::CompiledCache;
use crate::http::{HttpClient, HttpOptions};
use crate::state::{Imports, State, TICK};
use crate::{Error, Plugin, contract, plugin};

/// How a [`Host`] is set up.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// Where compiled components are kept: a directory of this user's alone,
    /// made where it is missing. Without one, each load compiles.
    pub compiled_cache: Option<PathBuf>,
    /// Time-outs and certificate authorities.
    pub http: HttpOptions,
}

/// Loads and runs plugins. Cheap to clone; clones share everything.
///
/// Its calls belong on a multi-threaded Tokio runtime.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    client: HttpClient,
    compiled: Option<CompiledCache>,
}

impl Host {
    /// Sets up a host.
    pub fn new(options: HostOptions) -> Result<Self, Error> {
        let setup = |error: wasmtime::Error| Error::Setup(format!("{error:#}"));
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        config.epoch_interruption(true);
        config.parallel_compilation(capacity::may_compile_in_parallel());
        if let Some(little) = Reservation::within(capacity::address_space()) {
            config.memory_reservation(little.memory);
            config.memory_reservation_for_growth(little.growth);
            config.memory_guard_size(little.guard);
        }
        let engine = Engine::new(&config).map_err(setup)?;
        start_ticking(&engine).map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            linker: linker(&engine).map_err(setup)?,
            client: HttpClient::new(&options.http)?,
            compiled: options.compiled_cache.map(CompiledCache::new),
            engine,
        })))
    }

    /// Loads a plugin from a file, checks it against the contract's world, and
    /// asks it what it is. Nothing of the plugin runs before the check.
    pub async fn load(&self, path: impl AsRef<Path>) -> Result<Plugin, Error> {
        let path = path.as_ref();
        let wasm = read(path).await.map_err(|source| Error::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        self.load_bytes(&path.display().to_string(), wasm).await
    }

    /// Loads a plugin from its bytes, as [`Host::load`] does. `name` stands
    /// for it in errors.
    pub async fn load_bytes(&self, name: &str, wasm: Vec<u8>) -> Result<Plugin, Error> {
        Plugin::load(self.clone(), name.to_owned(), wasm).await
    }

    /// Compiles a component, or takes it from where it was kept. Takes up to
    /// seconds of one core.
    pub(crate) fn compile(&self, wasm: &[u8]) -> wasmtime::Result<Component> {
        match &self.0.compiled {
            Some(cache) => cache.load(&self.0.engine, wasm),
            None => Component::new(&self.0.engine, wasm),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.0.linker
    }

    pub(crate) fn client(&self) -> HttpClient {
        self.0.client.clone()
    }
}

/// Reads a component, or one byte more than one may have.
async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut wasm = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    let longest = plugin::MAX_BYTES as u64 + 1;
    file.take(longest).read_to_end(&mut wasm).await?;
    Ok(wasm)
}

/// Links what the contract lets a backend import, and nothing else: no
/// sockets, no standard streams, no arguments. The file system is there and
/// empty.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    use wasmtime_wasi::cli::{WasiCli, WasiCliView};
    use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
    use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
    use wasmtime_wasi::p3::bindings::{cli, clocks, filesystem, random};
    use wasmtime_wasi::random::{WasiRandom, WasiRandomView};

    let mut linker = Linker::new(engine);
    types::add_to_linker::<State, Imports>(&mut linker, |state| state)?;
    content::add_to_linker::<State, Imports>(&mut linker, |state| state)?;
    events::add_to_linker::<State, Imports>(&mut linker, |state| state)?;
    identity::add_to_linker::<State, Imports>(&mut linker, |state| state)?;
    files::add_to_linker::<State, Imports>(&mut linker, |state| state)?;
    contract::add_v0_1_to_linker(&mut linker)?;

    clocks::types::add_to_linker::<State, WasiClocks>(&mut linker, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(&mut linker, State::clocks)?;
    clocks::system_clock::add_to_linker::<State, WasiClocks>(&mut linker, State::clocks)?;
    random::random::add_to_linker::<State, WasiRandom>(&mut linker, State::random)?;
    cli::environment::add_to_linker::<State, WasiCli>(&mut linker, State::cli)?;
    filesystem::types::add_to_linker::<State, WasiFilesystem>(&mut linker, State::filesystem)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(&mut linker, State::filesystem)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Advances the engine's epoch for as long as there is an engine, so that
/// guests that compute for long let others on.
fn start_ticking(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("plugin-clock".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
    Ok(())
}
