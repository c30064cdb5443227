//! The inline form: what is written is read back as the same cache, and images
//! that others built are read as what BuildKit finds in them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::manifest::tests::{layer, manifest};

const AT: &str = "2026-11-23T14:14:42.815976394Z";

/// A top document, and all those that it needs.
type Stored = (Vec<u8>, HashMap<Digest, Vec<u8>>);

/// Reads what `top` and `all` hold, and how many calls that took.
fn read_all(top: &[u8], all: &HashMap<Digest, Vec<u8>>) -> (usize, Result<Manifest, NotAssembled>) {
    let mut given = HashMap::new();
    for calls in 1.. {
        match assemble(top, &given) {
            Ok(Assembly::Whole(cache)) => return (calls, Ok(cache)),
            Err(error) => return (calls, Err(error)),
            Ok(Assembly::Needs(needs)) => {
                assert!(!needs.is_empty(), "or it would never end");
                for need in needs {
                    let json = all[&need.digest].clone();
                    assert_eq!(json.len() as u64, need.size);
                    assert!(given.insert(need.digest, json).is_none(), "asked for twice");
                }
            }
        }
    }
    unreachable!("the caches end")
}

fn blobs_of(documents: &Documents) -> HashMap<Digest, Vec<u8>> {
    let documents = documents.iter();
    documents
        .map(|document| (document.digest.clone(), document.json.clone().into_bytes()))
        .collect()
}

/// Reads documents again.
fn again(documents: &Documents) -> Manifest {
    let (_, cache) = read_all(documents.top().json.as_bytes(), &blobs_of(documents));
    cache.expect("what was written is read")
}

fn inline(cache: &Manifest) -> Documents {
    let documents = Documents::in_form(cache, Form::Inline);
    documents.expect("valid").expect("there is an inline form")
}

/// `layers` layers in chains of up to 25, and `records` records that each have
/// a layer's result and a link to the record before, as BuildKit writes them.
fn large(layers: u32, records: usize) -> Manifest {
    let name = |index: u32| format!("layer {index}");
    let all = (0..layers).map(|index| layer(&name(index), (index % 25 != 0).then(|| index - 1)));
    let one = |index: usize| {
        let top = index % layers as usize;
        let inputs = match index {
            0 => String::new(),
            index => format!(r#","inputs":[[{{"link":{}}}]]"#, index - 1),
        };
        let digest = Digest::of(&index.to_le_bytes());
        format!(
            r#"{{"layers":[{{"layer":{top},"createdAt":"{AT}"}}],"digest":"{digest}"{inputs}}}"#
        )
    };
    let records: Vec<_> = (0..records).map(one).collect();
    manifest(all.collect(), &format!("[{}]", records.join(",")))
}

/// A number below `below`, another each time, and the same in every run.
fn draw(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below as u64) as usize
}

