//! One running instance of a plugin, and the task that owns it.
//!
//! A wasmtime store moves only while somebody polls it, and calls into it can
//! run side by side only inside one `run_concurrent`. So one Tokio task owns
//! the store and stays in there: calls reach it through a channel as [`Job`]s
//! and run beside one another. A call cannot be cancelled from outside; what
//! ends it is the end of the store, when the last handle goes. A trap ends the
//! store too, and so does a call that waits while nothing moves; every call
//! that was under way learns why.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use wasmtime::component::{Accessor, AccessorTask, ResourceAny};
use wasmtime::{Engine, Store};

use crate::activity::Activity;
use crate::bindings::build_cache::plugin::types;
use crate::bindings::exports::build_cache::plugin::{backend, inventory, layers, names};
use crate::contract::{Backend, Pre};
use crate::http::Traffic;
use crate::limits;
use crate::link_local;
use crate::listener::{Call, Listener, NO_CALL, OnEvent};
use crate::reach::Reach;
use crate::receive::Received;
use crate::state::State;
use crate::text::Scrubber;
use crate::{Description, Error, Grants};

/// What a call answers.
pub(crate) type Answer<T> = Result<T, types::Error>;
type Reply<T> = oneshot::Sender<Answer<T>>;

/// A call into the instance.
pub(crate) enum Job {
    Export(types::Manifest, Reply<backend::ExportSummary>),
    Import(Reply<Vec<backend::Imported>>),
    Check(Reply<backend::Access>),
    Find(Vec<String>, Reply<Vec<Option<layers::StoredLayer>>>),
    Store {
        blob: String,
        size: u64,
        reply: Reply<layers::Outcome>,
    },
    Read {
        blob: String,
        offset: u64,
        length: Option<u64>,
        reply: Reply<Option<Received<bytes::Bytes>>>,
    },
    Touch(Vec<String>, Reply<Vec<bool>>),
    ConfiguredNames(Reply<Vec<String>>),
    Load(String, Reply<Option<names::NamedManifest>>),
    Publish(Publication, Reply<()>),
    Manifests(Reply<Received<Vec<inventory::ManifestInfo>>>),
    Blobs(Reply<Received<Vec<inventory::BlobInfo>>>),
    RemoveManifest(inventory::ManifestInfo, Reply<bool>),
    RemoveBlob(inventory::BlobInfo, Reply<bool>),
}

/// A manifest to be written under names.
pub(crate) struct Publication {
    pub(crate) names: Vec<String>,
    pub(crate) manifest: types::Manifest,
    pub(crate) precondition: names::Precondition,
    /// In seconds.
    pub(crate) touch_older_than: Option<u64>,
}

/// What an instance is opened with.
pub(crate) struct Opening {
    pub(crate) plugin: String,
    pub(crate) description: Description,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) grants: Grants,
}

/// A handle to a running instance. Dropping it ends the instance.
pub(crate) struct Instance {
    pub(crate) plugin: String,
    pub(crate) listing_bytes: usize,
    jobs: mpsc::UnboundedSender<(Call, Job)>,
    listener: Listener,
    task: AbortHandle,
    failure: Arc<OnceLock<String>>,
    activity: Activity,
    idle_time: Duration,
    pub(crate) peak_memory_bytes: Arc<AtomicUsize>,
    pub(crate) traffic: Arc<Traffic>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Instance {
    /// Makes an instance and opens a cache in it.
    pub(crate) async fn start(
        engine: &Engine,
        pre: Pre,
        state: State,
        opening: Opening,
    ) -> Result<Self, Error> {
        let (jobs, receiver) = mpsc::unbounded_channel();
        let (ready, opened) = oneshot::channel();
        let failure = Arc::new(OnceLock::new());
        let plugin = opening.plugin.clone();
        let peak_memory_bytes = Arc::clone(&state.limits.peak_memory_bytes);
        let traffic = state.hooks.traffic();
        let activity = state.limits.activity();
        let listener = state.listener.clone();
        let idle_time = opening.grants.idle_time;
        let listing_bytes = opening.grants.listing_bytes;

        let driver = Driver {
            pre,
            store: Store::new(engine, state),
            opening,
        };
        let task = tokio::spawn(driver.run(ready, receiver, Arc::clone(&failure)));
        let instance = Self {
            plugin,
            listing_bytes,
            jobs,
            listener,
            task: task.abort_handle(),
            failure,
            activity,
            idle_time,
            peak_memory_bytes,
            traffic,
        };
        match instance.watch(opened).await? {
            Ok(outcome) => outcome.map(|()| instance),
            Err(_) => Err(instance.failed().await),
        }
    }

    /// Numbers a call, of which `on_event` hears, or with none the listener that
    /// the cache was opened with.
    pub(crate) fn number(&self, on_event: Option<OnEvent>) -> Call {
        self.listener.number(on_event)
    }

    /// Runs a call in the instance.
    pub(crate) async fn call<T>(
        &self,
        call: &Call,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> Result<Answer<T>, Error> {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send((call.clone(), job(reply))).is_err() {
            return Err(self.failed().await);
        }
        match self.watch(answer).await? {
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.failed().await),
        }
    }

    /// Waits for what the plugin is to do. Ends the instance where it waits
    /// while nothing moves.
    pub(crate) async fn watch<T>(&self, what: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            outcome = what => Ok(outcome),
            () = self.activity.ceased(self.idle_time) => {
                let _ = self.failure.set(format!(
                    "it moved nothing for {:?} and gave no answer, and was stopped",
                    self.idle_time
                ));
                self.task.abort();
                Err(self.failed().await)
            }
        }
    }

