//! One layer on its way to the store: whole if it is small, else in blocks,
//! and past other writers who send the same layer or have left blocks behind.
//! Where the store keeps what it has and cannot be read of, the upload is given
//! up, which stops no other.

use std::cell::{Cell, RefCell};

use futures::lock::Mutex;

use super::layout::BlobKey;
use super::usable::Step;
use crate::blob::{Blobs, BlockIds, Concern, Condition, Failure, MAX_PUT_BLOB, Properties};
use crate::digest::Digest;
use crate::error::Error;
use crate::transport::{Body, Event, Transport};

/// The most blocks that a blob can have.
const MAX_BLOCKS: u64 = 50_000;

/// How often to look again when other writers change the blob under us.
const ROUNDS: u32 = 4;

/// How a blob came to be.
enum Made {
    ByUs,
    /// Another writer was there first.
    ByAnother,
    /// It did not: the upload is given up.
    Not,
}

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
    /// The version of the blob that has to be removed first. Locked while it is.
    in_the_way: Mutex<Option<String>>,
    /// Why the layer can be neither used as it is stored nor replaced.
    given_up: RefCell<Option<String>>,
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
        step: Step,
        block_size: u64,
    ) -> Self {
        let (mut condition, mut in_the_way, mut given_up) = (Condition::None, None, None);
        match step {
            Step::Write(on) => condition = on,
            Step::Remove(version) => in_the_way = Some(version),
            Step::GiveUp(why) => given_up = Some(why),
            Step::Reuse => {}
        }
        Self {
            transport,
            blobs,
            key,
            digest,
            size,
            condition: RefCell::new(condition),
            in_the_way: Mutex::new(in_the_way),
            given_up: RefCell::new(given_up),
            block_size: block_size.max(size.div_ceil(MAX_BLOCKS)),
            ids: BlockIds::new(|| transport.random()),
            begun: Cell::new(0),
            ended: Cell::new(0),
            blocks_are_refused: Cell::new(false),
            has_stored: Cell::new(false),
        }
    }

    /// Which layer it is.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Why the layer can be neither used as it is stored nor replaced; none
    /// where it can.
    pub(super) fn given_up(&self) -> Option<String> {
        self.given_up.borrow().clone()
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
        if !self.clear_the_way().await? {
            return Ok(());
        }
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
                Err(failure) if failure.is_block_trouble() || failure.refuses_this_blob() => {
                    self.blocks_are_refused.set(true);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        self.ended.set(self.ended.get() + 1);
        if self.ended.get() < self.parts() {
            return Ok(());
        }
        let event = match self.make_blob().await? {
            Made::ByUs => Event::LayerStored(self.digest),
            Made::ByAnother => Event::LayerReused(self.digest),
            Made::Not => return Ok(()),
        };
        self.has_stored.set(matches!(event, Event::LayerStored(_)));
        self.transport.emit(event);
        Ok(())
    }

    /// Makes the blob, of its blocks or by sending it whole.
    async fn make_blob(&self) -> Result<Made, Error> {
        let mut by_blocks = self.parts() > 1 && !self.blocks_are_refused.get();
        let mut refusal = None;
        for _ in 0..ROUNDS {
            if !self.clear_the_way().await? {
                return Ok(Made::Not);
            }
            let Err(failure) = self.try_to_make_blob(by_blocks).await? else {
                return Ok(Made::ByUs);
            };
            refusal = failure.refuses_this_blob().then(|| failure.reason());
            // Our blocks are gone, or cannot be sent at all. Sent whole, the
            // layer needs none, and sweeps everyone's away.
            by_blocks &= !failure.is_block_trouble() && refusal.is_none();
            let found = match self.blobs.properties(&self.key).await {
                Ok(found) => found,
                Err(failure) if failure.concern() == Concern::Everything => {
                    return Err(failure.into());
                }
                Err(failure) => Some(Properties::refused(failure.reason())),
            };
            let condition = match Step::of(found.as_ref(), self.size, refusal.as_deref()) {
                Step::Reuse => return Ok(Made::ByAnother),
                // A store may count blocks that wait as a blob, as Azurite
                // does, and `Absent` would never hold. Whoever else writes
                // this key writes the same bytes.
                Step::Write(Condition::Absent) => Condition::None,
                Step::Write(condition) => condition,
                Step::Remove(version) => {
                    self.in_the_way.lock().await.replace(version);
                    Condition::None
                }
                Step::GiveUp(why) => return Ok(self.give_up(why)),
            };
            self.condition.replace(condition);
        }
        if let Some(refusal) = refusal {
            return Ok(self.give_up(refusal));
        }
        Err(Error::Unavailable(format!(
            "{} could not be stored: others kept changing the blob at the same time. Try again",
            self.digest
        )))
    }

    /// Removes the blob that cannot be overwritten, if there is one. False where
    /// the upload is given up.
    async fn clear_the_way(&self) -> Result<bool, Error> {
        let mut in_the_way = self.in_the_way.lock().await;
        if let Some(version) = in_the_way.take() {
            match self.blobs.delete(&self.key, &version).await {
                Ok(_) => {}
                // Writing may be allowed where removing is not.
                Err(failure) if failure.status() / 100 == 4 => {
                    self.give_up(format!(
                        "it is in the archive tier, where it cannot be overwritten, and the store \
                         refuses to remove it: {}. Move the blob to another tier, or remove it",
                        failure.reason()
                    ));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(self.given_up.borrow().is_none())
    }

    fn give_up(&self, why: String) -> Made {
        self.given_up.borrow_mut().get_or_insert(why);
        Made::Not
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
            Err(failure)
                if !failure.is_lost_race()
                    && !failure.is_block_trouble()
                    && !failure.refuses_this_blob() =>
            {
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
