//! Takes lost layers out of a cache, so that the rest stays usable.

use std::collections::HashSet;

use super::{Record, RecordsError, checked, go_json, parse};
use crate::{Digest, Layer, Manifest, ManifestError};

/// A cache without the layers that its store lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// What is left.
    pub manifest: Manifest,
    /// The blobs of the layers that went: those that were lost, and those that
    /// lay on them and are of no use any more.
    pub layers: Vec<Digest>,
    /// How many records lost their result.
    pub records: usize,
}

impl Manifest {
    /// The cache without the layers whose blobs are `missing`.
    ///
    /// A layer goes when its blob is missing or the layer below it goes, for a
    /// result is whole only with all its parents. A record whose result went
    /// stays as long as a record with a result comes after it: BuildKit walks
    /// from step to step, so a record without a result is a step that cannot be
    /// loaded, while the steps after it still can. Records that lead to no
    /// result any more go.
    ///
    /// When nothing is missing, nothing changes, not a byte.
    ///
    /// # Errors
    /// When the manifest is not valid ([`Manifest::validate`]).
    pub fn without_layers(&self, missing: &[Digest]) -> Result<Pruned, ManifestError> {
        let missing: HashSet<&Digest> = missing.iter().collect();
        self.without(|_, layer| missing.contains(&layer.blob))
    }

    /// The cache without the layers that are `lost`, by their place, and what
    /// lies on them; otherwise as [`Self::without_layers`] does it.
    ///
    /// # Errors
    /// When the manifest is not valid ([`Manifest::validate`]).
    pub(crate) fn without(
        &self,
        lost: impl Fn(usize, &Layer) -> bool,
    ) -> Result<Pruned, ManifestError> {
        self.validate()?;
        let keep = self.whole_layers(lost);
        let gone = self.layers.iter().zip(&keep).filter(|(_, keep)| !**keep);
        let layers: Vec<Digest> = gone.map(|(layer, _)| layer.blob.clone()).collect();
        if layers.is_empty() {
            return Ok(Pruned {
                manifest: self.clone(),
                layers,
                records: 0,
            });
        }
        let before = parse(&self.records, self.layers.len())?;
        let with_result =
            |records: &[Record]| records.iter().filter(|record| record.has_result()).count();
        let after = results_within(before.clone(), &keep);
        let records = with_result(&before) - with_result(&after);
        let manifest = self.with_layers(&keep, that_lead_to_a_result(after))?;
        Ok(Pruned {
            manifest,
            layers,
            records,
        })
    }

    /// For each layer, whether it and all its parents are there.
    fn whole_layers(&self, lost: impl Fn(usize, &Layer) -> bool) -> Vec<bool> {
        let layers = self.layers.iter().enumerate();
        let mut whole: Vec<Option<bool>> = layers
            .map(|(index, layer)| lost(index, layer).then_some(false))
            .collect();
        for layer in 0..self.layers.len() {
            let mut path = Vec::new();
            let mut below = Some(layer);
            let verdict = loop {
                match below {
                    None => break true,
                    Some(layer) => match whole[layer] {
                        Some(known) => break known,
                        None => path.push(layer),
                    },
                }
                below = below.and_then(|layer| self.parent(layer));
            };
            for layer in path {
                whole[layer] = Some(verdict);
            }
        }
        whole.into_iter().map(|whole| whole == Some(true)).collect()
    }

    /// The cache with only the layers to `keep`, each of whose parents is kept,
    /// and with `records`, whose results are all within them.
    pub(super) fn with_layers(
        &self,
        keep: &[bool],
        mut records: Vec<Record>,
    ) -> Result<Self, RecordsError> {
        let new_index = new_indices(keep);
        let mut layers = Vec::new();
        for (layer, _) in self.layers.iter().zip(keep).filter(|(_, keep)| **keep) {
            let mut layer = layer.clone();
            layer.parent = layer.parent.map(|parent| new_index[parent as usize] as u32);
            layers.push(layer);
        }
        let renumber = |layer: &mut i64| *layer = new_index[*layer as usize];
        for record in &mut records {
            record
                .results
                .iter_mut()
                .for_each(|result| renumber(&mut result.layer));
            record
                .chains
                .iter_mut()
                .flat_map(|chain| &mut chain.layers)
                .for_each(renumber);
        }
        let records = go_json::to_string(&records).map_err(RecordsError::Json)?;
        Ok(Self { layers, records })
    }
}

/// The records with only those results whose layers are all to `keep`.
pub(super) fn results_within(mut records: Vec<Record>, keep: &[bool]) -> Vec<Record> {
    for record in &mut records {
        record.results.retain(|result| keep[result.layer as usize]);
        record
            .chains
            .retain(|chain| chain.layers.iter().all(|layer| keep[*layer as usize]));
    }
    records
}

