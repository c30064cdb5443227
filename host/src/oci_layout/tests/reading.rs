//! Reading: every form that BuildKit writes, and what else may be there.

use super::*;

#[tokio::test]
async fn every_form_of_one_cache_reads_as_the_same_cache() {
    let cache = cache("local-max").await;
    assert_eq!(cache.layers.len(), 10);
    assert_eq!(cache.layers[1].parent, Some(0));
    assert_eq!(cache.layers[3].parent, None);
    for form in [
        "local-max-image-manifest-false",
        "local-max-oci-mediatypes-false",
        "local-max-tag-v1",
    ] {
        assert_eq!(super::cache(form).await, cache, "{form}");
    }
}

#[tokio::test]
async fn mode_min_of_a_whole_cache_is_what_buildkit_exports_with_mode_min() {
    let min = cache("local-max").await.for_mode_min().expect("valid");
    assert_eq!(min, cache("local-min-fresh").await);
    assert_eq!(
        min.for_mode_min().expect("valid"),
        min,
        "and nothing more can go"
    );
}

#[tokio::test]
async fn a_cache_that_lost_a_layer_still_serves_the_others() {
    let cache = cache("local-max").await;
    let lost = cache.layers[4].blob.clone();
    let pruned = cache
        .without_layers(std::slice::from_ref(&lost))
        .expect("valid");
    assert_eq!(
        pruned.layers.len(),
        3,
        "the lost layer and the two above it"
    );
    assert_eq!(pruned.manifest.layers.len(), 7);
    pruned
        .manifest
        .validate_for_buildkit()
        .expect("BuildKit takes it");
    assert_eq!(
        pruned.manifest.for_mode_min().expect("valid"),
        super::cache("local-min-fresh").await
    );
}

#[tokio::test]
async fn every_fixture_is_whole() {
    for (name, _) in LOCAL_CACHES {
        let layout = Layout::open(fixture(name)).await.expect(name);
        layout
            .verify(&layout.read(None).await.expect(name))
            .await
            .expect(name);
    }
}

#[tokio::test]
async fn a_tag_chooses_the_cache_and_a_wrong_one_is_told_what_there_is() {
    let layout = Layout::open(fixture("local-max-tag-v1"))
        .await
        .expect("a layout");
    assert_eq!(layout.tags(), ["v1"]);
    layout.read(None).await.expect("the only one");
    layout.read(Some("v1")).await.expect("the tagged one");
    let error = layout
        .read(Some("v2"))
        .await
        .expect_err("no such tag")
        .to_string();
    assert!(
        error.contains("no cache tagged `v2`; its tags are: `v1`"),
        "{error}"
    );
}