    /// Why the instance is no more.
    pub(crate) async fn failed(&self) -> Error {
        // The driver says why before it lets go of the channel.
        self.jobs.closed().await;
        Error::PluginFailed {
            plugin: self.plugin.clone(),
            reason: self
                .failure
                .get()
                .cloned()
                .unwrap_or_else(|| "it ended in the middle of a call".into()),
        }
    }
}

/// The task that owns the store.
struct Driver {
    pre: Pre,
    store: Store<State>,
    opening: Opening,
}

impl Driver {
    async fn run(
        mut self,
        ready: oneshot::Sender<Result<(), Error>>,
        mut jobs: mpsc::UnboundedReceiver<(Call, Job)>,
        failure: Arc<OnceLock<String>>,
    ) {
        limits::apply(&mut self.store);
        let outcome = match self.prepare().await {
            Ok(Ok(backend)) => self.serve(backend, ready, &mut jobs).await,
            Ok(Err(error)) => {
                let _ = ready.send(Err(error));
                Ok(())
            }
            Err(trap) => Err(trap),
        };
        if let Err(trap) = outcome {
            let scrubber = Arc::clone(&self.store.data().scrubber);
            let _ = failure.set(scrubber.clean(&limits::explain(&trap, &self.store.data().limits)));
        }
    }

    /// Instantiates, asks what the cache would reach, and grants it.
    async fn prepare(&mut self) -> wasmtime::Result<Result<Backend, Error>> {
        let Self {
            pre,
            store,
            opening,
        } = self;
        let backend = pre.instantiate(store).await?;
        let asked = backend.authorities(store, &opening.attributes).await?;
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => {
                let scrubber: &Scrubber = &store.data().scrubber;
                return Ok(Err(Error::from_backend(error, scrubber)));
            }
        };
        let denied = link_local::denied(
            &asked,
            &opening.grants.authorities,
            &opening.description,
            &opening.grants.variables,
        );
        if let Some(authority) = denied {
            return Ok(Err(Error::Denied {
                plugin: opening.plugin.clone(),
                authority: authority.to_owned(),
            }));
        }
        let attributes = opening.attributes.iter().map(|(_, value)| value.as_str());
        let variables = opening.grants.variables.iter().map(|(_, value)| value);
        let given: Vec<_> = attributes.chain(variables).collect();
        let reach = Reach::decide(
            &opening.grants.authorities,
            &opening.plugin,
            &asked,
            &opening.description,
            &given,
        );
        match reach {
            Ok(reach) => {
                store.data_mut().hooks.reach = reach;
                Ok(Ok(backend))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Opens the cache and runs the calls, until there are no more handles.
    async fn serve(
        &mut self,
        backend: Backend,
        ready: oneshot::Sender<Result<(), Error>>,
        jobs: &mut mpsc::UnboundedReceiver<(Call, Job)>,
    ) -> wasmtime::Result<()> {
        let backend = Arc::new(backend);
        let attributes = std::mem::take(&mut self.opening.attributes);
        let scrubber = Arc::clone(&self.store.data().scrubber);
        self.store
            .run_concurrent(async |accessor| {
                let cache = match backend.open(accessor, NO_CALL, attributes).await? {
                    Ok(cache) => cache,
                    Err(error) => {
                        let _ = ready.send(Err(Error::from_backend(error, &scrubber)));
                        return Ok(());
                    }
                };
                let _ = ready.send(Ok(()));
                while let Some((call, job)) = jobs.recv().await {
                    accessor.spawn(Run {
                        backend: Arc::clone(&backend),
                        cache,
                        call,
                        job,
                    })?;
                }
                Ok(())
            })
            .await?
    }
}

/// One call, beside the others.
struct Run {
    backend: Arc<Backend>,
    cache: ResourceAny,
    call: Call,
    job: Job,
}

impl AccessorTask<State> for Run {
    async fn run(self, accessor: &Accessor<State>) -> wasmtime::Result<()> {
        let Self {
            backend,
            cache,
            call,
            job,
        } = self;
        backend.run(accessor, cache, call.id(), job).await
    }
}
