//! Listing what a store holds, and taking it away. A backend whose store cannot
//! list has to say so with `unsupported`, or with `other` in contract 0.1.

use build_cache_host::{BlobInfo, Cache, Error, ManifestInfo};
use futures::TryStreamExt;

use super::{Subject, load, round_trips};
use crate::failure::ensure;
use crate::sample::{Sample, unique};
use crate::{Failure, NotRun, Outcome};

/// What a store holds.
struct Listing {
    manifests: Vec<ManifestInfo>,
    blobs: Vec<BlobInfo>,
}

impl Listing {
    /// Lists a store.
    async fn of(cache: &Cache) -> Outcome<Self> {
        let (manifests, blobs) = match (cache.manifests().await, cache.blobs().await) {
            (Ok(manifests), Ok(blobs)) => (manifests, blobs),
            (
                Err(Error::Unsupported(_) | Error::Other(_)),
                Err(Error::Unsupported(_) | Error::Other(_)),
            ) => return Err(NotRun::NoListing.into()),
            (manifests, blobs) => {
                return Err(Failure::Broken(format!(
                    "the manifests are listed with {:?}, the blobs with {:?}",
                    manifests.err(),
                    blobs.err()
                )));
            }
        };
        Ok(Self {
            manifests: manifests.try_collect().await?,
            blobs: blobs.try_collect().await?,
        })
    }

    fn manifest(&self, name: &str) -> Outcome<&ManifestInfo> {
        let mut found = self.manifests.iter().filter(|info| info.name == name);
        match (found.next(), found.next()) {
            (Some(info), None) => Ok(info),
            _ => Err(Failure::Broken(format!("{name:?} is not listed just once"))),
        }
    }

    fn blob(&self, sample: &Sample, layer: usize) -> Outcome<&BlobInfo> {
        let layer = &sample.manifest.layers[layer];
        let mut found = self.blobs.iter().filter(|info| info.blob == layer.blob);
        match (found.next(), found.next()) {
            (Some(info), None) if info.size == layer.size => Ok(info),
            _ => Err(Failure::Broken(format!(
                "{} is not listed just once with {} bytes",
                layer.blob, layer.size
            ))),
        }
    }
}

pub(super) async fn what_was_stored_is_listed_and_can_be_removed(subject: &Subject) -> Outcome {
    let sample = Sample::of_sizes([100, 2000]);
    let names = [unique("listed"), format!("{}/below", unique("listed"))];
    let names = names.each_ref().map(String::as_str);
    let cache = subject.open(&names, sample.clone()).await?;
    cache.export(&sample.manifest).await?;

    let listing = Listing::of(&cache).await?;
    let (manifest, other) = (listing.manifest(names[0])?, listing.manifest(names[1])?);
    let (gone, kept) = (listing.blob(&sample, 0)?, listing.blob(&sample, 1)?);
    let year_2020 = 1_577_836_800;
    ensure!(
        manifest.size > 0 && manifest.modified > year_2020 && kept.modified > year_2020,
        "a listing gives {manifest:?} and {kept:?}"
    );

    ensure!(
        cache.remove_manifest(manifest).await? && cache.remove_blob(gone).await?,
        "what was listed cannot be removed"
    );
    ensure!(
        !cache.remove_manifest(manifest).await? && !cache.remove_blob(gone).await?,
        "what is gone already can be removed"
    );
    let imported = cache.import().await?;
    ensure!(
        imported.len() == 1 && imported[0].name == other.name,
        "one of two names was removed, and {imported:?} imported"
    );
    let after = Listing::of(&cache).await?;
    let is_listed = after.manifest(names[0]).is_ok() || after.blob(&sample, 0).is_ok();
    ensure!(!is_listed, "what was removed is listed");
    Ok(())
}

pub(super) async fn what_has_changed_since_it_was_listed_is_not_removed(
    subject: &Subject,
) -> Outcome {
    let sample = Sample::of_sizes([100]);
    let name = unique("changed");
    let cache = subject.open(&[&name], sample.clone()).await?;
    cache.export(&sample.manifest).await?;
    let before = Listing::of(&cache).await?;
    cache.remove_blob(before.blob(&sample, 0)?).await?;
    cache.export(&sample.manifest).await?;
    ensure!(
        !cache.remove_manifest(before.manifest(&name)?).await?
            && !cache.remove_blob(before.blob(&sample, 0)?).await?,
        "what was written again since it was listed was removed"
    );
    let loaded = load(&cache).await?;
    ensure!(
        loaded.missing.is_empty(),
        "after removals that came too late, {:?} are missing",
        loaded.missing
    );
    Ok(())
}

pub(super) async fn what_has_an_odd_name_is_listed_and_can_be_removed(
    subject: &Subject,
) -> Outcome {
    let sample = Sample::of_sizes([10]);
    let folder = unique("odd-listed");
    let long = "long-".repeat(160);
    let odd = round_trips::ODD.iter().copied().chain([long.as_str()]);
    let names: Vec<String> = odd.map(|odd| format!("{folder}/{odd}")).collect();
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let cache = subject.open(&borrowed, sample.clone()).await?;
    cache.export(&sample.manifest).await?;
    let imported = cache.import().await?;
    let found: Vec<&str> = imported.iter().map(|one| one.name.as_str()).collect();
    ensure!(
        found == borrowed,
        "{borrowed:?} were stored, and {found:?} imported"
    );

    let listing = Listing::of(&cache).await?;
    for name in borrowed {
        let listed = listing.manifest(name)?;
        ensure!(
            cache.remove_manifest(listed).await?,
            "{name:?} was listed and cannot be removed"
        );
    }
    let left = cache.import().await?;
    ensure!(left.is_empty(), "what was removed is there: {left:?}");
    Ok(())
}
