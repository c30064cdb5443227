//! Read: one range of one layer, its bytes handed on unread. A layer that the
//! store has and does not give away is a miss like one that it lost.

use std::cell::Cell;

use super::Cache;
use crate::blob::{Blobs, Failure, Span};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::Transport;

/// What a read found.
pub(crate) enum Reading<B> {
    /// The bytes, not read yet.
    Bytes(B),
    /// The layer is there, and has no bytes in this range.
    Nothing,
    /// There is no such layer, or none that can be had.
    Absent,
}

impl<T: Transport> Cache<T> {
    /// Opens a layer from `offset`, to its end or for `length` bytes.
    pub(crate) async fn read(
        &self,
        digest: Digest,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Reading<T::Body>, Error> {
        let blobs = self.blobs();
        let key = self.config.layout.blob(digest);
        if length != Some(0) {
            match blobs.span(&key, offset, length).await {
                Ok(Span::Bytes(body)) => {
                    self.could_be_had(&key);
                    return Ok(Reading::Bytes(body));
                }
                Ok(Span::Absent) => return Ok(Reading::Absent),
                Ok(Span::PastTheEnd) => {}
                Err(failure) => return self.refused(&blobs, digest, failure).await,
            }
        }
        match blobs.properties(&key).await {
            Err(failure) => self.refused(&blobs, digest, failure).await,
            Ok(None) => Ok(Reading::Absent),
            Ok(Some(found)) if offset <= found.size => Ok(Reading::Nothing),
            Ok(Some(found)) => Err(Error::Corrupt(format!(
                "{digest} has {} bytes in the store: there are none to read from {offset}",
                found.size
            ))),
        }
    }

    /// A layer that is refused where others are not is as good as lost.
    async fn refused(
        &self,
        blobs: &Blobs<'_, T>,
        digest: Digest,
        failure: Failure,
    ) -> Result<Reading<T::Body>, Error> {
        if !self.concerns_one_blob(blobs, &failure).await {
            return Err(failure.into());
        }
        let why = failure.reason();
        self.warn(&Cell::new(0), || format!("{digest} cannot be read: {why}"));
        Ok(Reading::Absent)
    }

    /// What a layer is called where its bytes break off.
    pub(crate) fn describe(&self, digest: Digest) -> String {
        format!(
            "reading {digest} from container `{}`",
            self.config.container.as_str()
        )
    }
}
