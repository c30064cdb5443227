//! The two ways to say which layers hold a step's result: the top layer, whose
//! parents follow (`layers`), or all layers from the lowest to the top
//! (`chains`).
//!
//! A cache's config names parents, so it needs no chains. An image's config
//! has no place for parents: there, BuildKit takes the layer before for the
//! parent, and whatever lies otherwise must be spelled out
//! (`importInlineCache` in `cache/remotecache/import.go`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{ChainResult, LayerResult, MAX_ELEMENTS, Record, RecordsError, go_json, parse};
use crate::{Manifest, ManifestError};

/// A layer of a flat list, in its place in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its index in the flat list.
    pub flat: usize,
    /// The index of the layer below it, in the cache.
    pub parent: Option<u32>,
}

/// A layer that no result names, and the index of the layer below it; both in
/// the flat list.
pub(crate) type Claim = (usize, Option<usize>);

/// Why a flat list and its records are not a cache.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainsError {
    /// The records are wrong.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Chains that share too few of their layers.
    #[error(transparent)]
    TooMany(ManifestError),
    /// A claimed layer lies on one that is not part of the cache.
    #[error("layer {layer} lies on layer {parent}, which is not part of the cache")]
    NoSuchParent {
        /// The layer.
        layer: usize,
        /// What it lies on.
        parent: usize,
    },
}

/// The records of `manifest`, which must be valid, with every result as a
/// chain over the manifest's own layers. None where they would have more than
/// `max_bytes`, or more parts than are read.
///
/// Results keep their order: those that were chains before come last.
pub(crate) fn with_chains(
    manifest: &Manifest,
    max_bytes: usize,
) -> Result<Option<String>, RecordsError> {
    let mut records = parse(&manifest.records, manifest.layers.len())?;
    let lengths = chain_lengths(manifest);
    let results = records.iter().flat_map(|record| &record.results);
    let steps = results.fold(0_u64, |sum, result| {
        sum.saturating_add(lengths[result.layer as usize])
    });
    // An index has at least a digit, and a comma or a bracket behind it.
    if steps.saturating_mul(2) > max_bytes as u64 {
        return Ok(None);
    }
    for record in &mut records {
        let mut chains: Vec<ChainResult> = std::mem::take(&mut record.results)
            .into_iter()
            .map(|result| ChainResult {
                layers: chain(manifest, result.layer as usize, &lengths),
                created_at: result.created_at,
            })
            .collect();
        chains.append(&mut record.chains);
        record.chains = chains;
    }
    let json = go_json::to_string(&records).map_err(RecordsError::Json)?;
    let elements = json.bytes().filter(|byte| matches!(byte, b'{' | b'['));
    Ok((json.len() <= max_bytes && elements.count() <= MAX_ELEMENTS).then_some(json))
}

/// For each layer, how many layers its chain has, itself included.
fn chain_lengths(manifest: &Manifest) -> Vec<u64> {
    let mut lengths = vec![0; manifest.layers.len()];
    for layer in 0..lengths.len() {
        let mut path = Vec::new();
        let mut below = Some(layer);
        while let Some(layer) = below.filter(|layer| lengths[*layer] == 0) {
            path.push(layer);
            below = manifest.parent(layer);
        }
        let mut length = below.map_or(0, |layer| lengths[layer]);
        for layer in path.into_iter().rev() {
            length += 1;
            lengths[layer] = length;
        }
    }
    lengths
}

/// The layers from the lowest up to `top`.
fn chain(manifest: &Manifest, top: usize, lengths: &[u64]) -> Vec<i64> {
    let mut layers = Vec::with_capacity(lengths[top] as usize);
    let mut below = Some(top);
    while let Some(layer) = below {
        layers.push(layer as i64);
        below = manifest.parent(layer);
    }
    layers.reverse();
    layers
}

