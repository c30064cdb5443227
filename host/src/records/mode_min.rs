//! Takes out of a cache what its final result does not need: `mode=min`.

use std::collections::HashSet;

use super::{Record, checked, parse, prune::results_within};
use crate::{Manifest, ManifestError};

impl Manifest {
    /// The cache as BuildKit's `mode=min` would have exported it right after
    /// the build: only the layers of the final result, all the records, and of
    /// the results those that lie within these layers. Order and bytes are
    /// BuildKit's.
    ///
    /// Which result is final, a cache does not say. It is taken to be every
    /// record that no other links to; of a build for several platforms, the
    /// final results of all of them. Where such a record has no result, because
    /// its step made no layer, the steps before it take its place, as in
    /// BuildKit (`ExportTo` in `solver/exporter.go`).
    ///
    /// When all is needed, nothing changes, not a byte.
    ///
    /// # Errors
    /// When the manifest is not valid ([`Manifest::validate`]).
    pub fn for_mode_min(&self) -> Result<Self, ManifestError> {
        self.validate()?;
        let records = parse(&self.records, self.layers.len())?;
        let mut keep = vec![false; self.layers.len()];
        for record in records_of_final_results(&records) {
            for layer in checked(records[record].layers()) {
                let mut below = Some(layer);
                while let Some(layer) = below.filter(|layer| !keep[*layer]) {
                    keep[layer] = true;
                    below = self.parent(layer);
                }
            }
        }
        if keep.iter().all(|keep| *keep) {
            return Ok(self.clone());
        }
        Ok(self.with_layers(&keep, results_within(records, &keep))?)
    }
}

/// The last records that have a result, on every way back from the ends.
fn records_of_final_results(records: &[Record]) -> Vec<usize> {
    let mut linked = vec![false; records.len()];
    for link in records.iter().flat_map(|record| checked(record.links())) {
        linked[link] = true;
    }
    let ends = (0..records.len()).filter(|record| !linked[*record]);
    let (mut found, without): (Vec<_>, Vec<_>) =
        ends.partition(|record| records[*record].has_result());

    // BuildKit also writes a step under other keys by which it may be found,
    // without results; one that has a result elsewhere needs no substitute.
    let have: HashSet<&str> = found
        .iter()
        .map(|record| records[*record].digest.as_str())
        .collect();
    let mut todo: Vec<usize> = without
        .into_iter()
        .filter(|record| !have.contains(records[*record].digest.as_str()))
        .collect();
    let mut visited = vec![false; records.len()];
    while let Some(record) = todo.pop() {
        for link in checked(records[record].links()) {
            if !std::mem::replace(&mut visited[link], true) {
                if records[link].has_result() {
                    found.push(link)
                } else {
                    todo.push(link)
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::manifest::tests::{layer, manifest};

    const AT: &str = "\"createdAt\":\"2026-11-23T14:14:42Z\"";

    fn selected(records: &str) -> Vec<usize> {
        let layers = vec![
            layer("a", None),
            layer("b", Some(0)),
            layer("c", Some(0)),
            layer("d", None),
        ];
        let min = manifest(layers.clone(), records)
            .for_mode_min()
            .expect("valid");
        min.validate_for_buildkit().expect("BuildKit takes it");
        let place = |kept: &crate::Layer| layers.iter().position(|layer| layer.blob == kept.blob);
        min.layers.iter().filter_map(place).collect()
    }

    fn step(digest: &str, layer: Option<u32>, links: &[u32]) -> String {
        let result = layer
            .map(|layer| format!("\"layers\":[{{\"layer\":{layer},{AT}}}],"))
            .unwrap_or_default();
        let inputs: Vec<String> = links
            .iter()
            .map(|link| format!("[{{\"link\":{link}}}]"))
            .collect();
        format!(
            "{{{result}\"digest\":\"{digest}\",\"inputs\":[{}]}}",
            inputs.join(",")
        )
    }

    #[test]
    fn intermediate_results_go_and_their_records_stay() {
        let records = [
            step("root", Some(3), &[]),
            step("side", Some(2), &[0]),
            step("end", Some(1), &[1]),
        ];
        let records = format!("[{}]", records.join(","));
        assert_eq!(selected(&records), [0, 1]);
    }

    #[test]
    fn every_end_is_final() {
        let records = [
            step("root", Some(3), &[]),
            step("arm", Some(1), &[0]),
            step("amd", Some(2), &[0]),
        ];
        assert_eq!(selected(&format!("[{}]", records.join(","))), [0, 1, 2]);
    }

    #[test]
    fn an_end_without_a_result_gives_way_to_the_steps_before_it() {
        let records = [
            step("root", Some(3), &[]),
            step("copy", Some(1), &[0]),
            step("empty", None, &[1]),
            step("end", None, &[2]),
        ];
        assert_eq!(selected(&format!("[{}]", records.join(","))), [0, 1]);
    }

    #[test]
    fn another_key_of_the_final_step_adds_nothing() {
        let records = [
            step("root", Some(3), &[]),
            step("end", Some(1), &[0]),
            step("end", None, &[0]),
        ];
        assert_eq!(selected(&format!("[{}]", records.join(","))), [0, 1]);
    }

    #[test]
    fn an_empty_cache_stays_empty() {
        assert_eq!(selected("[]"), Vec::<usize>::new());
    }
}