/// Any cache that may come out of a store: layers in any order, blobs on
/// several parents, layers that no record names, times of any form.
fn any_cache(seed: u64) -> Manifest {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let count = 1 + draw(&mut state, 30);
    // Where each layer stands; its parent comes from those placed before.
    let mut order: Vec<usize> = (0..count).collect();
    for index in (1..count).rev() {
        order.swap(index, draw(&mut state, index + 1));
    }
    let mut layers = vec![layer("x", None); count];
    for (done, place) in order.iter().enumerate() {
        let parent = (done > 0 && draw(&mut state, 4) > 0).then(|| order[draw(&mut state, done)]);
        let times = [
            None,
            Some(AT),
            Some("2026-11-23t14:14:42z"),
            Some("2016-12-31T23:59:60Z"),
        ];
        let blob = draw(&mut state, count);
        layers[*place] = Layer {
            created_at: times[draw(&mut state, times.len())].map(str::to_owned),
            ..layer(
                &format!("blob {blob:09}"),
                parent.map(|parent| parent as u32),
            )
        };
    }
    let records: Vec<_> = (0..draw(&mut state, 40))
        .map(|index| {
            let results: Vec<_> = (0..draw(&mut state, 3))
                .map(|_| {
                    let layer = draw(&mut state, count);
                    format!(r#"{{"layer":{layer},"createdAt":"{AT}"}}"#)
                })
                .collect();
            let inputs: Vec<_> = (0..draw(&mut state, 3).min(index))
                .map(|_| {
                    format!(
                        r#"[{{"selector":"\u003ca","link":{}}}]"#,
                        draw(&mut state, index)
                    )
                })
                .collect();
            let mut fields = Vec::new();
            if !results.is_empty() {
                fields.push(format!(r#""layers":[{}]"#, results.join(",")));
            }
            fields.push(format!(r#""digest":"sha256:{index}""#));
            if !inputs.is_empty() {
                fields.push(format!(r#""inputs":[{}]"#, inputs.join(",")));
            }
            format!("{{{}}}", fields.join(","))
        })
        .collect();
    manifest(layers, &format!("[{}]", records.join(",")))
}

#[tokio::test]
async fn every_cache_of_buildkit_comes_back_the_same_from_the_inline_form() {
    for (name, _) in LOCAL_CACHES {
        let cache = cache(name).await;
        let documents = inline(&cache);
        assert_eq!((documents.form, &documents.index), (Form::Inline, &None));
        assert_eq!(again(&documents), cache, "{name}");
        assert!(
            !documents.manifest.json.contains("build-cache.parent"),
            "every layer of {name} is in a chain"
        );
        let usual = Documents::of(&cache).expect("valid");
        assert_eq!(usual.form, Form::Usual, "{name} is small");
        assert_eq!(again(&usual), cache, "{name}");
    }
}

#[test]
fn any_cache_comes_back_the_same_from_the_inline_form() {
    for seed in 1..=2000 {
        let cache = any_cache(seed);
        cache.validate_for_buildkit().expect("a cache");
        let documents = inline(&cache);
        assert_eq!(again(&documents), cache, "seed {seed}");
        assert_eq!(inline(&cache), documents, "the same bytes each time");
    }
}

#[test]
fn the_usual_form_is_left_for_the_first_byte_that_buildkit_does_not_read() {
    let padded = |padding: usize| {
        let record = format!(r#"[{{"digest":"{}"}}]"#, "x".repeat(padding));
        Documents::of(&manifest(vec![layer("a", None)], &record)).expect("valid")
    };
    let least = padded(0).config.size();
    let most = padded((BUILDKIT_JSON_BYTES - least) as usize);
    assert_eq!(
        (most.form, most.config.size()),
        (Form::Usual, BUILDKIT_JSON_BYTES)
    );
    let above = padded((BUILDKIT_JSON_BYTES - least + 1) as usize);
    assert_eq!((above.form, above.too_large()), (Form::Inline, None));
    assert!(above.config.size() > BUILDKIT_JSON_BYTES);
}

#[test]
fn a_large_manifest_is_wrapped_in_an_index() {
    // The usual form names the diff IDs in the manifest, the inline form does not.
    let between = Documents::of(&large(5000, 10)).expect("valid");
    assert_eq!((between.form, &between.index), (Form::Inline, &None));
    let beyond = Documents::of(&large(7000, 10)).expect("valid");
    let index = beyond.index.as_ref().expect("an index");
    assert!(beyond.manifest.size() > BUILDKIT_JSON_BYTES && index.size() < 300);
    assert_eq!((beyond.top(), beyond.too_large()), (index, None));
    let names: Vec<_> = beyond.iter().map(|document| document.media_type).collect();
    assert_eq!(
        names,
        [
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.index.v1+json",
        ]
    );
    let (calls, cache) = read_all(index.json.as_bytes(), &blobs_of(&beyond));
    assert_eq!((calls, cache.expect("whole")), (3, large(7000, 10)));
}

#[test]
fn ten_thousand_layers_and_thirty_thousand_records_come_back_the_same() {
    let cache = large(10_000, 30_000);
    let started = std::time::Instant::now();
    let documents = Documents::of(&cache).expect("valid");
    let written = started.elapsed();
    assert_eq!(again(&documents), cache);
    // Shown by `--nocapture`.
    println!(
        "written in {written:?}, read in {:?}; config {} bytes, manifest {} bytes",
        started.elapsed() - written,
        documents.config.size(),
        documents.manifest.size()
    );
}

#[test]
fn what_cannot_be_inline_stays_as_it_is_and_says_so() {
    let record = format!(r#"[{{"digest":"{}"}}]"#, "x".repeat(1 << 20));
    let without_layers = Documents::of(&manifest(vec![], &record)).expect("valid");
    assert_eq!(without_layers.form, Form::Usual);
    assert!(matches!(without_layers.too_large(), Some(("config", _))));
    // A single chain, and a result on top of each of its layers.
    let mut deep = large(10_000, 10_000);
    for index in 1..10_000 {
        deep.layers[index as usize].parent = Some(index - 1);
    }
    let deep = Documents::of(&deep).expect("valid");
    assert_eq!(deep.form, Form::Usual);
    assert!(matches!(deep.too_large(), Some(("manifest", _))));
}

#[tokio::test]
async fn a_directory_gets_the_inline_form_and_gives_it_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let writer = LayoutWriter::create(dir.path()).await.expect("a writer");
    let mut cache = large(4, 9000);
    for (index, layer) in cache.layers.iter_mut().enumerate() {
        let bytes = format!("layer {index}");
        layer.blob = Digest::of(bytes.as_bytes());
        layer.size = bytes.len() as u64;
        fs::write(blob_path(dir.path(), &layer.blob), bytes).expect("a blob");
    }
    let tags = ["main".to_owned()];
    let written = writer.finish(&cache, &tags).await.expect("written");
    assert_eq!(written.warnings, [], "BuildKit reads it");
    let config = parse(&config_file(dir.path()));
    assert!(config["moby.buildkit.cache.v0"].is_string());
    assert_eq!(config["history"].as_array().map(Vec::len), Some(4));
    assert_eq!(read(dir.path()).await.expect("a cache"), cache);

    // The same cache later, and small again.
    cache.records = "[]".to_owned();
    writer.finish(&cache, &tags).await.expect("written");
    assert!(parse(&config_file(dir.path()))["moby.buildkit.cache.v0"].is_null());
    assert_eq!(read(dir.path()).await.expect("a cache"), cache);
}

#[tokio::test]
async fn a_large_cache_stays_whole_when_its_directory_loses_a_document() {
    let dir = tempfile::tempdir().expect("a directory");
    let writer = LayoutWriter::create(dir.path()).await.expect("a writer");
    let mut cache = large(1, 9000);
    fs::write(blob_path(dir.path(), &cache.layers[0].blob), "layer 0").expect("a blob");
    cache.layers[0].size = 7;
    let tags = ["main".to_owned()];
    writer.finish(&cache, &tags).await.expect("written");
    fs::write(config_file(dir.path()), "{}").expect("damaged");
    let error = read(dir.path()).await.expect_err("damaged").to_string();
    assert!(
        error.contains("is damaged: it has 2 bytes instead of"),
        "{error}"
    );
    fs::remove_file(config_file(dir.path())).expect("lost");
    let error = read(dir.path()).await.expect_err("lost").to_string();
    assert!(error.starts_with("cannot read `"), "{error}");
    writer.finish(&cache, &tags).await.expect("written again");
    assert_eq!(read(dir.path()).await.expect("a cache"), cache);
}

/// An image of a base layer and three steps, as `--cache-to type=inline`
/// leaves it: two results on the first layers, one spelled out, and a layer
/// without a result. `change` may spoil the config and the manifest.
fn image(change: impl FnOnce(&mut Value, &mut Value)) -> Stored {
    let records = json!([
        { "layers": [{ "layer": 1, "createdAt": AT }], "digest": "sha256:a" },
        { "chains": [{ "layers": [0, 2], "createdAt": "0001-01-01T00:00:00Z" }],
          "digest": "sha256:b", "inputs": [[{ "link": 0 }]] },
    ]);
    let names = ["base", "one", "two", "top"];
    let diff_ids = names.map(|name| layer(name, None).diff_id.to_string());
    let mut config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": [
            { "created": AT, "created_by": "FROM" }, { "created": AT, "empty_layer": true },
            { "created_by": "RUN one" }, { "created": "0001-01-01T00:00:00Z" },
        ],
        "moby.buildkit.cache.v0": STANDARD.encode(records.to_string()),
    });
    let layers = names.map(|name| {
        let layer = layer(name, None);
        json!({ "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest": layer.blob, "size": layer.size })
    });
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": { "mediaType": "application/vnd.docker.container.image.v1+json" },
        "layers": layers,
    });
    change(&mut config, &mut manifest);
    let config = config.to_string().into_bytes();
    manifest["config"]["digest"] = json!(Digest::of(&config));
    manifest["config"]["size"] = json!(config.len());
    let blobs = HashMap::from([(Digest::of(&config), config)]);
    (manifest.to_string().into_bytes(), blobs)
}

/// An index over the given manifests of images, beside what is attached to
/// images.
fn index(images: &[Stored]) -> Stored {
    let mut blobs: HashMap<Digest, Vec<u8>> = HashMap::new();
    let mut entries = vec![json!({
        "mediaType": "application/vnd.in-toto+json", "digest": Digest::of(b"none"), "size": 1
    })];
    for (manifest, more) in images {
        blobs.extend(more.clone());
        blobs.insert(Digest::of(manifest), manifest.clone());
        entries.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest::of(manifest), "size": manifest.len(),
        }));
    }
    (
        json!({ "manifests": entries }).to_string().into_bytes(),
        blobs,
    )
}