/// What [`with_chains`] did, undone: the cache's layers, each with its parent,
/// and the records with a top layer for each result.
///
/// `json` is an image's records over `flat` layers. A result that names a top
/// layer alone lies on all the layers before it, as BuildKit reads it. Layers
/// that neither a result nor a claim names are not part of the cache. A layer
/// that lies on several others becomes several layers. A result without any
/// layer stays the chain that it is.
///
/// Of a list where each layer lies on one, as [`with_chains`] leaves it, all
/// layers keep their place if all are named.
pub(crate) fn without_chains(
    json: &str,
    flat: usize,
    claims: &[Claim],
) -> Result<(Vec<Placed>, String), ChainsError> {
    let mut records = parse(json, flat)?;
    let mut tree = Tree::default();
    for record in &mut records {
        for result in &mut record.results {
            result.layer = tree.first(result.layer as usize)? as i64;
        }
        let (empty, chains): (Vec<_>, Vec<_>) = std::mem::take(&mut record.chains)
            .into_iter()
            .partition(|chain| chain.layers.is_empty());
        record.chains = empty;
        for chain in chains {
            let mut top = None;
            for layer in &chain.layers {
                top = Some(tree.on(top, *layer as usize)?);
            }
            let Some(top) = top else { continue };
            record.results.push(LayerResult {
                layer: top as i64,
                created_at: chain.created_at,
            });
        }
    }
    tree.claim(claims)?;
    let (placed, new_index) = tree.in_order();
    for result in records.iter_mut().flat_map(|record| &mut record.results) {
        result.layer = new_index[result.layer as usize] as i64;
    }
    let records = go_json::to_string(&records).map_err(RecordsError::Json)?;
    Ok((placed, records))
}

/// The chains, with what they have in common told once: each node is a layer
/// on top of another node.
#[derive(Default)]
struct Tree {
    /// A layer of the flat list, and the node below it.
    nodes: Vec<(usize, Option<usize>)>,
    found: HashMap<(usize, Option<usize>), usize>,
    /// The nodes of the first layers on top of each other, as far as they were
    /// asked for.
    first: Vec<usize>,
}

impl Tree {
    /// The node of `layer` on the node `below`.
    fn on(&mut self, below: Option<usize>, layer: usize) -> Result<usize, ChainsError> {
        match self.found.entry((layer, below)) {
            Entry::Occupied(found) => Ok(*found.get()),
            Entry::Vacant(_) if self.nodes.len() >= Manifest::MAX_LAYERS => Err(
                ChainsError::TooMany(ManifestError::TooManyLayers(self.nodes.len() + 1)),
            ),
            Entry::Vacant(place) => {
                place.insert(self.nodes.len());
                self.nodes.push((layer, below));
                Ok(self.nodes.len() - 1)
            }
        }
    }

    /// The node of `layer` on all the layers before it.
    fn first(&mut self, layer: usize) -> Result<usize, ChainsError> {
        while self.first.len() <= layer {
            let node = self.on(self.first.last().copied(), self.first.len())?;
            self.first.push(node);
        }
        Ok(self.first[layer])
    }

    /// Adds the claimed layers that no chain has.
    fn claim(&mut self, claims: &[Claim]) -> Result<(), ChainsError> {
        let mut node_of = HashMap::new();
        for (node, (layer, _)) in self.nodes.iter().enumerate() {
            node_of.entry(*layer).or_insert(node);
        }
        let mut added = Vec::new();
        for (layer, parent) in claims {
            if let Entry::Vacant(place) = node_of.entry(*layer) {
                let nodes = self.nodes.len();
                if nodes >= Manifest::MAX_LAYERS {
                    return Err(ChainsError::TooMany(ManifestError::TooManyLayers(
                        nodes + 1,
                    )));
                }
                place.insert(nodes);
                added.push((nodes, *layer, *parent));
                self.nodes.push((*layer, None));
            }
        }
        for (node, layer, parent) in added {
            let below = parent.map(|parent| {
                let below = node_of.get(&parent).copied();
                below.ok_or(ChainsError::NoSuchParent { layer, parent })
            });
            self.nodes[node].1 = below.transpose()?;
        }
        Ok(())
    }

    /// The nodes in the order of the flat list, and the new index of each.
    fn in_order(&self) -> (Vec<Placed>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|node| (self.nodes[*node].0, *node));
        let mut new_index = vec![0; order.len()];
        for (index, node) in order.iter().enumerate() {
            new_index[*node] = index;
        }
        let placed = order.iter().map(|node| {
            let (flat, below) = self.nodes[*node];
            // There are at most `Manifest::MAX_LAYERS` nodes.
            let parent = below.map(|below| new_index[below] as u32);
            Placed { flat, parent }
        });
        (placed.collect(), new_index)
    }
}

