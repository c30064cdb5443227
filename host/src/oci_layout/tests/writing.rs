//! Writing: BuildKit's bytes, and what is left when something goes wrong.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::*;
use crate::manifest::tests::{layer, manifest};

/// Writes `cache` as `pull` would, with the layers' bytes from `from`.
async fn write(cache: &Manifest, from: &Path, dir: &Path, tags: &[&str]) -> Written {
    let writer = LayoutWriter::create(dir).await.expect("a writer");
    for layer in writer.missing(cache, Check::Digest).await.expect("layers") {
        let bytes = fs::read(blob_path(from, &layer.blob)).expect("a blob");
        store(&writer, &layer, &bytes, Check::Digest)
            .await
            .expect("stored");
    }
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    writer.finish(cache, &tags).await.expect("written")
}

async fn store(
    writer: &LayoutWriter,
    layer: &Layer,
    bytes: &[u8],
    check: Check,
) -> Result<(), LayoutError> {
    let blob = writer.begin(layer).await?;
    blob.file()?.write_all(bytes).expect("written");
    blob.commit(check).await
}

fn files_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// A writer into an empty directory, and a cache of one layer, `abc`.
async fn one_layer() -> (TempDir, LayoutWriter, Manifest) {
    let dir = tempfile::tempdir().expect("a directory");
    let writer = LayoutWriter::create(dir.path()).await.expect("a writer");
    (dir, writer, manifest(vec![layer("abc", None)], "[]"))
}

#[tokio::test]
async fn what_is_written_is_what_buildkit_wrote() {
    for (name, default_form) in LOCAL_CACHES {
        let (from, to) = (fixture(name), tempfile::tempdir().expect("a directory"));
        let cache = cache(name).await;
        let tag = if name.ends_with("v1") { "v1" } else { "latest" };
        let written = write(&cache, &from, to.path(), &[tag]).await;
        assert_eq!(written.warnings, []);
        let same = |file: fn(&Path) -> PathBuf| {
            let (wrote, buildkit) = (file(to.path()), file(&from));
            assert_eq!(wrote.file_name(), buildkit.file_name(), "{name}");
            assert_eq!(
                fs::read(wrote).expect("ours"),
                fs::read(buildkit).expect("BuildKit's"),
                "{name}"
            );
        };
        same(config_file);
        if default_form {
            same(manifest_file);
            same(|dir| dir.join(INDEX_FILE));
            same(|dir| dir.join("oci-layout"));
            assert_eq!(
                files_in(&blobs(to.path())),
                files_in(&blobs(&from)),
                "{name}"
            );
        }
        assert_eq!(
            manifest_file(to.path()),
            blob_path(to.path(), &written.manifest)
        );
        assert_eq!(
            files_in(to.path()),
            ["blobs", INDEX_FILE, "ingest", "oci-layout"]
        );
        assert_eq!(files_in(&to.path().join("ingest")), [""; 0]);
        assert_eq!(read(to.path()).await.expect("a cache"), cache);
    }
}

#[tokio::test]
async fn layers_that_are_there_and_whole_are_not_asked_for() {
    let dir = copy_of("local-max");
    let cache = cache("local-max").await;
    let [short, changed, gone] =
        [0, 1, 2].map(|layer| blob_path(dir.path(), &cache.layers[layer].blob));
    fs::write(&short, "short").expect("changed");
    let mut bytes = fs::read(&changed).expect("a blob");
    bytes[0] ^= 1;
    fs::write(&changed, &bytes).expect("changed");
    fs::remove_file(&gone).expect("removed");

    let writer = LayoutWriter::create(dir.path()).await.expect("a writer");
    let by_size = writer.missing(&cache, Check::Size).await.expect("layers");
    assert_eq!(by_size, [cache.layers[0].clone(), cache.layers[2].clone()]);
    let by_digest = writer.missing(&cache, Check::Digest).await.expect("layers");
    assert_eq!(by_digest, cache.layers[..3]);

    write(&cache, &fixture("local-max"), dir.path(), &["latest"]).await;
    let layout = Layout::open(dir.path()).await.expect("a layout");
    layout.verify(&cache).await.expect("whole again");
}

#[tokio::test]
async fn a_blob_on_two_parents_is_fetched_once_and_listed_twice() {
    let (dir, writer, mut cache) = one_layer().await;
    cache.layers.push(layer("top", Some(0)));
    cache.layers.push(layer("abc", Some(1)));
    assert_eq!(
        writer.missing(&cache, Check::Digest).await.expect("layers"),
        cache.layers[..2]
    );
    for name in ["abc", "top"] {
        let stored = store(&writer, &layer(name, None), name.as_bytes(), Check::Digest).await;
        stored.expect("stored");
    }
    writer
        .finish(&cache, &["latest".to_owned()])
        .await
        .expect("written");
    assert_eq!(read(dir.path()).await.expect("a cache"), cache);
}

#[tokio::test]
async fn a_layer_that_arrives_damaged_gets_no_name_and_leaves_nothing() {
    let (dir, writer, cache) = one_layer().await;
    let cases = [
        ("ab", Check::Size, "it has 2 bytes instead of 3"),
        ("abcd", Check::Digest, "it has 4 bytes instead of 3"),
        ("abd", Check::Digest, "its bytes have the digest"),
    ];
    for (bytes, check, reason) in cases {
        let error = store(&writer, &cache.layers[0], bytes.as_bytes(), check).await;
        let error = error.expect_err(reason).to_string();
        assert!(
            error.contains(reason) && error.contains("nothing was stored"),
            "{error}"
        );
    }
    drop(writer.begin(&cache.layers[0]).await.expect("a file"));
    assert_eq!(files_in(&blobs(dir.path())), [""; 0]);
    assert_eq!(files_in(&dir.path().join("ingest")), [""; 0]);
}

