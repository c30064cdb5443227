//! Which layers the store holds.
//!
//! One question a layer tells it, and many can be asked at once; that needs no
//! permission but to read, and is all that a few layers take. A listing tells
//! of hundreds of layers in one request, but passes every other blob under the
//! same prefix as well, page after page. So where there are many layers the
//! listing is begun, and goes on for as long as its pages are worth their time;
//! what it leaves open is asked.

use std::collections::HashMap;

use futures::stream::{self, StreamExt as _};

use super::Cache;
use crate::blob::{Blobs, Page, Properties};
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
        let asking = open.into_iter().map(|digest| async move {
            let key = self.config.layout.blob(digest);
            tell(digest, blobs.properties(&key).await?);
            Ok(())
        });
        let asking = stream::iter(asking).map(|question| Box::pin(question) as _);
        side_by_side(self.config.tuning.small_requests(), asking.boxed_local()).await
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
                // Reading does not need the permission to list.
                Err(failure) if failure.status() == 403 => break,
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
            };
            held.insert(digest, properties);
        }
    }
    // Keys come in the order of their text, which is that of the digests.
    let reached = held.keys().max().copied();
    let is_last = page.next.is_none();
    open.retain(|layer| {
        let is_passed = is_last || reached.is_some_and(|reached| *layer <= reached);
        if is_passed {
            tell(*layer, held.remove(layer));
        }
        !is_passed
    });
    page.next
}