#[tokio::test]
async fn several_caches_need_a_tag_unless_one_is_latest() {
    let dir = copy_of("local-max");
    let mut index = parse(&dir.path().join(INDEX_FILE));
    let mut another = index["manifests"][0].clone();
    another["annotations"]["org.opencontainers.image.ref.name"] = json!("two");
    index["manifests"]
        .as_array_mut()
        .expect("entries")
        .insert(0, another);
    fs::write(dir.path().join(INDEX_FILE), index.to_string()).expect("an index");
    read(dir.path()).await.expect("latest");

    let index = index.to_string().replace("\"latest\"", "\"one\"");
    fs::write(dir.path().join(INDEX_FILE), index).expect("an index");
    let error = read(dir.path()).await.expect_err("several").to_string();
    assert!(
        error.contains("name a tag; its tags are: `two`, `one`"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_cache_directory_is_told_apart() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = async |path: &Path| Layout::open(path).await.expect_err("no layout").to_string();
    assert!(
        error(&dir.path().join("absent"))
            .await
            .contains("cannot open")
    );
    fs::write(dir.path().join("notes.txt"), "something else").expect("a file");
    assert!(
        error(dir.path())
            .await
            .contains("not a BuildKit cache directory")
    );
    fs::write(dir.path().join(INDEX_FILE), "<html>").expect("a file");
    assert!(error(dir.path()).await.contains("not an OCI index"));
    assert!(
        error(&dir.path().join(INDEX_FILE))
            .await
            .contains("cannot open")
    );
    fs::remove_file(dir.path().join(INDEX_FILE)).expect("removed");
    fs::create_dir(dir.path().join(INDEX_FILE)).expect("a directory");
    assert!(error(dir.path()).await.contains("not a regular file"));
}

#[tokio::test]
async fn a_damaged_cache_is_refused_with_its_reason() {
    type Change = fn(&mut Value, &mut Value);
    let cases: [(Change, &str); 15] = [
        (
            |config, _| config["layers"][3]["parent"] = json!(4),
            "layer 3 lies on layer 4, but there are only 4",
        ),
        (
            |config, _| config["layers"][3]["parent"] = json!(-2),
            "lies on layer -2",
        ),
        (
            |config, _| config["layers"][0]["parent"] = json!(2),
            "lies on itself",
        ),
        (
            |config, _| config["layers"][3]["parent"] = json!(1e300),
            "is damaged",
        ),
        (
            |config, _| config["layers"][3]["blob"] = json!("sha256:../../../../etc/passwd"),
            "is not in the manifest",
        ),
        (
            |config, _| config["layers"][3]["blob"] = json!(Digest::of(b"x")),
            "is not in the manifest",
        ),
        (
            |config, _| config["records"][7]["layers"][0]["layer"] = json!(9),
            "record 7 has its result in layer 9",
        ),
        (
            |config, _| config["records"][7]["inputs"][0][0]["link"] = json!(8),
            "links to itself",
        ),
        (
            |config, _| config["records"] = json!("x"),
            "not BuildKit's JSON",
        ),
        (
            |_, manifest| manifest["layers"][1]["annotations"] = json!({}),
            "no `containerd.io/uncompressed`",
        ),
        (
            |_, manifest| manifest["layers"][1]["size"] = json!(0),
            "have no bytes",
        ),
        (
            |_, manifest| manifest["layers"][1]["size"] = json!(-1),
            "it has the size -1",
        ),
        (
            |_, manifest| manifest["layers"][1]["mediaType"] = json!("text/plain"),
            "media type `text/plain`",
        ),
        (
            |_, manifest| manifest["manifests"] = json!([]),
            "a manifest and an index at once",
        ),
        (
            |_, manifest| manifest["config"]["mediaType"] = json!("application/x"),
            "not a build cache but an image",
        ),
    ];
    for (change, expected) in cases {
        let dir = changed(change);
        let error = read(dir.path()).await.expect_err(expected).to_string();
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
}

#[tokio::test]
async fn an_index_of_images_and_a_manifest_that_is_no_json_are_no_caches() {
    let dir = changed(|_, manifest| *manifest = json!({ "manifests": [] }));
    assert!(
        read(dir.path())
            .await
            .expect_err("no cache")
            .to_string()
            .contains("index without a cache's config")
    );
    let dir = changed(|_, manifest| *manifest = json!("<html>"));
    assert!(
        read(dir.path())
            .await
            .expect_err("no cache")
            .to_string()
            .contains("it is not a manifest")
    );
}

#[tokio::test]
async fn json_that_is_not_what_its_digest_says_is_refused() {
    for file in [manifest_file, config_file] {
        let dir = copy_of("local-max");
        let path = file(dir.path());
        let json = fs::read_to_string(&path).expect("JSON");
        fs::write(&path, json.replace("2026", "2027")).expect("changed");
        let error = read(dir.path()).await.expect_err("other bytes").to_string();
        assert!(
            error.contains(&path.display().to_string()) && error.contains("have the digest"),
            "{error}"
        );
        fs::write(&path, json + " ").expect("changed");
        let error = read(dir.path())
            .await
            .expect_err("another size")
            .to_string();
        assert!(error.contains("bytes instead of"), "{error}");
        fs::remove_file(&path).expect("removed");
        assert!(
            read(dir.path())
                .await
                .expect_err("no file")
                .to_string()
                .contains("cannot read")
        );
    }
}

#[tokio::test]
async fn a_layer_that_is_missing_or_damaged_is_named() {
    let dir = copy_of("local-max");
    let layout = Layout::open(dir.path()).await.expect("a layout");
    let cache = layout.read(None).await.expect("a cache");
    let path = blob_path(dir.path(), &cache.layers[2].blob);
    let names_it = |error: LayoutError, reason: &str| {
        let error = error.to_string();
        assert!(
            error.contains(&path.display().to_string()) && error.contains(reason),
            "{error}"
        );
    };

    let mut bytes = fs::read(&path).expect("a blob");
    bytes[100] ^= 1;
    fs::write(&path, &bytes).expect("changed");
    layout.check(&cache).await.expect("sizes are right");
    names_it(
        layout.verify(&cache).await.expect_err("damaged"),
        "its bytes have the digest",
    );
    names_it(
        layout
            .verify_blob(&cache.layers[2])
            .await
            .expect_err("damaged"),
        "delete it and build again",
    );
    layout.verify_blob(&cache.layers[1]).await.expect("whole");

    fs::write(&path, &bytes[1..]).expect("changed");
    names_it(
        layout.check(&cache).await.expect_err("short"),
        "8585 bytes instead of 8586",
    );
    fs::remove_file(&path).expect("removed");
    names_it(
        layout.verify(&cache).await.expect_err("missing"),
        "is missing",
    );
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_not_followed() {
    let dir = copy_of("local-max");
    let layout = Layout::open(dir.path()).await.expect("a layout");
    let cache = layout.read(None).await.expect("a cache");
    let path = blob_path(dir.path(), &cache.layers[0].blob);
    fs::rename(&path, dir.path().join("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).expect("a link");
    let error = layout.check(&cache).await.expect_err("a link").to_string();
    assert!(error.contains("not a regular file"), "{error}");
    let mut bytes = crate::Content::read(&layout.content(), &cache.layers[0].blob, 0, 1);
    let error = bytes
        .next()
        .await
        .expect("an item")
        .expect_err("a link")
        .to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_leads_elsewhere_is_neither_read_nor_written() {
    use std::os::unix::fs::symlink;
    let elsewhere = copy_of("local-min-fresh");
    for name in ["blobs", "blobs/sha256", "ingest"] {
        let dir = copy_of("local-min-fresh");
        let path = dir.path().join(name);
        let _ = fs::remove_dir_all(&path);
        symlink(elsewhere.path().join("blobs"), &path).expect("a link");
        let read = Layout::open(dir.path()).await.expect_err("a link");
        let written = LayoutWriter::create(dir.path()).await.expect_err("a link");
        for error in [read.to_string(), written.to_string()] {
            assert!(
                error.contains(name) && error.contains("it is a link"),
                "{error}"
            );
        }
    }

    let dir = copy_of("local-min-fresh");
    let cache = read(dir.path()).await.expect("a cache");
    let target = elsewhere.path().join("made by a lock");
    symlink(&target, dir.path().join("index.json.lock")).expect("a link");
    let writer = LayoutWriter::create(dir.path()).await.expect("a directory");
    let error = writer
        .finish(&cache, &["x".to_owned()])
        .await
        .expect_err("a link")
        .to_string();
    assert!(
        error.contains("not a regular file") && !target.exists(),
        "{error}"
    );
}
