//! Which layers the store holds.
//!
//! One question a layer tells it, and many can be asked at once; that needs no
//! permission but to read, and is all that a few layers take. A listing tells
//! of hundreds of layers in one request, but passes every other blob under the
//! same prefix as well, page after page. So where there are many layers the
//! listing is begun, and goes on for as long as its pages are worth their time;
//! what it leaves open is asked. A listing that is refused, in whatever way, says
//! nothing about reading: then everything is asked.
//!
//! A blob that is refused where others are not is reported as such, and stops
//! nothing; where everything is refused, that is an error.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use futures::stream::{self, StreamExt as _};

use super::Cache;
use crate::blob::{Blobs, Concern, Failure, Page, Properties, State};
use crate::digest::Digest;
use crate::error::Error;
use crate::side_by_side::side_by_side;
use crate::transport::Transport;

/// Fewer layers than this are asked for: four rounds of questions, by default.
const FEW: usize = 200;

/// How many blobs a page has at most. Azure would give 5,000, but a page is
/// held in memory, and these take a quarter of a megabyte.
const PAGE: u32 = 500;

/// A page that tells of fewer layers than this was not worth it: reading it
/// takes as long as asking for that many.
const WORTH_A_PAGE: usize = 100;

/// After so many refusals in a row it is not about single blobs any more.
const TOO_MANY: usize = 16;

/// A question's outcome so far: what was refused in a way that may concern one
/// blob or all.
#[derive(Default)]
struct Asked {
    was_answered: Cell<bool>,
    refused_in_a_row: Cell<usize>,
    refused: RefCell<Vec<(Digest, Failure)>>,
}

impl<T: Transport> Cache<T> {
    /// Looks for these layers, each of which stands here once, and tells of
    /// each what the store holds of it, as soon as that is known.
    pub(super) async fn look_up(
        &self,
        blobs: &Blobs<'_, T>,
        layers: Vec<Digest>,
        tell: &dyn Fn(Digest, Option<Properties>),
    ) -> Result<(), Error> {
        let open = self.look_up_by_listing(blobs, layers, tell).await?;
        let asked = &Asked::default();
        let asking = open.into_iter().map(|digest| async move {
            let key = self.config.layout.blob(digest);
            match blobs.properties(&key).await {
                Ok(found) => {
                    asked.answered();
                    if found.is_some() {
                        self.could_be_had(&key);
                    }
                    tell(digest, found);
                }
                Err(failure) if failure.concern() == Concern::ThisBlob => {
                    asked.answered();
                    tell(digest, Some(Properties::refused(failure.reason())));
                }
                Err(failure) => asked.refused(digest, failure)?,
            }
            Ok(())
        });
        let asking = stream::iter(asking).map(|question| Box::pin(question) as _);
        side_by_side(self.config.tuning.small_requests(), asking.boxed_local()).await?;

        let refused = asked.refused.take();
        let Some((_, first)) = refused.first() else {
            return Ok(());
        };
        let others_can_be_had = match refused.len() {
            _ if asked.was_answered.get() => true,
            1 => self.others_can_be_had(blobs).await,
            _ => false,
        };
        if !others_can_be_had {
            return Err(first.clone().into());
        }
        for (digest, failure) in refused {
            tell(digest, Some(Properties::refused(failure.reason())));
        }
        Ok(())
    }

    /// Tells of the layers that a listing settles in reasonable time, and gives
    /// back the others.
    async fn look_up_by_listing(
        &self,
        blobs: &Blobs<'_, T>,
        mut open: Vec<Digest>,
        tell: &dyn Fn(Digest, Option<Properties>),
    ) -> Result<Vec<Digest>, Error> {
        let prefix = self.config.layout.blobs_begin_with();
        let layers_begin_with = format!("{prefix}sha256:");
        let mut marker = None;
        while open.len() >= FEW {
            let page = match blobs.list(&layers_begin_with, PAGE, marker).await {
                Ok(page) => page,
                Err(failure) if failure.was_answered() => break,
                Err(failure) => return Err(failure.into()),
            };
            let before = open.len();
            marker = settle(&prefix, page, &mut open, tell);
            if marker.is_none() || before - open.len() < WORTH_A_PAGE {
                break;
            }
        }
        Ok(open)
    }
}

/// Tells of the layers that a page has passed, and takes them out of those that
/// are open. Gives the marker of the next page.
fn settle(
    prefix: &str,
    page: Page,
    open: &mut Vec<Digest>,
    tell: &dyn Fn(Digest, Option<Properties>),
) -> Option<String> {
    let digest = |key: &str| key.strip_prefix(prefix)?.parse::<Digest>().ok();
    let mut held: HashMap<Digest, Properties> = HashMap::new();
    for blob in page.blobs {
        if let Some(digest) = digest(&blob.key) {
            let properties = Properties {
                size: blob.size,
                modified: blob.modified,
                etag: blob.etag,
                state: blob.state,
            };
            held.insert(digest, properties);
        }
    }
    // Keys come in the order of their text, which is that of the digests.
    let reached = held.keys().max().copied();
    let is_last = page.next.is_none();
    open.retain(|layer| {
        let is_passed = is_last || reached.is_some_and(|reached| *layer <= reached);
        let found = held.remove(layer);
        // Its entry is damaged: the blob itself may say more.
        let says_nothing =
            matches!(&found, Some(found) if matches!(found.state, State::Refused(_)));
        let is_settled = is_passed && !says_nothing;
        if is_settled {
            tell(*layer, found);
        }
        !is_settled
    });
    page.next
}

impl Asked {
    fn answered(&self) {
        self.was_answered.set(true);
        self.refused_in_a_row.set(0);
    }

    /// Keeps a refusal that may concern one blob until the others are known.
    fn refused(&self, digest: Digest, failure: Failure) -> Result<(), Error> {
        self.refused_in_a_row.set(self.refused_in_a_row.get() + 1);
        if failure.concern() == Concern::Everything || self.refused_in_a_row.get() >= TOO_MANY {
            return Err(failure.into());
        }
        self.refused.borrow_mut().push((digest, failure));
        Ok(())
    }
}
