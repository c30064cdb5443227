//! What `cargo fuzz` runs on everything that this crate reads and did not
//! write: a function for each target, which takes bytes, whatever they are, and
//! panics where something does not hold that must. Only fuzzing and tests
//! compile it. The inputs worth keeping are in `fuzz/corpus/`, and the tests
//! here run them again.

mod hostile_directory;
mod inline_image;

pub use hostile_directory::oci_layout;
pub use inline_image::inline_image;

use crate::text::Scrubber;
use crate::{CacheSpec, Digest, Layer, Manifest};

/// What stands for a secret in the corpora.
const SECRET: &str = "hunter2";

/// What a user writes after `--to`: what is accepted prints as what it was
/// read from, and no value is shown.
pub fn cache_spec(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let spec: CacheSpec = match text.parse() {
        Ok(spec) => spec,
        Err(_) => return,
    };
    let keys = spec.attributes.iter().map(|(key, _)| key);
    let may_show = keys
        .chain([&spec.r#type])
        .any(|shown| shown.contains(SECRET));
    assert!(
        may_show || !format!("{spec:?}").contains(SECRET),
        "{spec:?}"
    );

    let mut fields = vec![format!("type={}", spec.r#type)];
    if let Some(mode) = spec.mode {
        fields.push(format!("mode={mode:?}").to_lowercase());
    }
    fields.push(format!("ignore-error={}", spec.ignore_error));
    let attributes = spec.attributes.iter();
    fields.extend(attributes.map(|(key, value)| format!("{key}={value}")));
    let quoted = fields
        .iter()
        .map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
    let printed = quoted.collect::<Vec<_>>().join(",");
    assert_eq!(printed.parse().as_ref(), Ok(&spec), "{printed}");
}

/// A cache in three parts: the layers' parents and the lost layers, a line
/// each, and the records. What BuildKit could use is still that when layers
/// are lost, and when it is cut down to `mode=min`.
pub fn records(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut parts = text.splitn(3, '\n');
    let (Some(parents), Some(lost), Some(records)) = (parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let parents = parents
        .split(' ')
        .take(64)
        .map(|parent| parent.parse().ok());
    let cache = Manifest {
        layers: parents
            .enumerate()
            .map(|(index, parent)| layer(index, parent))
            .collect(),
        records: records.to_owned(),
    };
    let lost: Vec<Digest> = lost
        .split(' ')
        .filter_map(|index| cache.layers.get(index.parse::<usize>().ok()?))
        .map(|layer| layer.blob.clone())
        .collect();
    if cache.validate_for_buildkit().is_err() {
        return;
    }

    let pruned = cache
        .without_layers(&lost)
        .expect("a valid cache can lose layers")
        .manifest;
    pruned
        .validate_for_buildkit()
        .expect("BuildKit can use what is left");
    assert!(!pruned.layers.iter().any(|layer| lost.contains(&layer.blob)));
    let again = pruned.without_layers(&lost).expect("what is left is valid");
    assert_eq!((&again.manifest, again.layers.len()), (&pruned, 0));

    let least = cache.for_mode_min().expect("a valid cache has a mode=min");
    least.validate_for_buildkit().expect("BuildKit can use it");
    assert!(least.layers.len() <= cache.layers.len());
    assert_eq!(
        least.for_mode_min().expect("it is valid"),
        least,
        "and nothing more can go"
    );
}

/// A layer of its own; some blobs come twice.
fn layer(index: usize, parent: Option<u32>) -> Layer {
    let blob = Digest::of(&[index as u8 % 8]);
    Layer {
        diff_id: Digest::of(&blob.bytes()),
        blob,
        size: 1,
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        created_at: None,
        parent,
    }
}

/// Secrets, one a line, and after an empty line what a plugin says: none of
/// them is shown, and nothing that a terminal or a CI system would obey.
pub fn shown_text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (secrets, said) = text.split_once("\n\n").unwrap_or(("", text));
    let scrubber = Scrubber::new(secrets.lines().map(str::to_owned));
    let (shown, lines) = (scrubber.clean(said), scrubber.clean_lines(said));
    let has_command = |text: &str| {
        text.match_indices("##").any(|(at, _)| {
            let word = text[at..].trim_start_matches('#');
            let behind = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            behind.starts_with('[')
        })
    };
    for (number, line) in lines.split('\n').enumerate() {
        assert!(number == 0 || line.starts_with("  "), "{lines:?}");
        let obeyed = line.contains(char::is_control) || has_command(line);
        let is_command = number > 0 && line.trim_start().starts_with("::");
        assert!(!obeyed && !is_command, "{lines:?}");
    }
    assert!(shown.chars().count() <= 4096 + 1);
    assert!(
        !shown.contains(char::is_control) && !has_command(&shown),
        "{shown:?}"
    );
    // Where a secret is not plain text, there is more than one way to show it;
    // and what stands in its place must not be one.
    let is_plain = |secret: &&str| {
        let plain = |b: u8| b.is_ascii_graphic() && !b"%[]\\".contains(&b);
        secret.len() >= 6 && secret.bytes().all(plain) && !"redacted".contains(*secret)
    };
    for secret in secrets.lines().filter(is_plain) {
        for shown in [&shown, &lines] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

#[cfg(all(test, not(fuzzing)))]
mod every_kept_input_still_holds {
    use std::fs;
    use std::path::Path;

    fn replay(target: &str, check: fn(&[u8])) {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let inputs = fs::read_dir(corpora.join(target)).expect("a corpus");
        let inputs: Vec<_> = inputs
            .map(|input| input.expect("an input").path())
            .collect();
        assert!(!inputs.is_empty(), "{target} has no inputs");
        for input in inputs {
            // Shown only if the test fails.
            println!("{}", input.display());
            check(&fs::read(&input).expect("an input"));
        }
    }

    macro_rules! replayed {
        ($($target:ident),* $(,)?) => {$(
            #[test]
            fn $target() {
                replay(stringify!($target), super::$target);
            }
        )*};
    }

    replayed!(cache_spec, inline_image, oci_layout, records, shown_text);
}
