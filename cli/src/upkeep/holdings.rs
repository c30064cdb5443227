//! What each cache holds alone and what it shares with others: sums over sets of
//! layers, without any request.

use std::collections::HashMap;

use build_cache_host::Digest;
use serde::Serialize;

/// What a cache holds in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// Its layers, those that are lost included.
    pub layers: usize,
    /// Layers that the store does not have, or has at another size.
    pub layers_lost: usize,
    /// The bytes of the layers that are not lost.
    pub bytes: u64,
    /// Those of them that no other cache uses.
    pub own_bytes: u64,
    /// Those of them that another cache uses too.
    pub shared_bytes: u64,
}

/// What all caches hold together, each layer counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Layers that are not lost.
    pub layers: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Adds up what each of the caches holds, given their blobs and sizes, and the
/// sizes of the blobs that the store has.
pub fn add_up(
    caches: &[&HashMap<Digest, u64>],
    stored: &HashMap<Digest, u64>,
) -> (Vec<Holding>, Total) {
    let mut users: HashMap<&Digest, usize> = HashMap::new();
    let mut total = Total::default();
    let is_there = |blob: &Digest, size: u64| stored.get(blob) == Some(&size);
    for (blob, size) in caches.iter().copied().flatten() {
        if !is_there(blob, *size) {
            continue;
        }
        let users = users.entry(blob).or_default();
        if *users == 0 {
            total.layers += 1;
            total.bytes += size;
        }
        *users += 1;
    }
    let hold = |cache: &&HashMap<Digest, u64>| {
        let mut holding = Holding {
            layers: cache.len(),
            ..Holding::default()
        };
        for (blob, size) in *cache {
            if !is_there(blob, *size) {
                holding.layers_lost += 1;
                continue;
            }
            holding.bytes += size;
            match users.get(blob) {
                Some(1) => holding.own_bytes += size,
                _ => holding.shared_bytes += size,
            }
        }
        holding
    };
    (caches.iter().map(hold).collect(), total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(blobs: &[(&str, u64)]) -> HashMap<Digest, u64> {
        let blobs = blobs.iter();
        blobs
            .map(|(text, size)| (Digest::of(text.as_bytes()), *size))
            .collect()
    }

    #[test]
    fn a_layer_counts_as_own_or_as_shared_and_once_in_the_total() {
        let stored = set(&[("base", 100), ("a", 10), ("b", 1), ("spoiled", 6)]);
        let (a, b) = (
            set(&[("base", 100), ("a", 10), ("gone", 5)]),
            set(&[("base", 100), ("b", 1), ("spoiled", 7)]),
        );
        let (holdings, total) = add_up(&[&a, &b, &HashMap::new()], &stored);
        let expected = |bytes, own_bytes| Holding {
            layers: 3,
            layers_lost: 1,
            bytes,
            own_bytes,
            shared_bytes: 100,
        };
        let none = Holding::default();
        assert_eq!(holdings, [expected(110, 10), expected(101, 1), none]);
        let (layers, bytes) = (3, 111);
        assert_eq!(total, Total { layers, bytes });
    }

    #[test]
    fn two_names_of_one_cache_have_nothing_of_their_own() {
        let cache = set(&[("base", 100)]);
        let (holdings, total) = add_up(&[&cache, &cache], &cache);
        assert!(holdings.iter().all(|holding| holding.own_bytes == 0));
        assert!(holdings.iter().all(|holding| holding.shared_bytes == 100));
        assert_eq!(total.bytes, 100);
    }
}
