//! What the tests of credentials share: a token service of each test's own, a
//! store that takes its tokens, and an ear for all that is said, so that a
//! secret in it is noticed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use blob_store::EMULATOR_ACCOUNT;
use build_cache_host::{
    AccessToken, Cache, Error, Event, Files, Grants, Host, HostOptions, HttpOptions, Identity,
    OpenOptions, Plugin,
};
use futures::future::BoxFuture;
use host_test::conformance::check_holds;
use host_test::fixtures;
use host_test::sample::{Sample, unique};
use token_service::{Environment, Running};

use crate::setup::Attributes;

/// The application or identity of these tests.
pub const CLIENT: &str = "3f1c0000-0000-4000-8000-00000000000c";

/// Has nobody look for IMDS where there is none.
pub const NO_IMDS: (&str, &str) = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9");

/// One test's token service, and a container of its own in a store.
pub struct World {
    pub service: Running,
    plugin: Plugin,
    pub attributes: Attributes,
    identity: Option<Arc<dyn Identity>>,
    /// Which files the host lends.
    pub files: Files,
    /// All that the host and the backend said, in any form.
    pub said: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// A host that trusts the service's authority and `roots`, and a container
    /// of the emulator's account at `account_url`.
    pub async fn at(service: Running, account_url: &str, roots: &[&str]) -> Self {
        let roots = roots.iter().copied().chain([service.ca_pem()]);
        let host = Host::new(HostOptions {
            compiled_cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")),
            http: HttpOptions {
                extra_roots_pem: roots.map(|pem| pem.as_bytes().to_vec()).collect(),
                ..HttpOptions::default()
            },
        });
        let host = host.expect("a host");
        let plugin = host.load(fixtures::component("azblob"));
        Self {
            plugin: plugin.await.expect("a plugin that loads"),
            service,
            attributes: crate::setup::attributes([
                ("account_url", account_url),
                ("account_name", EMULATOR_ACCOUNT),
                ("container", &unique("credentials")),
                ("name", "app"),
            ]),
            identity: None,
            files: Files::default(),
            said: Arc::default(),
        }
    }

    /// The same, where the host has the identity of a developer.
    pub fn with_identity(mut self, given: Result<Option<AccessToken>, String>) -> Self {
        self.identity = Some(Arc::new(Given(given)));
        self
    }

    /// The value of an attribute, to change it.
    pub fn attribute(&mut self, name: &str) -> &mut String {
        let mut attributes = self.attributes.iter_mut();
        let found = attributes.find(|(other, _)| other == name);
        &mut found.expect("an attribute of this name").1
    }

    /// Opens the cache with these variables alone.
    pub async fn open(&self, variables: &Environment, content: Sample) -> Result<Cache, Error> {
        let mut grants = Grants {
            files: self.files.clone(),
            ..Grants::default()
        };
        for (name, value) in variables {
            grants.variables.insert(*name, value.clone());
        }
        self.open_with(grants, content).await
    }

    pub async fn open_with(&self, grants: Grants, content: Sample) -> Result<Cache, Error> {
        let said = Arc::clone(&self.said);
        let options = OpenOptions {
            grants,
            content: Some(Arc::new(content)),
            on_event: Some(Arc::new(move |event: Event| {
                say(&said, format!("{event:?}"))
            })),
            identity: self.identity.clone(),
        };
        say(&self.said, format!("{options:?}"));
        let opened = self.plugin.open(&self.attributes, options).await;
        opened.inspect_err(|error| self.hear(error))
    }

    pub fn hear(&self, error: &Error) {
        say(&self.said, format!("{error}\n{error:?}"));
    }

    /// Opens the cache and exports a cache of as many layers.
    pub async fn push(&self, variables: &Environment, layers: u64) -> Result<Sample, Error> {
        let sample = Sample::of_sizes((0..layers).map(|number| 1000 + number));
        let cache = self.open(variables, sample.clone()).await?;
        let exported = cache.export(&sample.manifest).await;
        exported.inspect_err(|error| self.hear(error))?;
        Ok(sample)
    }

    /// Checks that the cache can be read back in another instance.
    pub async fn check_pull(&self, variables: &Environment, sample: &Sample) {
        let reader = self.open(variables, Sample::default()).await;
        let reader = reader.expect("open to read");
        check_holds(&reader, &sample.manifest).await.expect("whole");
    }

    /// What the check says of the credential.
    pub async fn credential(&self, variables: &Environment) -> String {
        let cache = self.open(variables, Sample::default()).await.expect("open");
        let access = cache.check().await.expect("a check");
        say(&self.said, format!("{access:?}"));
        for what in ["write", "read", "list", "delete"] {
            assert!(access.may(what), "{what}: {:?}", access.attempts);
        }
        access.credential
    }

    /// All that was said so far.
    pub fn heard(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.join("\n")
    }

    /// Checks that no secret stands in anything that was said: none that went
    /// over the wire, and none of `more`.
    pub fn check_nothing_shows(&self, more: &[&str]) {
        let said = self.heard();
        assert!(!said.is_empty());
        let secrets = self.service.secrets();
        let secrets = secrets.iter().map(|secret| secret.expose());
        for secret in secrets.chain(more.iter().copied()) {
            assert!(!said.contains(secret), "a secret shows in: {said}");
        }
    }
}

fn say(said: &Mutex<Vec<String>>, text: String) {
    said.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(text);
}

/// What a developer's tool gives.
struct Given(Result<Option<AccessToken>, String>);

impl Identity for Given {
    fn token<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<AccessToken>, String>> {
        Box::pin(async { self.0.clone() })
    }
}

/// The variables of one with one more.
pub fn with(
    mut variables: Environment,
    name: &'static str,
    value: impl Into<String>,
) -> Environment {
    variables.push((name, value.into()));
    variables
}