#[tokio::test]
async fn a_layer_that_its_writer_verified_is_not_read_again() {
    let (dir, writer, cache) = one_layer().await;
    store(&writer, &cache.layers[0], b"xyz", Check::Size)
        .await
        .expect("stored");
    let stored = fs::read(blob_path(dir.path(), &cache.layers[0].blob)).expect("a blob");
    assert_eq!(stored, b"xyz");
}

#[tokio::test]
async fn a_pull_that_fails_leaves_the_old_cache_as_it_was() {
    let dir = copy_of("local-max");
    let before = fs::read(dir.path().join(INDEX_FILE)).expect("an index");
    let writer = LayoutWriter::create(dir.path()).await.expect("a writer");
    let unfinished = manifest(vec![layer("abc", None)], "[]");
    let wrong = manifest(vec![layer("abc", Some(7))], "[]");
    for (cache, reason) in [(unfinished, "is missing"), (wrong, "lies on layer 7")] {
        let error = writer
            .finish(&cache, &["latest".to_owned()])
            .await
            .expect_err(reason)
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(
        fs::read(dir.path().join(INDEX_FILE)).expect("an index"),
        before
    );
    assert_eq!(
        read(dir.path()).await.expect("a cache"),
        cache("local-max").await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pulls_into_one_directory_at_once_all_arrive() {
    let dir = tempfile::tempdir().expect("a directory");
    let (max, min) = (cache("local-max").await, cache("local-min-fresh").await);
    let pulls = (0..12).map(|number| {
        let (root, max, min) = (dir.path().to_owned(), max.clone(), min.clone());
        tokio::spawn(async move {
            let (cache, from) = if number % 2 == 0 {
                (max, "local-max")
            } else {
                (min, "local-min-fresh")
            };
            write(
                &cache,
                &fixture(from),
                &root,
                &["latest", &format!("tag-{number}")],
            )
            .await;
        })
    });
    for pull in futures::future::join_all(pulls).await {
        pull.expect("no panic");
    }
    let layout = Layout::open(dir.path()).await.expect("a layout");
    assert_eq!(layout.tags().len(), 13);
    for number in 0..12 {
        let cache = layout
            .read(Some(&format!("tag-{number}")))
            .await
            .expect("a cache");
        assert_eq!(
            cache,
            if number % 2 == 0 {
                max.clone()
            } else {
                min.clone()
            }
        );
    }
    layout.verify(&max).await.expect("whole");
    assert_eq!(files_in(&dir.path().join("ingest")), [""; 0]);
}

#[tokio::test]
async fn what_nobody_will_finish_is_removed_after_a_day() {
    let (dir, _, _) = one_layer().await;
    let ingest = dir.path().join("ingest");
    let hours_ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 60 * 60);
    for (name, hours) in [
        ("build-cache-old.tmp", 25),
        ("build-cache-new.tmp", 23),
        ("of-others", 1000),
    ] {
        let file = fs::File::create(ingest.join(name)).expect("a file");
        file.set_modified(hours_ago(hours)).expect("a time");
    }
    LayoutWriter::create(dir.path()).await.expect("a writer");
    assert_eq!(files_in(&ingest), ["build-cache-new.tmp", "of-others"]);
}

#[tokio::test]
async fn json_that_buildkit_will_not_read_is_written_with_a_warning() {
    let (dir, writer, _) = one_layer().await;
    let record = format!("{{\"digest\":\"{}\"}}", "x".repeat(1 << 20));
    let cache = manifest(vec![], &format!("[{record}]"));
    let written = writer
        .finish(&cache, &["latest".to_owned()])
        .await
        .expect("written");
    let [warning] = &written.warnings[..] else {
        panic!("{:?}", written.warnings)
    };
    assert!(
        warning.to_string().contains("the cache's config has 10486"),
        "{warning}"
    );
    assert_eq!(read(dir.path()).await.expect("we read it"), cache);
}

#[tokio::test]
async fn an_unknown_time_is_not_written() {
    let (dir, writer, mut cache) = one_layer().await;
    fs::write(blob_path(dir.path(), &cache.layers[0].blob), "abc").expect("a blob");
    cache.layers[0].created_at = Some("0001-01-01T00:00:00Z".to_owned());
    writer
        .finish(&cache, &["latest".to_owned()])
        .await
        .expect("written");
    assert_eq!(
        read(dir.path()).await.expect("a cache").layers[0].created_at,
        None
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_to_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("ingest"), "a file").expect("a file");
    let error = LayoutWriter::create(dir.path())
        .await
        .expect_err("in the way")
        .to_string();
    assert!(
        error.starts_with("cannot create `") && error.contains("ingest"),
        "{error}"
    );

    let (dir, writer, cache) = one_layer().await;
    fs::create_dir(blob_path(dir.path(), &cache.layers[0].blob)).expect("in the way");
    let stored = store(&writer, &cache.layers[0], b"abc", Check::Digest).await;
    let error = stored.expect_err("in the way").to_string();
    assert!(
        error.starts_with("cannot write `") && error.contains(&cache.layers[0].blob.hex()),
        "{error}"
    );
}
