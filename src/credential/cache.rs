//! The token that an open cache holds: got once however many wait for it,
//! renewed ahead of its end, dropped when the store refuses it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use futures::lock::Mutex;

use super::token::Token;
use crate::error::Error;
use crate::secret::Secret;
use crate::transport::Transport;

/// How long to leave it after a renewal was tried.
const PAUSE: Duration = Duration::from_secs(30);

/// Which of the tokens that were held: they count up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Default)]
pub(crate) struct Generation(u64);

/// Holds the token.
#[derive(Default)]
pub(super) struct TokenCache {
    held: RefCell<Option<Token>>,
    generation: Cell<Generation>,
    /// Held by the one who gets a token; the others wait for it.
    getting: Mutex<()>,
    /// When somebody last began to get one.
    tried_at: Cell<Option<Duration>>,
}

impl TokenCache {
    /// The token to use now. `get` gets a new one.
    pub(super) async fn token<T: Transport>(
        &self,
        transport: &T,
        get: impl AsyncFn() -> Result<Token, Error>,
    ) -> Result<(Secret, Generation), Error> {
        let before = self.generation.get();
        let now = transport.time_of_day();
        if let Some(held) = self.held_if(|token| token.expires_at > now) {
            if self.is_due(&held, now, transport.elapsed())
                && let Some(_getting) = self.getting.try_lock()
            {
                self.tried_at.set(Some(transport.elapsed()));
                // The one that is held will do until it ends.
                match get().await {
                    Ok(token) => return Ok(self.keep(token, transport.time_of_day())),
                    Err(error) if held.expires_at <= transport.time_of_day() => return Err(error),
                    Err(_) => {}
                }
            }
            return Ok((held.secret, self.generation.get()));
        }

        let _getting = self.getting.lock().await;
        let now = transport.time_of_day();
        // One that was got meanwhile is as new as can be, even if it is short.
        let is_new = self.generation.get() > before;
        if let Some(held) = self.held_if(|token| is_new && token.expires_at > now) {
            return Ok((held.secret, self.generation.get()));
        }
        self.tried_at.set(Some(transport.elapsed()));
        let token = get().await?;
        Ok(self.keep(token, transport.time_of_day()))
    }

    /// Forgets the token that the store refused, if it is still that one.
    pub(super) fn forget(&self, refused: Generation) {
        if self.generation.get() == refused {
            self.held.take();
        }
    }

    fn held_if(&self, does: impl Fn(&Token) -> bool) -> Option<Token> {
        self.held.borrow().clone().filter(does)
    }

    /// Holds a new token. One that is good for some time ends the pause: when it
    /// ends soon, the next is asked for at once.
    fn keep(&self, token: Token, now: SystemTime) -> (Secret, Generation) {
        if token.is_good(now) && token.refresh_at.is_none_or(|at| at > now) {
            self.tried_at.set(None);
        }
        let Generation(number) = self.generation.get();
        let generation = Generation(number + 1);
        self.generation.set(generation);
        let secret = token.secret.clone();
        self.held.replace(Some(token));
        (secret, generation)
    }

    /// Whether a token that is held should be renewed now. Who gives tokens may
    /// give one again that ends soon, so that asking for each request would be
    /// of no use.
    fn is_due(&self, token: &Token, now: SystemTime, elapsed: Duration) -> bool {
        let tried = self.tried_at.get();
        let ends_soon = !token.is_good(now);
        (ends_soon || token.refresh_at.is_some_and(|at| at <= now))
            && tried.is_none_or(|at| elapsed.saturating_sub(at) >= PAUSE)
    }
}
