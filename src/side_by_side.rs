//! Many jobs at once on one task, with a limit.
//!
//! One function for all of them: each generic instance of a set of futures
//! costs the component some kilobytes.

use std::cell::RefCell;

use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};

use crate::error::Error;

/// Does the jobs in their order, at most `limit` at once, until all are done
/// or one has failed; the others are then dropped where they stand.
pub(crate) async fn side_by_side<'a, J>(
    limit: usize,
    jobs: impl IntoIterator<Item = J>,
) -> Result<(), Error>
where
    J: Future<Output = Result<(), Error>> + 'a,
{
    let failure = &RefCell::new(None);
    let mut jobs = jobs.into_iter().map(|job| -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = job.await {
                failure.borrow_mut().get_or_insert(error);
            }
        })
    });
    let mut running: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
    running.extend(jobs.by_ref().take(limit.max(1)));
    while let Some(()) = running.next().await {
        if let Some(error) = failure.take() {
            return Err(error);
        }
        running.extend(jobs.next());
    }
    Ok(())
}
