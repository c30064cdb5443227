//! Images with a cache in their config, as anybody may have built them.
//!
//! An input is two lines and the records. The first line has a word for each
//! layer: the annotation that says what it lies on, or `-` for none. The
//! second has a date or `-` for each `history` entry.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::oci_layout::{Assembly, Documents, Form, assemble};
use crate::{Digest, Manifest};

/// What is accepted can be used by BuildKit, and comes back the same from
/// either form in which it is written.
pub fn inline_image(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut parts = text.splitn(3, '\n');
    let (Some(parents), Some(dates), Some(records)) = (parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let (config, top) = image(parents, dates, records);
    let Some(cache) = read(&top, &HashMap::from([(Digest::of(&config), config)])) else {
        return;
    };
    cache
        .validate_for_buildkit()
        .expect("BuildKit can use what was read");
    for form in [Form::Usual, Form::Inline] {
        // Without layers there is no inline form.
        let documents = Documents::in_form(&cache, form).expect("it is valid");
        let Some(documents) = documents else {
            assert!(cache.layers.is_empty());
            continue;
        };
        let blobs = documents.iter();
        let blobs = blobs.map(|of| (of.digest.clone(), of.json.clone().into_bytes()));
        let again = read(documents.top().json.as_bytes(), &blobs.collect());
        let mut again = again.expect("what was written is read");
        if form == Form::Usual {
            // There, a blob has one date, wherever it lies.
            for (layer, was) in again.layers.iter_mut().zip(&cache.layers) {
                layer.created_at.clone_from(&was.created_at);
            }
        }
        assert_eq!(again, cache, "{form:?}");
    }
}

/// An image's config and manifest.
fn image(parents: &str, dates: &str, records: &str) -> (Vec<u8>, Vec<u8>) {
    let parents: Vec<_> = parents.split(' ').take(64).collect();
    // Some blobs come twice.
    let blobs: Vec<_> = (0..parents.len())
        .map(|index| Digest::of(&[index as u8 % 8]))
        .collect();
    let diff_ids = blobs.iter().map(|blob| Digest::of(&blob.bytes()));
    let history = dates.split(' ').map(|date| match date {
        "-" => json!({}),
        date => json!({ "created": date }),
    });
    let config = json!({
        "rootfs": { "diff_ids": diff_ids.collect::<Vec<_>>() },
        "history": history.collect::<Vec<_>>(),
        "moby.buildkit.cache.v0": STANDARD.encode(records),
    });
    let config = config.to_string().into_bytes();
    let layers = parents.iter().zip(&blobs).map(|(parent, blob)| {
        let annotations = match *parent {
            "-" => json!({}),
            parent => json!({ "build-cache.parent": parent }),
        };
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": blob, "size": 1, "annotations": annotations,
        })
    });
    let manifest = json!({
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(&config), "size": config.len(),
        },
        "layers": layers.collect::<Vec<_>>(),
    });
    (config, manifest.to_string().into_bytes())
}

/// The cache, if it is one.
fn read(top: &[u8], blobs: &HashMap<Digest, Vec<u8>>) -> Option<Manifest> {
    match assemble(top, blobs) {
        Ok(Assembly::Whole(cache)) => Some(cache),
        Ok(Assembly::Needs(needs)) => panic!("all that there is was given: {needs:?}"),
        Err(_) => None,
    }
}
