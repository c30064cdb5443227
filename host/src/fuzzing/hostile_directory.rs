//! Cache directories as an enemy may make them: with links, sockets, holes and
//! numbers of any size, and with every digest right where that is wanted, since
//! no fuzzer finds a SHA-256.
//!
//! A directory is described by entries, a line `%%` between them. An entry is
//! a line that says what it is, and then its content:
//!
//! ```text
//! blob                    a file in blobs/sha256, under its digest
//! outside                 the same, in another directory
//! file NAME               a file
//! hole NAME BYTES         a file of so many zeros
//! dir NAME                a directory
//! socket NAME             a socket, which is no regular file
//! link NAME TARGET        a link to what is here, or to `outside/…`
//! ```
//!
//! `DIGEST0`, `HEX0` and `SIZE0` stand for the digest and the size of the first
//! blob, and so on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use futures::TryStreamExt;
use tokio::runtime::{Builder, Runtime};

use crate::content::Content;
use crate::oci_layout::{Layout, LayoutWriter};
use crate::{Digest, Manifest};

/// The most bytes that a layer may have for its bytes to be read here.
const SMALL: u64 = 1 << 20;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(2)
        .build();
    runtime.expect("a runtime")
});

/// A cache directory: nothing that is accepted comes from outside of it,
/// nothing is written there, and what was read can be written and read again.
pub fn oci_layout(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let memory = Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let dir = dir.expect("a directory");
    // As the file system calls it, to compare paths with.
    let dir = Directory::make(&dir.path().canonicalize().expect("a path"), text);
    let outside = contents(&dir.outside);
    RUNTIME.block_on(async {
        dir.read().await;
        dir.write().await;
    });
    assert_eq!(
        contents(&dir.outside),
        outside,
        "nothing is written outside"
    );
}

struct Directory {
    root: PathBuf,
    outside: PathBuf,
}

impl Directory {
    /// Makes what `text` describes in `dir`. What cannot be made is left out.
    fn make(dir: &Path, text: &str) -> Self {
        let made = Self {
            root: dir.join("root"),
            outside: dir.join("outside"),
        };
        for dir in [&made.root, &made.outside] {
            fs::create_dir_all(dir.join("blobs/sha256")).expect("a directory");
        }
        let mut blobs: Vec<(Digest, usize)> = Vec::new();
        for entry in text.split("\n%%\n").take(32) {
            let mut entry = entry.to_owned();
            for (index, (digest, size)) in blobs.iter().enumerate().rev() {
                entry = entry
                    .replace(&format!("DIGEST{index}"), &digest.to_string())
                    .replace(&format!("HEX{index}"), &digest.hex())
                    .replace(&format!("SIZE{index}"), &size.to_string());
            }
            let (head, content) = entry.split_once('\n').unwrap_or((&entry, ""));
            blobs.extend(made.add(&head.split(' ').collect::<Vec<_>>(), content));
        }
        made
    }

    /// Adds one entry; the digest and the size, if it is a blob.
    fn add(&self, head: &[&str], content: &str) -> Option<(Digest, usize)> {
        match head {
            [kind @ ("blob" | "outside")] => {
                let root = if *kind == "blob" {
                    &self.root
                } else {
                    &self.outside
                };
                let digest = Digest::of(content.as_bytes());
                fs::write(
                    place(root, &format!("blobs/sha256/{}", digest.hex()))?,
                    content,
                )
                .ok()?;
                return Some((digest, content.len()));
            }
            ["file", name] => fs::write(place(&self.root, name)?, content).ok()?,
            ["hole", name, bytes] => {
                let bytes: u64 = bytes.parse().ok()?;
                let file = File::create(place(&self.root, name)?).ok()?;
                file.set_len(bytes.min(1 << 40)).ok()?;
            }
            ["dir", name] => fs::create_dir(place(&self.root, name)?).ok()?,
            #[cfg(unix)]
            ["socket", name] => {
                // Its name stays when it is closed.
                std::os::unix::net::UnixListener::bind(place(&self.root, name)?).ok()?;
            }
            #[cfg(unix)]
            ["link", name, target] => {
                let target = match target.strip_prefix("outside/") {
                    Some(target) => within(&self.outside, target)?,
                    None => within(&self.root, target)?,
                };
                let mut place = place(&self.root, name)?;
                if place.is_dir() && fs::remove_dir(&place).is_err() {
                    place.set_extension("full");
                }
                std::os::unix::fs::symlink(target, place).ok()?;
            }
            _ => {}
        }
        None
    }

