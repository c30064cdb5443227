//! Read: one range of one layer, its bytes handed on unread.

use super::Cache;
use crate::blob::Span;
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::Transport;

/// What a read found.
pub(crate) enum Reading<B> {
    /// The bytes, not read yet.
    Bytes(B),
    /// The layer is there, and has no bytes in this range.
    Nothing,
    /// There is no such layer.
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
            match blobs.span(&key, offset, length).await? {
                Span::Bytes(body) => return Ok(Reading::Bytes(body)),
                Span::Absent => return Ok(Reading::Absent),
                Span::PastTheEnd => {}
            }
        }
        match blobs.properties(&key).await? {
            None => Ok(Reading::Absent),
            Some(found) if offset <= found.size => Ok(Reading::Nothing),
            Some(found) => Err(Error::Corrupt(format!(
                "{digest} has {} bytes in the store: there are none to read from {offset}",
                found.size
            ))),
        }
    }

    /// What a layer is called where its bytes break off.
    pub(crate) fn describe(&self, digest: Digest) -> String {
        format!(
            "reading {digest} from container `{}`",
            self.config.container.as_str()
        )
    }
}