fn error(image: &Stored) -> String {
    let (_, cache) = read_all(&image.0, &image.1);
    cache.expect_err("should be refused").to_string()
}

#[test]
fn an_image_with_an_inline_cache_is_read_as_buildkit_reads_it() {
    let (top, blobs) = image(|_, _| {});
    let (calls, cache) = read_all(&top, &blobs);
    let cache = cache.expect("a cache");
    assert_eq!(calls, 2);
    let found = cache.layers.iter().map(|layer| {
        let time = layer.created_at.as_deref();
        (layer.blob.clone(), time, layer.parent)
    });
    let blob = |name: &str| Digest::of(name.as_bytes());
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            (blob("base"), Some(AT), None),
            (blob("one"), None, Some(0)),
            (blob("two"), None, Some(0)),
        ],
        "the last layer is not part of the cache"
    );
    assert_eq!(cache.layers[2].diff_id, layer("two", None).diff_id);
    assert_eq!(
        cache.layers[0].media_type,
        "application/vnd.oci.image.layer.v1.tar+gzip"
    );
    assert_eq!(
        cache.records,
        format!(
            r#"[{{"layers":[{{"layer":1,"createdAt":"{AT}"}}],"digest":"sha256:a"}},{{"layers":[{{"layer":2,"createdAt":"0001-01-01T00:00:00Z"}}],"digest":"sha256:b","inputs":[[{{"link":0}}]]}}]"#
        )
    );
    // From then on it is a cache like any other.
    assert_eq!(again(&Documents::of(&cache).expect("valid")), cache);
    assert_eq!(again(&inline(&cache)), cache);
}

