//! One layer on its way to the store: whole if it is small, else in blocks,
//! and past other writers who send the same layer or have left blocks behind.

use std::cell::{Cell, RefCell};

use super::layout::BlobKey;
use crate::blob::{Blobs, BlockIds, Condition, Failure, MAX_PUT_BLOB};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::{Body, Event, Transport};

/// The most blocks that a blob can have.
const MAX_BLOCKS: u64 = 50_000;

/// How often to look again when other writers change the blob under us.
const ROUNDS: u32 = 4;

/// A layer that is being sent.
pub(super) struct Upload<'a, T> {
    transport: &'a T,
    blobs: &'a Blobs<'a, T>,
    key: BlobKey,
    digest: Digest,
    /// In bytes.
    size: u64,
    /// What the write asks of the blob that stands there.
    condition: RefCell<Condition>,
    /// In bytes; the last block may be shorter.
    block_size: u64,
    ids: BlockIds,
    /// How many parts have been begun, and ended.
    begun: Cell<u32>,
    ended: Cell<u32>,
    /// The store has taken a block ill: someone else's are in the way.
    blocks_are_refused: Cell<bool>,
    has_stored: Cell<bool>,
}

impl<'a, T: Transport> Upload<'a, T> {
    /// A layer to be sent in blocks of at least `block_size`, unless one holds
    /// it.
    pub(super) fn new(
        transport: &'a T,
        blobs: &'a Blobs<'a, T>,
        key: BlobKey,
        (digest, size): (Digest, u64),
        condition: Condition,
        block_size: u64,
    ) -> Self {
        Self {
            transport,
            blobs,
            key,
            digest,
            size,
            condition: RefCell::new(condition),
            block_size: block_size.max(size.div_ceil(MAX_BLOCKS)),
            ids: BlockIds::new(|| transport.random()),
            begun: Cell::new(0),
            ended: Cell::new(0),
            blocks_are_refused: Cell::new(false),
            has_stored: Cell::new(false),
        }
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether this upload has stored the layer, rather than another writer.
    pub(super) fn has_stored(&self) -> bool {
        self.has_stored.get()
    }

    /// How many parts there are to send; at least one.
    pub(super) fn parts(&self) -> u32 {
        let parts = self.size.div_ceil(self.block_size).max(1);
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// Sends one part. Parts may be sent side by side; the last one to end
    /// makes the blob.
    pub(super) async fn send(&self, number: u32) -> Result<(), Error> {
        if self.begun.replace(self.begun.get() + 1) == 0 {
            self.transport.emit(Event::LayerStarted(self.digest));
        }
        if self.parts() > 1 && !self.blocks_are_refused.get() {
            let offset = u64::from(number) * self.block_size;
            let length = self.block_size.min(self.size - offset);
            let id = self.ids.id(number);
            let body = self.body(offset, length);
            match self.blobs.put_block(&self.key, id, body).await {
                Ok(()) => {}
                Err(failure) if failure.is_block_trouble() => self.blocks_are_refused.set(true),
                Err(failure) => return Err(failure.into()),
            }
        }
        self.ended.set(self.ended.get() + 1);
        if self.ended.get() < self.parts() {
            return Ok(());
        }
        let event = match self.make_blob().await? {
            true => Event::LayerStored(self.digest),
            false => Event::LayerReused(self.digest),
        };
        self.has_stored.set(matches!(event, Event::LayerStored(_)));
        self.transport.emit(event);
        Ok(())
    }

    /// Makes the blob, of its blocks or by sending it whole. False if another
    /// writer was there first.
    async fn make_blob(&self) -> Result<bool, Error> {
        let mut by_blocks = self.parts() > 1 && !self.blocks_are_refused.get();
        for _ in 0..ROUNDS {
            let Err(failure) = self.try_to_make_blob(by_blocks).await? else {
                return Ok(true);
            };
            // Our blocks are gone, or cannot be sent at all. Sent whole, the
            // layer needs none, and sweeps everyone's away.
            by_blocks &= !failure.is_block_trouble();
            let found = self.blobs.properties(&self.key).await?;
            let condition = match found {
                Some(found) if found.size == self.size => return Ok(false),
                Some(found) => Condition::Is(found.etag),
                // A store may count blocks that wait as a blob, as Azurite
                // does, and `Absent` would never hold. Whoever else writes
                // this key writes the same bytes.
                None => Condition::None,
            };
            self.condition.replace(condition);
        }
        Err(Error::Unavailable(format!(
            "{} could not be stored: others kept changing the blob at the same time. Try again",
            self.digest
        )))
    }

    /// One try. The inner failure is one to look again after.
    async fn try_to_make_blob(&self, by_blocks: bool) -> Result<Result<(), Failure>, Error> {
        let condition = self.condition.borrow().clone();
        let made = if by_blocks {
            let blocks = self.parts();
            let list = self
                .blobs
                .put_block_list(&self.key, &self.ids, blocks, &condition);
            list.await
        } else if self.size > MAX_PUT_BLOB {
            return Err(Error::Other(format!(
                "{} could not be stored: another writer has left blocks of it that are in the \
                 way, and at {} bytes it is too large to be sent without blocks. Azure drops \
                 such blocks a week after they were written",
                self.digest, self.size
            )));
        } else {
            let body = self.body(0, self.size);
            self.blobs.put(&self.key, body, &condition).await
        };
        match made {
            Err(failure) if !failure.is_lost_race() && !failure.is_block_trouble() => {
                Err(failure.into())
            }
            made => Ok(made),
        }
    }

    /// A part of the layer, as a request's body.
    fn body(&self, offset: u64, length: u64) -> Body {
        match length {
            0 => Body::Empty,
            length => Body::Layer {
                digest: self.digest,
                offset,
                length,
            },
        }
    }
}
