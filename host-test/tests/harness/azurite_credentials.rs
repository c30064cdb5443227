//! Every way in, from a token's issuer to the store: a token service of each
//! test's own, and Azurite, which takes its tokens over TLS.
//!
//! Azurite looks at a token's issuer, audience and times, not at its signature.

mod chain;
mod grants;
mod leaks;
mod machines;
mod not_imds;
mod refusals;
mod sas;
mod tokens;

use std::sync::OnceLock;

use host_test::azurite::Azurite;
use token_service::{Options, Running, TokenService};

use crate::credentials_world::{CLIENT, NO_IMDS, World, with};

/// An Azurite that takes tokens, and the authority whose certificate it has.
struct Store {
    azurite: Azurite,
    authority: Running,
}

fn store() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| {
        let authority = TokenService::start(Options::default()).expect("a private CA");
        let azurite = Azurite::start_with_tokens(
            &authority.server_certificate_path(),
            &authority.server_key_path(),
        );
        Store {
            azurite: azurite.unwrap_or_else(|why| panic!("{why}")),
            authority,
        }
    })
}

impl World {
    /// A world on Azurite.
    async fn new() -> Self {
        let service = TokenService::start(Options::default()).expect("a token service");
        Self::of(service, &[]).await
    }

    /// The same with this token service, where the host trusts `roots` too.
    async fn of(service: Running, roots: &[&str]) -> Self {
        let store = store();
        let roots = [roots, &[store.authority.ca_pem()]].concat();
        Self::at(service, store.azurite.url(), &roots).await
    }
}
