//! Manifests: BuildKit's own, and odd ones.

use super::layers;
use crate::cache::manifest::Manifest;

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/host-test/fixtures/buildkit");
    let names = [
        "azblob-max/manifests/small",
        "azblob-min-fresh/manifests/small",
        "azblob-max-after-zstd/manifests/small",
        "rest-trace/demo-manifest.json",
    ];
    let read = |name: &str| std::fs::read(format!("{folder}/{name}")).unwrap();
    names
        .iter()
        .map(|name| (name.to_string(), read(name)))
        .collect()
}

#[test]
fn buildkits_manifests_come_back_byte_for_byte() {
    for (name, json) in fixtures() {
        let manifest = Manifest::from_json(&json).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(manifest.layers.len() >= 4, "{name}");
        let written = manifest.to_json().unwrap();
        assert_eq!(
            String::from_utf8(written),
            String::from_utf8(json),
            "{name}"
        );
    }
}

const LAYER: &str =
    r#""blob":"sha256:0000000000000000000000000000000000000000000000000000000000000001""#;
const ANNOTATIONS: &str = r#""annotations":{"mediaType":"m","diffID":"sha256:0000000000000000000000000000000000000000000000000000000000000002","size":5,"createdAt":"2026-01-01T00:00:00Z"}"#;