#[tokio::test]
async fn the_image_that_buildkit_built_is_read_as_the_cache_of_its_layers() {
    let cache = cache("image-inline").await;
    let small = super::cache("local-min-fresh").await;
    // The same build at another time: other layers, the same steps.
    let parents: Vec<_> = cache.layers.iter().map(|layer| layer.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(1), Some(2)]);
    assert!(cache.layers.iter().all(|layer| {
        let time = layer.created_at.as_deref();
        time.is_some_and(|time| time.starts_with("2026-11-25T09:25:3"))
    }));
    let steps = |cache: &Manifest| {
        let records: Value = serde_json::from_str(&cache.records).expect("JSON");
        let results = records.as_array().expect("records").iter();
        let results = results.filter(|record| record["layers"].is_array());
        results.count()
    };
    assert_eq!(steps(&cache), steps(&small));
    let layout = Layout::open(fixture("image-inline"))
        .await
        .expect("a layout");
    layout.verify(&cache).await.expect("every layer is there");
}

#[test]
fn the_caches_of_an_image_for_several_platforms_become_one() {
    let arm = image(|config, manifest| {
        config["architecture"] = json!("arm64");
        for index in 0..4 {
            let name = format!("arm {index}");
            config["rootfs"]["diff_ids"][index] = json!(layer(&name, None).diff_id);
            manifest["layers"][index]["digest"] = json!(layer(&name, None).blob);
        }
    });
    let without = image(|config, _| {
        config["architecture"] = json!("riscv64");
        config["moby.buildkit.cache.v0"] = Value::Null;
    });
    let attached = image(|_, manifest| manifest["config"]["mediaType"] = json!("application/x"));
    let (top, blobs) = index(&[image(|_, _| {}), arm, without.clone(), attached]);
    let (calls, cache) = read_all(&top, &blobs);
    let cache = cache.expect("a cache");
    let parents: Vec<_> = cache.layers.iter().map(|layer| layer.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(0), None, Some(3), Some(3)]);
    assert_eq!(cache.records.matches("sha256:b").count(), 2);
    assert!(
        cache.records.contains(r#"[{"link":2}]"#),
        "{}",
        cache.records
    );
    assert_eq!(calls, 3);
    // An index of indexes, too.
    let (outer, mut all) = index(&[(top.clone(), blobs)]);
    let outer = String::from_utf8(outer).expect("text");
    let outer = outer.replace("oci.image.manifest", "oci.image.index");
    all.insert(Digest::of(&top), top);
    assert_eq!(read_all(outer.as_bytes(), &all).1.expect("a cache"), cache);
    assert_eq!(
        error(&index(&[without])),
        "this is not a build cache but an index without a cache's config, \
         as an image for several platforms has"
    );
}

