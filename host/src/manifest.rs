//! A build cache as the host sees it, whichever store it came from, and what
//! must hold of one before anybody uses it.

use std::collections::HashMap;

use crate::Digest;
use crate::records::{self, Pruned, RecordsError};

/// A build cache: its layer blobs, and the solver's records over them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The layers; records and parents refer to them by index. A blob that
    /// lies on two parents is two layers, with the same size and media type.
    pub layers: Vec<Layer>,
    /// The `records` of BuildKit's `CacheConfig`, a JSON array.
    pub records: String,
}

/// One layer blob of a build cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob as stored.
    pub blob: Digest,
    /// Size of the blob as stored, in bytes.
    pub size: u64,
    /// OCI media type, which names the compression.
    pub media_type: String,
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// RFC 3339; none where nobody knows.
    pub created_at: Option<String>,
    /// Index in [`Manifest::layers`] of the layer below; none for a base layer.
    pub parent: Option<u32>,
}

/// What is wrong with a build cache's manifest. Layers and records are counted
/// from 0, as they count each other.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More layers than any cache has.
    #[error("it has {0} layers, more than the {max} that are read", max = Manifest::MAX_LAYERS)]
    TooManyLayers(usize),
    /// A size that no store holds, or sizes that come to one.
    #[error("layer {layer} makes the cache larger than {max} bytes, more than there is", max = Manifest::MAX_BYTES)]
    TooLarge {
        /// The layer with which the sum is too large.
        layer: usize,
    },
    /// A media type that cannot be one by its form.
    #[error("layer {layer} has a media type of {length} bytes; it must have 1 to {max}", max = Manifest::MAX_MEDIA_TYPE_BYTES)]
    MediaTypeLength {
        /// The layer.
        layer: usize,
        /// In bytes.
        length: usize,
    },
    /// More text in the records than any cache has.
    #[error("its records have {0} bytes, more than the {max} that are read", max = Manifest::MAX_RECORDS_BYTES)]
    RecordsTooLong(usize),
    /// A parent that is not there.
    #[error("layer {layer} lies on layer {parent}, but there are only {layers} layers")]
    NoSuchParent {
        /// The layer.
        layer: usize,
        /// The parent it names.
        parent: u32,
        /// How many layers there are.
        layers: usize,
    },
    /// A layer that lies on itself.
    #[error("layer {0} lies on itself, through its parents")]
    LayerCycle(usize),
    /// One blob described in two ways.
    #[error(
        "layers {first} and {second} are the same blob, {blob}, but differ in size, media type or diff ID"
    )]
    Contradiction {
        /// The one.
        first: usize,
        /// The other.
        second: usize,
        /// Their blob.
        blob: Digest,
    },
    /// A layer without bytes, with which BuildKit fails the build.
    #[error("layer {layer}, {blob}, is said to have no bytes, and BuildKit fails a build on that")]
    EmptyLayer {
        /// The layer.
        layer: usize,
        /// Its blob.
        blob: Digest,
    },
    /// A media type with which BuildKit fails the build.
    #[error(
        "layer {layer}, {blob}, has the media type `{media_type}`, which BuildKit does not accept for a layer"
    )]
    MediaType {
        /// The layer.
        layer: usize,
        /// Its blob.
        blob: Digest,
        /// What the manifest reports.
        media_type: String,
    },
    /// A time that is not one.
    #[error("layer {layer} was created at `{time}`, which is not an RFC 3339 time")]
    CreatedAt {
        /// The layer.
        layer: usize,
        /// What it says.
        time: String,
    },
    /// The records are wrong.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Manifest {
    /// As many layers as are read. BuildKit's caches have hundreds; this only
    /// keeps a hostile manifest from filling the memory.
    pub const MAX_LAYERS: usize = 100_000;

    /// The most that all blobs together may have, each counted once, in bytes:
    /// what BuildKit's own type for a size holds.
    pub const MAX_BYTES: u64 = i64::MAX as u64;

    /// The longest media type, in bytes: two names of 127 and a slash
    /// ([RFC 6838](https://www.rfc-editor.org/rfc/rfc6838#section-4.2)).
    pub const MAX_MEDIA_TYPE_BYTES: usize = 255;

    /// The most text that the records may have, in bytes: as much as a backend
    /// or a directory is read of.
    pub const MAX_RECORDS_BYTES: usize = 64 << 20;

    /// Checks that every index points to something and nothing in a circle,
    /// that sizes and counts are such as a cache can have, and that the records
    /// are BuildKit's.
    ///
    /// Digests need no check: they are parsed. A blob that stands there twice
    /// must be described alike; twice on one parent does no harm.
    ///
    /// This is what any build host needs. What BuildKit needs beyond it,
    /// [`Self::validate_for_buildkit`] checks.
    pub fn validate(&self) -> Result<(), ManifestError> {
        let count = self.layers.len();
        if count > Self::MAX_LAYERS {
            return Err(ManifestError::TooManyLayers(count));
        }
        if self.records.len() > Self::MAX_RECORDS_BYTES {
            return Err(ManifestError::RecordsTooLong(self.records.len()));
        }
        let mut bytes = 0_u64;
        let mut seen: HashMap<&Digest, usize> = HashMap::with_capacity(count);
        for (index, layer) in self.layers.iter().enumerate() {
            if let Some(parent) = layer.parent
                && parent as usize >= count
            {
                return Err(ManifestError::NoSuchParent {
                    layer: index,
                    parent,
                    layers: count,
                });
            }
            let length = layer.media_type.len();
            if !(1..=Self::MAX_MEDIA_TYPE_BYTES).contains(&length) {
                return Err(ManifestError::MediaTypeLength {
                    layer: index,
                    length,
                });
            }
            let first = *seen.entry(&layer.blob).or_insert(index);
            if first == index {
                bytes = bytes.saturating_add(layer.size);
                if bytes > Self::MAX_BYTES {
                    return Err(ManifestError::TooLarge { layer: index });
                }
            }
            if !self.layers[first].describes_the_same_blob_as(layer) {
                let blob = layer.blob.clone();
                return Err(ManifestError::Contradiction {
                    first,
                    second: index,
                    blob,
                });
            }
        }
        if let Some(layer) = records::find_cycle(count, |layer| self.parent(layer).into_iter()) {
            return Err(ManifestError::LayerCycle(layer));
        }
        records::parse(&self.records, count)?;
        Ok(())
    }

    /// Checks what [`Self::validate`] does, and that no build fails on it: on
    /// import, BuildKit trusts every layer's size and media type, and fails the
    /// build when they do not fit.
    pub fn validate_for_buildkit(&self) -> Result<(), ManifestError> {
        self.validate()?;
        match self.unfit_for_buildkit().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// The layers with which BuildKit would fail a build, by their place, and
    /// why. The rest of the cache is of use without them
    /// ([`Self::without_unfit_layers`]).
    pub fn unfit_for_buildkit(&self) -> impl Iterator<Item = (usize, ManifestError)> {
        let layers = self.layers.iter().enumerate();
        layers.filter_map(|(index, layer)| Some((index, layer.unfit(index)?)))
    }

    /// The cache without the layers with which BuildKit would fail a build.
    ///
    /// # Errors
    /// When the manifest is not valid ([`Self::validate`]).
    pub fn without_unfit_layers(&self) -> Result<Pruned, ManifestError> {
        self.without(|index, layer| layer.unfit(index).is_some())
    }

    /// The layer below `layer`.
    pub(crate) fn parent(&self, layer: usize) -> Option<usize> {
        self.layers[layer].parent.map(|parent| parent as usize)
    }
}

