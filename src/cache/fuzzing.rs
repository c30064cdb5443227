//! Manifests as anybody may have left them in the store.

use serde::de::IgnoredAny;

use super::manifest::Manifest;

/// A manifest's JSON: what is accepted is written so that it reads back the
/// same, for BuildKit too. Layers that cannot be used keep their places.
pub fn manifest(data: &[u8]) {
    let Ok(parsed) = Manifest::as_far_as_usable(data) else {
        return;
    };
    let (count, unusable) = (parsed.manifest.layers.len(), &parsed.unusable);
    assert!(unusable.is_sorted_by(|before, after| before.index < after.index));
    assert!(unusable.last().is_none_or(|last| last.index < count));
    assert_eq!(parsed.usable_layers().count(), count - unusable.len());
    if !unusable.is_empty() {
        return;
    }
    let mut manifest = parsed.manifest;
    let json = manifest
        .to_json()
        .expect("what was accepted can be written");
    let again = Manifest::from_json(&json).expect("what was written can be read");
    if again.records == "[]" {
        // Space in an empty list is not kept.
        manifest.records.retain(|c| !c.is_ascii_whitespace());
    }
    assert_eq!(again, manifest);
    assert_eq!(again.to_json().as_deref(), Ok(&*json));
    serde_json::from_slice::<IgnoredAny>(&json).expect("it is JSON to others, too");
    for layer in &manifest.layers {
        assert!(
            layer
                .parent
                .is_none_or(|parent| (parent as usize) < manifest.layers.len())
        );
        assert!(i64::try_from(layer.size).is_ok());
    }
}