#[test]
fn an_image_that_is_wrong_is_refused_with_its_reason() {
    type Change = fn(&mut Value, &mut Value);
    let cases: [(Change, &str); 14] = [
        (
            |config, _| config["moby.buildkit.cache.v0"] = Value::Null,
            "not a build cache but an image without a cache in its config",
        ),
        (
            |config, _| config["rootfs"]["diff_ids"] = json!([]),
            "it has the diff IDs of 0 layers, but the manifest has 4",
        ),
        (
            |config, _| config["rootfs"] = Value::Null,
            "it has the diff IDs of 0 layers",
        ),
        (
            |config, _| config["rootfs"]["diff_ids"][0] = json!("sha512:x"),
            "is not a digest",
        ),
        (
            |config, _| config["moby.buildkit.cache.v0"] = json!("%"),
            "is not the base64 of JSON",
        ),
        (
            |config, _| config["moby.buildkit.cache.v0"] = json!(STANDARD.encode(b"\xff")),
            "is not the base64 of JSON",
        ),
        (
            |config, _| config["moby.buildkit.cache.v0"] = json!(STANDARD.encode("{}")),
            "not BuildKit's JSON",
        ),
        (
            |config, _| {
                let records = r#"[{"chains":[{"layers":[0,4]}]}]"#;
                config["moby.buildkit.cache.v0"] = json!(STANDARD.encode(records));
            },
            "record 0 has its result in layer 4, but there are only 4",
        ),
        (
            |config, _| {
                let records = r#"[{"layers":[{"layer":-1}]}]"#;
                config["moby.buildkit.cache.v0"] = json!(STANDARD.encode(records));
            },
            "record 0 has its result in layer -1",
        ),
        (
            |config, _| {
                let records = r#"[{"inputs":[[{"link":0}]]}]"#;
                config["moby.buildkit.cache.v0"] = json!(STANDARD.encode(records));
            },
            "links to itself",
        ),
        (
            |_, manifest| {
                manifest["layers"][3]["annotations"] = json!({ "build-cache.parent": "x" });
            },
            "layer 3 lies on layer `x`",
        ),
        (
            |_, manifest| {
                manifest["layers"][3]["annotations"] = json!({ "build-cache.parent": "3" });
            },
            "layer 3 lies on itself",
        ),
        (
            |_, manifest| manifest["layers"][0]["size"] = json!(0),
            "have no bytes",
        ),
        (
            |_, manifest| manifest["layers"][0]["mediaType"] = json!("text/plain"),
            "media type `text/plain`",
        ),
    ];
    for (change, expected) in cases {
        let error = error(&image(change));
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
}

#[test]
fn an_index_that_names_more_than_anybody_reads_is_refused_before_it_is_read() {
    let many = (0..600_u32).map(|index| {
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": Digest::of(&index.to_le_bytes()), "size": 1 })
    });
    let many = json!({ "manifests": many.collect::<Vec<_>>() }).to_string();
    let message = error(&(many.into_bytes(), HashMap::new()));
    assert!(message.contains("513 documents"), "{message}");
    let huge = json!({ "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(b"huge"), "size": 1_u64 << 40,
    }] });
    let message = error(&(huge.to_string().into_bytes(), HashMap::new()));
    assert!(message.contains("1099511627776 bytes"), "{message}");
    // An index that names itself in a circle cannot be made, but one in one in one can.
    let mut deep = index(&[image(|_, _| {})]);
    for _ in 0..4 {
        let (outer, mut blobs) = index(&[deep.clone()]);
        let outer = String::from_utf8(outer).expect("text");
        let outer = outer.replace("oci.image.manifest", "oci.image.index");
        blobs.extend(deep.1);
        deep = (outer.into_bytes(), blobs);
    }
    assert!(error(&deep).contains("index without a cache's config"));
}
