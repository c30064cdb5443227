//! Which call of the host the code that runs just now works for.
//!
//! Events and requests for content carry the call's number. They come from deep
//! inside, from retries and token requests that calls share, so the number is not
//! passed down but noted around each poll of the call's future: the component
//! has one thread, and nothing else runs meanwhile.

use std::cell::Cell;
use std::pin::pin;

thread_local! {
    /// The call that is being polled; 0 outside of all.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// The call whose future is being polled.
pub(crate) fn current() -> u64 {
    CURRENT.get()
}

/// Runs a future, and all that it does, as part of a call.
pub(crate) async fn within<F: Future>(call: u64, future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let before = CURRENT.replace(call);
        let polled = future.as_mut().poll(context);
        CURRENT.set(before);
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::future::join3;

    use super::*;

    /// What the call is before and after others had their turn.
    async fn look_twice() -> (u64, u64) {
        let before = current();
        let mut has_yielded = false;
        std::future::poll_fn(|context| match std::mem::replace(&mut has_yielded, true) {
            true => std::task::Poll::Ready(()),
            false => {
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        })
        .await;
        (before, current())
    }

    #[test]
    fn calls_side_by_side_each_know_their_own_number() {
        let seen = block_on(join3(
            within(1, look_twice()),
            within(2, within(3, look_twice())),
            look_twice(),
        ));
        assert_eq!(seen, ((1, 1), (3, 3), (0, 0)));
        assert_eq!(current(), 0);
    }
}
