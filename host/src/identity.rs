//! Tokens from an identity that only the host can use: a developer's
//! signed-in command-line tool, which no sandbox may run. Knows no tool and no
//! issuer: the embedder brings an [`Identity`], such as a
//! [`CommandIdentity`](crate::CommandIdentity) for each tool. It is asked only
//! for scopes that the plugin's description asks for and that the
//! [`Policy`](crate::Policy) trusts the plugin with.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use wasmtime::component::Accessor;

use crate::bindings::build_cache::plugin::identity;
use crate::state::{Imports, State};

/// Gives backends access tokens. Asked anew each time: a backend keeps its
/// token for as long as it is good.
pub trait Identity: Send + Sync {
    /// A token for `scope`. None where there is no identity for it; an error,
    /// for people and without secrets, where there is one that failed.
    fn token<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<AccessToken>, String>>;
}

/// A bearer token. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token. A secret.
    pub token: String,
    /// When it ends, in seconds since the Unix epoch.
    pub expires_at: u64,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl identity::Host for State {}

impl identity::HostWithStore<State> for Imports {
    async fn get_token(
        host: &Accessor<State, Self>,
        scope: String,
    ) -> wasmtime::Result<Result<Option<identity::AccessToken>, String>> {
        let (identity, scrubber) = host.with(|mut access| {
            let state = access.get();
            let identity = state.identity.clone();
            let is_granted = state.scopes.contains(&scope);
            (identity.filter(|_| is_granted), Arc::clone(&state.scrubber))
        });
        let Some(identity) = identity else {
            return Ok(Ok(None));
        };
        Ok(identity.token(&scope).await.map(|given| {
            given.map(|given| {
                scrubber.learn(&given.token);
                identity::AccessToken {
                    token: given.token,
                    expires_at: given.expires_at,
                }
            })
        }))
    }
}