#[test]
fn what_buildkit_reads_is_read() {
    let manifest = format!(
        "{{ \"layers\": [\n {{{LAYER}, \"parent\": 1, \"new\": {{}}, {ANNOTATIONS}}},\n {{{LAYER}, \"parent\": -1, {ANNOTATIONS}}} ],\n \"records\": [ {{ }} ], \"more\": 1 }}"
    );
    let manifest = Manifest::from_json(manifest.as_bytes()).unwrap();
    assert_eq!(manifest.layers[0].parent, Some(1));
    assert_eq!(manifest.layers[1].parent, None);
    assert_eq!(
        manifest.records, "[ { } ]",
        "records are kept as they stand"
    );

    let explicit = format!(
        "{{\"layers\":[{{{LAYER},\"parent\":-1,{ANNOTATIONS}}},{{{LAYER},\"parent\":0,{ANNOTATIONS}}}]}}"
    );
    let left_out = explicit.replace("\"parent\":0,", "");
    let explicit = Manifest::from_json(explicit.as_bytes()).unwrap();
    assert_eq!(explicit.layers[1].parent, Some(0));
    assert_eq!(explicit, Manifest::from_json(left_out.as_bytes()).unwrap());
    assert_eq!(
        String::from_utf8(explicit.to_json().unwrap()).unwrap(),
        left_out
    );

    let no_time = left_out.replace(",\"createdAt\":\"2026-01-01T00:00:00Z\"", "");
    let no_time = Manifest::from_json(no_time.as_bytes()).unwrap();
    assert_eq!(no_time.layers[0].created_at, None);
    let written = String::from_utf8(no_time.to_json().unwrap()).unwrap();
    assert!(
        written.contains(r#""createdAt":"0001-01-01T00:00:00Z""#),
        "{written}"
    );
    assert_eq!(Manifest::from_json(written.as_bytes()).unwrap(), no_time);

    for empty in [
        "{}",
        r#"{"layers":null,"records":null}"#,
        r#"{"layers":[],"records":[]}"#,
    ] {
        let empty = Manifest::from_json(empty.as_bytes()).unwrap();
        assert_eq!((empty.layers.len(), &*empty.records), (0, "[]"));
        assert_eq!(empty.to_json().unwrap(), b"{}");
    }
}

#[test]
fn what_buildkit_would_choke_on_is_named_by_its_layer() {
    let good = format!("{{\"layers\":[{{{LAYER},\"parent\":-1,{ANNOTATIONS}}}]}}");
    assert!(Manifest::from_json(good.as_bytes()).is_ok());
    let cases = [
        (format!(",{ANNOTATIONS}"), "", "annotations"),
        ("\"diffID\":\"sha256:0000000000000000000000000000000000000000000000000000000000000002\",".to_owned(), "", "diffID"),
        ("\"size\":5".to_owned(), "\"size\":0", "size"),
        ("\"size\":5,".to_owned(), "", "size"),
        ("\"size\":5".to_owned(), "\"size\":-5", "size"),
        ("\"mediaType\":\"m\"".to_owned(), "\"mediaType\":\"\"", "media type"),
        ("\"parent\":-1".to_owned(), "\"parent\":1", "does not exist"),
        ("\"parent\":-1".to_owned(), "\"parent\":-2", "does not exist"),
        ("\"parent\":-1".to_owned(), "\"parent\":0", "is its own parent"),
        ("2026-01-01T00".to_owned(), "2026-13-01T00", "RFC 3339"),
        ("sha256:0000000000000000000000000000000000000000000000000000000000000001".to_owned(), "md5:1", "SHA-256"),
    ];
    for (from, to, reason) in cases {
        let bad = good.replacen(&from, to, 1);
        assert_ne!(bad, good, "{from}");
        let why = Manifest::from_json(bad.as_bytes()).unwrap_err();
        assert!(
            why.contains("layer 0") && why.contains(reason),
            "{bad}: {why}"
        );
    }
    for no_manifest in [
        "",
        "[]",
        "<html>",
        "{\"layers\":3}",
        "{\"records\":{}}",
        "{} {}",
        "\u{feff}",
    ] {
        assert!(
            Manifest::from_json(no_manifest.as_bytes()).is_err(),
            "{no_manifest}"
        );
    }
    assert!(Manifest::from_json(b"{\"records\":[\"\xff\"]}").is_err());
}

#[test]
fn a_layer_that_cannot_be_used_costs_no_other() {
    let good = format!("{{{LAYER},\"parent\":-1,{ANNOTATIONS}}}");
    let good_blob = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
    let other = good.replace(good_blob, &good_blob.replace("01", "03"));
    let no_annotations = other.replace(&format!(",{ANNOTATIONS}"), "");
    for bad in [
        no_annotations.clone(),
        no_annotations.replace("}", ",\"annotations\":null}"),
        "null".to_owned(),
        "{}".to_owned(),
        other.replace("sha256:00", "sha512:00"),
        other.replace("\"diffID\":\"sha256", "\"diffID\":\"md5"),
        other.replace("\"size\":5", "\"size\":null"),
        other.replace("\"size\":5", "\"size\":-5"),
        other.replace("\"mediaType\":\"m\"", "\"mediaType\":null"),
        other.replace("2026-01-01T00", "2026-13-01T00"),
    ] {
        assert_ne!(bad, other);
        let json = format!("{{\"layers\":[{good},{bad}],\"records\":[{{}}]}}");
        let parsed = Manifest::as_far_as_usable(json.as_bytes()).unwrap();
        let unusable: Vec<_> = parsed.unusable.iter().map(|layer| layer.index).collect();
        assert_eq!(
            (parsed.manifest.layers.len(), unusable),
            (2, vec![1]),
            "{bad}"
        );
        assert_eq!(parsed.usable_layers().count(), 1, "{bad}");
        assert_eq!(parsed.manifest.records, "[{}]");
        assert!(Manifest::from_json(json.as_bytes()).is_err(), "{bad}");
    }
    // The same blob is described elsewhere.
    let again = no_annotations.replace("03", "01");
    let json = format!("{{\"layers\":[{again},{good}]}}");
    let manifest = Manifest::from_json(json.as_bytes()).unwrap();
    assert_eq!(manifest.layers[0], manifest.layers[1]);
}

#[test]
fn names_of_members_are_read_as_go_reads_them() {
    let upper = format!(
        "{{\"Layers\":[{{{},\"PARENT\":-1,{}}}],\"RECORDS\":[{{}}]}}",
        LAYER.replace("blob", "Blob"),
        ANNOTATIONS
            .replace("mediaType", "mediatype")
            .replace("diffID", "DiffId")
            .replace("annotations", "Annotations")
    );
    let plain =
        format!("{{\"layers\":[{{{LAYER},\"parent\":-1,{ANNOTATIONS}}}],\"records\":[{{}}]}}");
    let plain = Manifest::from_json(plain.as_bytes()).unwrap();
    assert_eq!(Manifest::from_json(upper.as_bytes()).unwrap(), plain);

    let twice = format!(
        "{{\"layers\":[{{}}],\"layers\":[{{{LAYER},\"parent\":5,\"parent\":-1,\"parent\":null,{ANNOTATIONS}}}],\"records\":[1],\"records\":[{{}}]}}"
    );
    assert_eq!(Manifest::from_json(twice.as_bytes()).unwrap(), plain);
}

#[test]
fn a_circle_of_parents_is_found_and_a_long_chain_is_none() {
    let mut circle = layers(&[1; 5]);
    circle.layers[1].parent = Some(3);
    assert!(circle.to_json().unwrap_err().contains("is its own parent"));
    assert!(layers(&vec![1; 20_000]).to_json().is_ok());
}

#[test]
fn strings_are_escaped_as_go_escapes_them() {
    let mut manifest = layers(&[1]);
    manifest.layers[0].media_type = "a<b>&\u{2028}\"\u{1}é".to_owned();
    let json = String::from_utf8(manifest.to_json().unwrap()).unwrap();
    assert!(
        json.contains(r#""mediaType":"a\u003cb\u003e\u0026\u2028\"\u0001é""#),
        "{json}"
    );
    assert_eq!(Manifest::from_json(json.as_bytes()).unwrap(), manifest);
}

#[test]
fn records_that_are_no_array_are_not_written() {
    for records in ["", "{}", "null", "[", "[] []", "7"] {
        let manifest = Manifest {
            layers: Vec::new(),
            records: records.to_owned(),
        };
        assert!(manifest.to_json().is_err(), "{records}");
    }
}
