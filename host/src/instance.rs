//! One running instance of a plugin, and the task that owns it.
//!
//! A wasmtime store moves only while somebody polls it, and calls into it can
//! run side by side only inside one `run_concurrent`. So one Tokio task owns
//! the store and stays in there: calls reach it through a channel as [`Job`]s
//! and run beside one another. A call cannot be cancelled from outside; what
//! ends it is the end of the store, when the last handle goes. A trap ends the
//! store too, and so does a call that waits while nothing moves; every call
//! that was under way learns why. A call that waits while others move is given
//! up alone: the instance gets no more calls, and ends when those others have.

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
use crate::listener::{Call, Listener, NO_CALL, OnEvent};
use crate::reach::{Given, Reach};
use crate::receive::Received;
use crate::state::State;
use crate::text::Scrubber;
use crate::{Description, Error, Grants, Policy};

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

/// How many times as long as a call may idle it may take to answer, whatever
/// other calls of its instance move meanwhile: what moves cannot be told apart
/// by calls. A call that moves layers may take as long as it needs.
const LONGEST_IN_IDLE_TIMES: u32 = 20;

impl Job {
    /// Whether the call moves layers before it answers.
    fn moves_layers(&self) -> bool {
        match self {
            Self::Export(..) | Self::Store { .. } => true,
            Self::Import(..)
            | Self::Find(..)
            | Self::Touch(..)
            | Self::Publish(..)
            | Self::ConfiguredNames(..)
            | Self::Load(..)
            | Self::Read { .. }
            | Self::Manifests(..)
            | Self::Blobs(..)
            | Self::RemoveManifest(..)
            | Self::RemoveBlob(..)
            | Self::Check(..) => false,
        }
    }
}

/// What an instance is opened with.
pub(crate) struct Opening {
    pub(crate) plugin: String,
    pub(crate) description: Description,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) grants: Grants,
    pub(crate) policy: Policy,
}

/// A handle to a running instance. Dropping it ends the instance.
pub(crate) struct Instance {
    pub(crate) plugin: String,
    pub(crate) listing_bytes: usize,
    jobs: mpsc::UnboundedSender<(Call, Job)>,
    task: AbortHandle,
    failure: Arc<OnceLock<String>>,
    activity: Activity,
    listener: Listener,
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
            task: task.abort_handle(),
            failure,
            activity,
            listener,
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
        let job = job(reply);
        let longest = match job.moves_layers() {
            true => Duration::MAX,
            false => self.idle_time.saturating_mul(LONGEST_IN_IDLE_TIMES),
        };
        if let Some(reason) = self.failure.get() {
            return Err(self.failed_for(reason));
        }
        self.listener.call_begins();
        if self.jobs.send((call.clone(), job)).is_err() {
            return Err(self.failed().await);
        }
        let answered = tokio::select! {
            biased;
            answered = self.watch(answer) => answered?,
            () = self.activity.over(longest) => return Err(self.give_up(longest)),
        };
        match answered {
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.failed().await),
        }
    }

    /// Whether calls can be run in it. After a caller has got its failure, the
    /// answer is always no.
    pub(crate) fn is_alive(&self) -> bool {
        !self.jobs.is_closed() && self.failure.get().is_none()
    }

    /// Waits for what the plugin is to do. Ends the instance where it waits
    /// while nothing moves.
    pub(crate) async fn watch<T>(&self, what: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            outcome = what => Ok(outcome),
            () = self.activity.ceased(self.idle_time) => {
                let _ = self.failure.set(moved_nothing(self.idle_time));
                self.task.abort();
                Err(self.failed().await)
            }
        }
    }

    /// Waits for the next piece of a stream, as [`Self::watch`] does. What other
    /// calls move does not help a stream that stands still.
    pub(crate) async fn watch_stream<T>(&self, what: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            outcome = self.watch(what) => outcome,
            () = self.activity.over(self.idle_time) => Err(self.give_up(self.idle_time)),
        }
    }

    /// Gives up one call while others go on. The instance gets no more.
    fn give_up(&self, after: Duration) -> Error {
        let reason = moved_nothing(after);
        let error = self.failed_for(&reason);
        let _ = self.failure.set(reason);
        error
    }

    /// Why the instance is no more.
    pub(crate) async fn failed(&self) -> Error {
        // The driver says why before it lets go of the channel.
        self.jobs.closed().await;
        let reason = self.failure.get().map(String::as_str);
        self.failed_for(reason.unwrap_or("it ended in the middle of a call"))
    }

    fn failed_for(&self, reason: &str) -> Error {
        Error::PluginFailed {
            plugin: self.plugin.clone(),
            reason: reason.to_owned(),
        }
    }
}

fn moved_nothing(time: Duration) -> String {
    format!("it moved nothing for {time:?} and gave no answer, and was stopped")
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
        let attributes = opening.attributes.iter();
        let given = Given::new(
            attributes.map(|(name, value)| (name.as_str(), value.as_str())),
            opening.grants.variables.iter(),
            &opening.policy,
        );
        let reach = Reach::decide(
            &opening.grants.authorities,
            &opening.plugin,
            &asked,
            &opening.description,
            &given,
            &opening.policy,
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
    /// Nobody may be waiting for the answer any more: that is not a failure.
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