impl Layer {
    /// Why BuildKit would fail a build with this layer, which is at `index`.
    fn unfit(&self, index: usize) -> Option<ManifestError> {
        if self.size == 0 {
            let blob = self.blob.clone();
            return Some(ManifestError::EmptyLayer { layer: index, blob });
        }
        if oci_media_type(&self.media_type).is_none() {
            return Some(ManifestError::MediaType {
                layer: index,
                blob: self.blob.clone(),
                media_type: self.media_type.chars().take(100).collect(),
            });
        }
        let time = self.created_at.as_ref();
        let time = time.filter(|time| !records::is_rfc3339(time))?;
        let time = time.chars().take(100).collect();
        Some(ManifestError::CreatedAt { layer: index, time })
    }

    /// BuildKit keeps one descriptor a blob, so layers that share a blob must
    /// agree on it.
    fn describes_the_same_blob_as(&self, other: &Self) -> bool {
        (self.size, &self.media_type, &self.diff_id)
            == (other.size, &other.media_type, &other.diff_id)
    }
}

/// The OCI name of a layer media type that BuildKit knows; none for any other.
///
/// BuildKit gives Docker's names the same treatment whenever it writes OCI
/// (`ConvertAllLayerMediaTypes` in `util/compression`).
pub(crate) fn oci_media_type(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => {
            "application/vnd.oci.image.layer.v1.tar"
        }
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            "application/vnd.oci.image.layer.v1.tar+gzip"
        }
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            "application/vnd.oci.image.layer.v1.tar+zstd"
        }
        "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar"
        }
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        }
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        }
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A layer of three bytes that are its name.
    pub(crate) fn layer(name: &str, parent: Option<u32>) -> Layer {
        Layer {
            blob: Digest::of(name.as_bytes()),
            size: name.len() as u64,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            diff_id: Digest::of(format!("tar of {name}").as_bytes()),
            created_at: Some("2026-11-23T14:14:42.815976394Z".to_owned()),
            parent,
        }
    }

    pub(crate) fn manifest(layers: Vec<Layer>, records: &str) -> Manifest {
        Manifest {
            layers,
            records: records.to_owned(),
        }
    }

    fn error(manifest: &Manifest) -> String {
        manifest
            .validate_for_buildkit()
            .expect_err("should be refused")
            .to_string()
    }

    #[test]
    fn a_layer_may_stand_before_its_parent_and_a_blob_on_two_parents() {
        let layers = vec![layer("b", Some(1)), layer("a", None), layer("b", Some(0))];
        manifest(layers, "[]")
            .validate_for_buildkit()
            .expect("valid");
    }

    #[test]
    fn parents_out_of_range_or_in_a_circle_are_named() {
        let beyond = manifest(vec![layer("a", None), layer("b", Some(2))], "[]");
        assert_eq!(
            error(&beyond),
            "layer 1 lies on layer 2, but there are only 2 layers"
        );
        let itself = manifest(vec![layer("a", Some(0))], "[]");
        assert_eq!(
            error(&itself),
            "layer 0 lies on itself, through its parents"
        );
        let circle = vec![layer("a", None), layer("b", Some(2)), layer("c", Some(1))];
        assert!(error(&manifest(circle, "[]")).contains("lies on itself"));
    }

    #[test]
    fn one_blob_cannot_have_two_sizes() {
        let mut layers = vec![layer("a", None), layer("b", Some(0)), layer("a", Some(1))];
        layers[2].size += 1;
        assert!(error(&manifest(layers, "[]")).starts_with("layers 0 and 2 are the same blob"));
    }

    #[test]
    fn what_fails_a_build_is_refused_for_buildkit_alone() {
        type Spoil = fn(&mut Layer);
        let cases: [(Spoil, &str); 3] = [
            (|layer| layer.size = 0, "have no bytes"),
            (
                |layer| layer.media_type.push_str("+bogus"),
                "+bogus`, which BuildKit does not accept for a layer",
            ),
            (
                |layer| layer.created_at = Some("yesterday".to_owned()),
                "not an RFC 3339 time",
            ),
        ];
        for (spoil, expected) in cases {
            let mut layers = vec![layer("a", None)];
            spoil(&mut layers[0]);
            let manifest = manifest(layers, "[]");
            manifest.validate().expect("a backend may store it");
            let message = error(&manifest);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn as_many_layers_as_are_read_are_taken_and_no_more() {
        let layers = |count| manifest(vec![layer("a", None); count], "[]");
        layers(Manifest::MAX_LAYERS).validate().expect("a cache");
        let message = error(&layers(Manifest::MAX_LAYERS + 1));
        assert!(message.contains("100001 layers"), "{message}");
    }

    #[test]
    fn sizes_that_no_store_holds_are_refused_also_as_a_sum() {
        let sized = |sizes: &[u64]| {
            let layers = sizes.iter().enumerate().map(|(number, size)| Layer {
                size: *size,
                ..layer(&format!("layer {number}"), None)
            });
            manifest(layers.collect(), "[]")
        };
        let half = Manifest::MAX_BYTES / 2;
        sized(&[Manifest::MAX_BYTES]).validate().expect("just so");
        sized(&[half, half]).validate().expect("just so");
        for (sizes, culprit) in [
            (&[1, u64::MAX][..], "layer 1"),
            (&[Manifest::MAX_BYTES + 1], "layer 0"),
            (&[half, half, 2], "layer 2"),
        ] {
            let message = error(&sized(sizes));
            assert!(
                message.contains(culprit) && message.contains("larger"),
                "{message}"
            );
        }
        // A blob on many parents is stored once, and counts once.
        let mut twins = sized(&[Manifest::MAX_BYTES]);
        twins.layers.push(twins.layers[0].clone());
        twins.validate().expect("one blob");
    }

    #[test]
    fn a_media_type_has_a_length_that_one_can_have() {
        let typed = |length| Layer {
            media_type: "m".repeat(length),
            ..layer("a", None)
        };
        let longest = Manifest::MAX_MEDIA_TYPE_BYTES;
        for (length, is_fine) in [(0, false), (1, true), (longest, true), (longest + 1, false)] {
            let checked = manifest(vec![typed(length)], "[]").validate();
            assert_eq!(checked.is_ok(), is_fine, "{length}: {checked:?}");
        }
    }

    #[test]
    fn records_longer_than_any_are_refused_before_they_are_read() {
        let records = " ".repeat(Manifest::MAX_RECORDS_BYTES - 1);
        let message = error(&manifest(vec![], &format!("{records}[]")));
        assert!(message.contains("records have 67108865 bytes"), "{message}");
        manifest(vec![], &format!("{}[]", &records[1..]))
            .validate()
            .expect("records");
    }

    #[test]
    fn the_same_layer_twice_does_no_harm() {
        let layers = vec![layer("a", None), layer("b", Some(0)), layer("b", Some(0))];
        let twice = manifest(layers, r#"[{"layers":[{"layer":1},{"layer":2}]}]"#);
        twice.validate_for_buildkit().expect("a cache");
    }
}
