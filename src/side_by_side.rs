//! Many jobs at once on one task, with a limit.
//!
//! One function for all of them: each generic instance of a set of futures
//! costs the component some kilobytes.

use futures::future::LocalBoxFuture;
use futures::stream::{LocalBoxStream, StreamExt as _, TryStreamExt as _};

use crate::error::Error;

/// Something to be done.
pub(crate) type Job<'a> = LocalBoxFuture<'a, Result<(), Error>>;

/// Does the jobs in their order, at most `limit` at once, as they come, until
/// all are done or one has failed; the others are then dropped where they
/// stand.
pub(crate) async fn side_by_side<'a>(
    limit: usize,
    jobs: LocalBoxStream<'a, Job<'a>>,
) -> Result<(), Error> {
    jobs.map(Ok)
        .try_for_each_concurrent(limit.max(1), |job| job)
        .await
}