    async fn read(&self) {
        let Ok(layout) = Layout::open(&self.root).await else {
            return;
        };
        self.assert_inside("index.json");
        let tags = layout.tags();
        let tags = tags.iter().take(4).map(|tag| Some(tag.as_str()));
        for tag in tags.chain([None]) {
            let Ok(usable) = layout.read_usable(tag).await else {
                continue;
            };
            let manifest = usable.manifest;
            self.assert_inside("blobs/sha256");
            manifest
                .validate_for_buildkit()
                .expect("what was read is valid");
            if layout.check(&manifest).await.is_ok() {
                self.read_layers(&layout, &manifest).await;
                self.write_again(&manifest).await;
            }
        }
    }

    /// Every layer is a file in here, and what is verified is what is lent.
    async fn read_layers(&self, layout: &Layout, manifest: &Manifest) {
        for layer in &manifest.layers {
            let name = format!("blobs/sha256/{}", layer.blob.hex());
            self.assert_inside(&name);
            let file = fs::symlink_metadata(self.root.join(name)).expect("a file");
            assert!(file.is_file() && file.len() == layer.size);
            if layer.size <= SMALL && layout.verify_blob(layer).await.is_ok() {
                let bytes = layout.content().read(&layer.blob, 0, layer.size);
                let bytes: Vec<_> = bytes.try_collect().await.expect("its bytes");
                assert_eq!(Digest::of(&bytes.concat()), layer.blob);
            }
        }
    }

    async fn write_again(&self, manifest: &Manifest) {
        // An image of the tag's name goes before a cache, as in BuildKit.
        let index = fs::read(self.root.join("index.json")).expect("it was read before");
        if String::from_utf8_lossy(&index).contains("io.containerd.image.name") {
            return;
        }
        let Ok(writer) = LayoutWriter::create(&self.root).await else {
            return;
        };
        let tag = "written again".to_owned();
        if writer
            .finish(manifest, std::slice::from_ref(&tag))
            .await
            .is_err()
        {
            return;
        }
        let layout = Layout::open(&self.root).await.expect("what was written");
        let again = layout.read(Some(&tag)).await.expect("what was written");
        assert_eq!(comparable(&again), comparable(manifest));
    }

    /// Makes the directory ready to be written to, whatever it is.
    async fn write(&self) {
        if LayoutWriter::create(&self.root).await.is_ok() {
            self.assert_inside("blobs/sha256");
            self.assert_inside("ingest");
        }
    }

    /// That no link leads from the name elsewhere.
    fn assert_inside(&self, name: &str) {
        let path = self.root.join(name);
        assert_eq!(path.canonicalize().ok().as_ref(), Some(&path));
    }
}

/// A cache with those differences gone that there may be between what is read
/// and what is written: none, and a list without elements; no time, and Go's.
fn comparable(manifest: &Manifest) -> (Manifest, serde_json::Value) {
    let mut manifest = manifest.clone();
    for layer in &mut manifest.layers {
        layer
            .created_at
            .take_if(|time| time == "0001-01-01T00:00:00Z");
    }
    let records = std::mem::take(&mut manifest.records);
    let records = serde_json::from_str(&records).expect("valid records");
    match records {
        serde_json::Value::Null => (manifest, serde_json::json!([])),
        records => (manifest, records),
    }
}

/// The path of a name, whose directories are made. None where it would lie
/// elsewhere, or is taken.
fn place(root: &Path, name: &str) -> Option<PathBuf> {
    let path = within(root, name)?;
    let mut folder = root.to_owned();
    for part in path.parent()?.strip_prefix(root).ok()? {
        folder.push(part);
        // Fails where it is there already.
        let _ = fs::create_dir(&folder);
        fs::symlink_metadata(&folder).ok()?.is_dir().then_some(())?;
    }
    let taken = fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir());
    (!taken).then_some(path)
}

/// A path below `root`, without looking.
fn within(root: &Path, name: &str) -> Option<PathBuf> {
    let name = Path::new(name);
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    (name.components().count() <= 4 && name.components().all(is_plain)).then(|| root.join(name))
}

/// All files below a directory; what is none, and nothing of it, too.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let entries = fs::read_dir(dir).expect("a directory");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let kind = fs::symlink_metadata(&path).expect("an entry").file_type();
        if kind.is_dir() {
            found.extend(contents(&path));
        }
        let content = kind.is_file().then(|| fs::read(&path).expect("a file"));
        found.insert(path, content);
    }
    found
}