/// The layers of `manifest`, which must be valid, that are in no result, nor
/// below one: [`without_chains`] finds them by claims alone.
pub(crate) fn unnamed(manifest: &Manifest) -> Result<Vec<Claim>, RecordsError> {
    let records = parse(&manifest.records, manifest.layers.len())?;
    let mut named = vec![false; manifest.layers.len()];
    for record in &records {
        for result in &record.results {
            let mut below = Some(result.layer as usize);
            while let Some(layer) = below.filter(|layer| !named[*layer]) {
                named[layer] = true;
                below = manifest.parent(layer);
            }
        }
        for chain in &record.chains {
            for layer in &chain.layers {
                named[*layer as usize] = true;
            }
        }
    }
    let unnamed = (0..named.len()).filter(|layer| !named[*layer]);
    Ok(unnamed
        .map(|layer| (layer, manifest.parent(layer)))
        .collect())
}

/// Several caches as one: each keeps its layers and its records, behind those
/// of the caches before it.
pub(crate) fn joined(caches: Vec<Manifest>) -> Result<Manifest, RecordsError> {
    let mut caches = caches.into_iter();
    let mut layers = Vec::new();
    let mut all: Vec<Record> = Vec::new();
    match (caches.next(), caches.len()) {
        (None, _) => return Ok(Manifest::default()),
        (Some(only), 0) => return Ok(only),
        (Some(first), _) => {
            for cache in std::iter::once(first).chain(caches) {
                let mut records = parse(&cache.records, cache.layers.len())?;
                let (layer, record) = (layers.len(), all.len());
                for of_this in &mut records {
                    let chained = of_this
                        .chains
                        .iter_mut()
                        .flat_map(|chain| &mut chain.layers);
                    let results = of_this.results.iter_mut().map(|result| &mut result.layer);
                    results
                        .chain(chained)
                        .for_each(|index| *index += layer as i64);
                    let inputs = of_this.inputs.iter_mut().flatten();
                    inputs.for_each(|input| input.link += record as i64);
                }
                all.extend(records);
                layers.extend(cache.layers.into_iter().map(|mut of_this| {
                    of_this.parent = of_this.parent.map(|parent| parent + layer as u32);
                    of_this
                }));
            }
        }
    }
    let records = go_json::to_string(&all).map_err(RecordsError::Json)?;
    Ok(Manifest { layers, records })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::{layer, manifest};

    const AT: &str = r#""createdAt":"2026-11-23T14:14:42.8Z""#;

    /// The records of `json` with `AT` in the place of `AT`.
    fn records(json: &str) -> String {
        json.replace("AT", AT)
    }

    fn placed(flat: usize, parent: Option<u32>) -> Placed {
        Placed { flat, parent }
    }

    #[test]
    fn parents_become_chains_and_chains_parents() {
        let layers = vec![
            layer("c", Some(2)),
            layer("a", None),
            layer("b", Some(1)),
            layer("d", Some(1)),
        ];
        let tops = records(
            r#"[{"layers":[{"layer":0,AT},{"layer":3,AT}],"digest":"sha256:a","inputs":[[{"selector":"\u003cx","link":1}]]},{"layers":[{"layer":1,AT}]},{"digest":"sha256:b"}]"#,
        );
        let chains = records(
            r#"[{"chains":[{"layers":[1,2,0],AT},{"layers":[1,3],AT}],"digest":"sha256:a","inputs":[[{"selector":"\u003cx","link":1}]]},{"chains":[{"layers":[1],AT}]},{"digest":"sha256:b"}]"#,
        );
        let cache = manifest(layers, &tops);
        let written = with_chains(&cache, usize::MAX).expect("valid");
        assert_eq!(written.as_ref(), Some(&chains));
        let (found, read) = without_chains(&chains, 4, &[]).expect("valid");
        let expected = [
            placed(0, Some(2)),
            placed(1, None),
            placed(2, Some(1)),
            placed(3, Some(1)),
        ];
        assert_eq!((&found[..], read), (&expected[..], tops));
    }

    #[test]
    fn chains_that_would_be_too_long_are_not_written() {
        let layers = (0..50_000_u32).map(|index| layer("a", index.checked_sub(1)));
        let result = records(r#"{"layers":[{"layer":49999,AT}]}"#);
        let all = vec![result; 1000].join(",");
        let cache = manifest(layers.collect(), &format!("[{all}]"));
        assert_eq!(with_chains(&cache, 64 << 20).expect("valid"), None);
        let one = manifest(
            vec![layer("a", None)],
            &records(r#"[{"layers":[{"layer":0,AT}]}]"#),
        );
        let length = records(r#"[{"chains":[{"layers":[0],AT}]}]"#).len();
        assert!(with_chains(&one, length).expect("valid").is_some());
        assert_eq!(with_chains(&one, length - 1).expect("valid"), None);
    }

    #[test]
    fn a_top_layer_of_an_image_lies_on_all_before_it() {
        let json = records(r#"[{"layers":[{"layer":1,AT}],"chains":[{"layers":[0,2],AT}]}]"#);
        let (found, read) = without_chains(&json, 4, &[]).expect("valid");
        let expected = [placed(0, None), placed(1, Some(0)), placed(2, Some(0))];
        assert_eq!(found, expected, "layer 3 is not part of the cache");
        assert_eq!(
            read,
            records(r#"[{"layers":[{"layer":1,AT},{"layer":2,AT}]}]"#)
        );
    }

    #[test]
    fn a_layer_on_several_others_becomes_several_and_may_lie_on_itself() {
        let json =
            records(r#"[{"chains":[{"layers":[0,1],AT},{"layers":[1,1],AT},{"layers":[],AT}]}]"#);
        let (found, read) = without_chains(&json, 2, &[]).expect("valid");
        let expected = [
            placed(0, None),
            placed(1, Some(0)),
            placed(1, None),
            placed(1, Some(2)),
        ];
        assert_eq!(found, expected);
        assert_eq!(
            read,
            records(r#"[{"layers":[{"layer":1,AT},{"layer":3,AT}],"chains":[{"layers":[],AT}]}]"#)
        );
    }

    #[test]
    fn layers_that_no_result_names_are_found_by_claims() {
        let layers = vec![
            layer("a", Some(1)),
            layer("b", Some(2)),
            layer("c", None),
            layer("d", None),
        ];
        let cache = manifest(layers, &records(r#"[{"layers":[{"layer":2,AT}]}]"#));
        let claims = unnamed(&cache).expect("valid");
        assert_eq!(claims, [(0, Some(1)), (1, Some(2)), (3, None)]);
        let chains = with_chains(&cache, usize::MAX)
            .expect("valid")
            .expect("short");
        let (found, read) = without_chains(&chains, 4, &claims).expect("valid");
        let parents: Vec<_> = found.iter().map(|placed| placed.parent).collect();
        assert_eq!(parents, [Some(1), Some(2), None, None]);
        assert_eq!(read, cache.records);
        let error = without_chains("[]", 2, &[(0, Some(1))]).expect_err("not there");
        assert_eq!(
            error.to_string(),
            "layer 0 lies on layer 1, which is not part of the cache"
        );
    }

    #[test]
    fn hostile_chains_cost_no_more_than_their_bytes() {
        let beyond = without_chains(r#"[{"chains":[{"layers":[0,2]}]}]"#, 2, &[]);
        assert!(beyond.expect_err("beyond").to_string().contains("layer 2"));
        // Each result lies on 100,000 layers, and there are many results.
        let results = vec![r#"{"layer":99999}"#; 100_000].join(",");
        let (found, _) = without_chains(&format!(r#"[{{"layers":[{results}]}}]"#), 100_000, &[])
            .expect("as many as may be");
        assert_eq!(found.len(), 100_000);
        let own = |index: usize| format!(r#"{{"layers":[{},{}]}}"#, index % 400, index / 400);
        let chains: Vec<_> = (0..100_400).map(own).collect();
        let error = without_chains(
            &format!(r#"[{{"chains":[{}]}}]"#, chains.join(",")),
            400,
            &[],
        );
        let error = error.expect_err("too many").to_string();
        assert!(error.contains("100001 layers"), "{error}");
    }

    #[test]
    fn joined_caches_keep_what_they_refer_to() {
        let one = manifest(
            vec![layer("a", None), layer("b", Some(0))],
            &records(r#"[{"digest":"x"},{"layers":[{"layer":1,AT}],"inputs":[[{"link":0}]]}]"#),
        );
        let other = manifest(
            vec![layer("c", Some(1)), layer("d", None)],
            &records(r#"[{"layers":[{"layer":0,AT}]},{"inputs":[[{"link":0}]]}]"#),
        );
        let both = joined(vec![one.clone(), other]).expect("valid");
        let parents: Vec<_> = both.layers.iter().map(|layer| layer.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(3), None]);
        assert_eq!(
            both.records,
            records(
                r#"[{"digest":"x"},{"layers":[{"layer":1,AT}],"inputs":[[{"link":0}]]},{"layers":[{"layer":2,AT}]},{"inputs":[[{"link":2}]]}]"#
            )
        );
        assert_eq!(joined(vec![one.clone()]).expect("valid"), one);
    }
}