/// The records that have a result, and those that they link to, and so on.
fn that_lead_to_a_result(records: Vec<Record>) -> Vec<Record> {
    let mut keep: Vec<bool> = records.iter().map(Record::has_result).collect();
    let mut todo: Vec<usize> = (0..records.len()).filter(|record| keep[*record]).collect();
    while let Some(record) = todo.pop() {
        for link in checked(records[record].links()) {
            if !keep[link] {
                keep[link] = true;
                todo.push(link);
            }
        }
    }
    let new_index = new_indices(&keep);
    let mut kept: Vec<Record> = records
        .into_iter()
        .zip(keep)
        .filter_map(|(record, keep)| keep.then_some(record))
        .collect();
    for link in kept
        .iter_mut()
        .flat_map(|record| &mut record.inputs)
        .flatten()
    {
        link.link = new_index[link.link as usize];
    }
    kept
}

/// For each index, what it becomes when only those to `keep` are left.
fn new_indices(keep: &[bool]) -> Vec<i64> {
    let mut next = 0;
    keep.iter()
        .map(|keep| {
            let index = next;
            next += i64::from(*keep);
            index
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::{layer, manifest};

    const AT: &str = "\"createdAt\":\"2026-11-23T14:14:42Z\"";

    /// base ← middle ← top, and side on base; a step for each, and the root.
    fn cache() -> Manifest {
        let layers = vec![
            layer("top", Some(2)),
            layer("base", None),
            layer("middle", Some(1)),
            layer("side", Some(1)),
        ];
        let step = |layer: u32, link: u32| {
            format!(
                "{{\"layers\":[{{\"layer\":{layer},{AT}}}],\"digest\":\"s{layer}\",\"inputs\":[[{{\"link\":{link}}}]]}}"
            )
        };
        let root = "{\"digest\":\"root\"}".to_owned();
        let records = [step(0, 2), root, step(2, 3), step(1, 1), step(3, 3)].join(",");
        manifest(layers, &format!("[{records}]"))
    }

    fn blobs(manifest: &Manifest) -> Vec<Digest> {
        manifest
            .layers
            .iter()
            .map(|layer| layer.blob.clone())
            .collect()
    }

    fn digests(names: &[&str]) -> Vec<Digest> {
        names
            .iter()
            .map(|name| Digest::of(name.as_bytes()))
            .collect()
    }

    #[test]
    fn nothing_changes_when_nothing_is_missing() {
        let mut cache = cache();
        cache.records = cache.records.replace("[{", "[ {");
        let pruned = cache
            .without_layers(&digests(&["of another cache"]))
            .expect("valid");
        assert_eq!(
            pruned,
            Pruned {
                manifest: cache,
                layers: vec![],
                records: 0
            }
        );
    }

    #[test]
    fn the_layers_above_a_lost_one_go_with_it() {
        let pruned = cache()
            .without_layers(&digests(&["middle"]))
            .expect("valid");
        assert_eq!(pruned.layers, digests(&["top", "middle"]));
        assert_eq!(pruned.records, 2);
        assert_eq!(blobs(&pruned.manifest), digests(&["base", "side"]));
        let parents: Vec<_> = pruned
            .manifest
            .layers
            .iter()
            .map(|layer| layer.parent)
            .collect();
        assert_eq!(parents, [None, Some(0)]);
        let expected = format!(
            "[{{\"digest\":\"root\"}},\
              {{\"layers\":[{{\"layer\":0,{AT}}}],\"digest\":\"s1\",\"inputs\":[[{{\"link\":0}}]]}},\
              {{\"layers\":[{{\"layer\":1,{AT}}}],\"digest\":\"s3\",\"inputs\":[[{{\"link\":1}}]]}}]"
        );
        assert_eq!(pruned.manifest.records, expected);
        pruned
            .manifest
            .validate_for_buildkit()
            .expect("BuildKit takes it");
    }

    #[test]
    fn a_record_without_its_result_stays_while_a_later_one_needs_it() {
        let mut cache = cache();
        cache.layers[0].parent = None; // Now `top` is whole without `middle`.
        let pruned = cache.without_layers(&digests(&["middle"])).expect("valid");
        assert_eq!(pruned.layers, digests(&["middle"]));
        assert_eq!(pruned.records, 1);
        let records = parse(&pruned.manifest.records, 3).expect("valid");
        assert_eq!(records.len(), 5);
        assert!(!records[2].has_result() && records[0].has_result());
    }

    #[test]
    fn every_place_of_a_lost_blob_goes() {
        let layers = vec![
            layer("a", None),
            layer("b", Some(0)),
            layer("a", Some(1)),
            layer("c", None),
        ];
        let records = format!(
            "[{{\"chains\":[{{\"layers\":[3,2],{AT}}}]}},{{\"chains\":[{{\"layers\":[3],{AT}}}]}}]"
        );
        let pruned = manifest(layers, &records)
            .without_layers(&digests(&["a"]))
            .expect("valid");
        assert_eq!(pruned.layers, digests(&["a", "b", "a"]));
        assert_eq!(
            pruned.manifest.records,
            format!("[{{\"chains\":[{{\"layers\":[0],{AT}}}]}}]")
        );
    }

    #[test]
    fn a_cache_that_lost_everything_is_empty() {
        let pruned = cache().without_layers(&digests(&["base"])).expect("valid");
        assert_eq!(pruned.manifest, manifest(vec![], "[]"));
        assert_eq!((pruned.layers.len(), pruned.records), (4, 4));
    }
}
