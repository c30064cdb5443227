//! The store in a folder, so that it survives a restart.
//!
//! ```text
//! blob-store.lock                   held while a store runs here; marks the folder as ours
//! pieces/NUMBER                     the bytes of a block or a small blob, written once
//! containers/NAME/container.json    a container
//! containers/NAME/HASH.json         a blob: its key, its properties, the pieces it is made of
//! ```
//!
//! A record is written beside its place and renamed, after its pieces are safe: a blob is there
//! whole or not at all. Blocks that wait for a Put Block List do not survive a restart.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::blocks::BlockId;
use crate::conditions::Stamp;
use crate::content::{Content, FilePiece, Piece};
use crate::error::Error;
use crate::index::{Blob, Container, Entry, Index};
use crate::properties::Properties;

const LOCK: &str = "blob-store.lock";

const CONTAINER_RECORD: &str = "container.json";

/// A folder that this process alone uses.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    next_piece: AtomicU64,
    /// Locked until dropped.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct ContainerRecord {
    etag: String,
    modified_s: u64,
    metadata: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct BlobRecord {
    key: String,
    etag: String,
    modified_s: u64,
    created_s: u64,
    properties: Properties,
    pieces: Vec<PieceRecord>,
}

#[derive(Serialize, Deserialize)]
struct PieceRecord {
    file: String,
    len: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<BlockId>,
}

impl Disk {
    /// Takes a folder, and makes it if it is not there. One that holds something else is left
    /// alone, for a store removes what it does not know.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let lock_path = root.join(LOCK);
        if root.exists() && !lock_path.exists() && !entries(root)?.is_empty() {
            return Err(Error::FolderNotOurs(root.to_owned()));
        }
        for folder in [root.join("pieces"), root.join("containers")] {
            fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        }
        let lock = File::create(&lock_path).map_err(failed("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::FolderInUse(root.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }
        Ok(Self {
            root: root.to_owned(),
            next_piece: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Reads all records, and removes files that none of them names.
    pub fn load(&self) -> Result<Index, Error> {
        let mut index = Index::default();
        let mut pieces = Pieces {
            folder: self.root.join("pieces"),
            shared: BTreeMap::new(),
        };
        for path in entries(&self.root.join("containers"))? {
            let record_path = path.join(CONTAINER_RECORD);
            if !record_path.exists() {
                // A creation or a removal that was cut short.
                fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
                continue;
            }
            let container = load_container(&path, &record_path, &mut pieces)?;
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            index.containers.insert(name, container);
        }
        let named: HashSet<OsString> = pieces.shared.into_keys().map(OsString::from).collect();
        for path in entries(&pieces.folder)? {
            let name = path.file_name().unwrap_or_default();
            if !named.contains(name) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            } else if let Some(number) = name.to_str().and_then(|name| name.parse::<u64>().ok()) {
                self.next_piece.fetch_max(number + 1, Ordering::Relaxed);
            }
        }
        Ok(index)
    }

    /// The path of a piece that is not there yet.
    pub fn new_piece(&self) -> PathBuf {
        self.root
            .join("pieces")
            .join(self.next_piece.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn container(&self, name: &str) -> PathBuf {
        self.root.join("containers").join(name)
    }

    /// A key may be longer than a file's name may be, so its hash stands for it.
    fn blob_record(&self, container: &str, key: &str) -> PathBuf {
        let hash: String = Sha256::digest(key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.container(container).join(format!("{hash}.json"))
    }

    pub fn create_container(&self, name: &str, container: &Container) -> io::Result<()> {
        let folder = self.container(name);
        fs::create_dir_all(&folder)?;
        let record = ContainerRecord {
            etag: container.stamp.etag.clone(),
            modified_s: seconds(container.stamp.modified),
            metadata: container.metadata.clone(),
        };
        write_record(&folder.join(CONTAINER_RECORD), &record)
    }

    pub fn delete_container(&self, name: &str) -> io::Result<()> {
        let folder = self.container(name);
        // First what makes it a container, so that a cut leaves nothing that looks like one.
        fs::remove_file(folder.join(CONTAINER_RECORD))?;
        fs::remove_dir_all(folder)
    }

    pub fn save(&self, container: &str, key: &str, blob: &Blob) -> io::Result<()> {
        let piece = |block: Option<&BlockId>, piece: &Piece| {
            let file = piece.file_name().unwrap_or_default().to_owned();
            PieceRecord {
                file,
                len: piece.len(),
                block: block.cloned(),
            }
        };
        let pieces = if blob.blocks.is_empty() {
            blob.content
                .pieces()
                .map(|content| piece(None, content))
                .collect()
        } else {
            blob.blocks
                .iter()
                .map(|(id, content)| piece(Some(id), content))
                .collect()
        };
        let record = BlobRecord {
            key: key.to_owned(),
            etag: blob.stamp.etag.clone(),
            modified_s: seconds(blob.stamp.modified),
            created_s: seconds(blob.created),
            properties: blob.properties.clone(),
            pieces,
        };
        write_record(&self.blob_record(container, key), &record)
    }

    pub fn remove(&self, container: &str, key: &str) -> io::Result<()> {
        fs::remove_file(self.blob_record(container, key))
    }
}

/// Pieces by the names of their files, for a list may name one twice.
struct Pieces {
    folder: PathBuf,
    shared: BTreeMap<String, Arc<Piece>>,
}

impl Pieces {
    fn get(&mut self, record: &PieceRecord) -> Result<Arc<Piece>, String> {
        if let Some(piece) = self.shared.get(&record.file) {
            return Ok(Arc::clone(piece));
        }
        if record.file.parse::<u64>().is_err() {
            return Err(format!("'{}' is no name of a piece", record.file));
        }
        let path = self.folder.join(&record.file);
        match fs::metadata(&path) {
            Ok(found) if found.len() == record.len => {}
            Ok(found) => {
                return Err(format!(
                    "piece {} has {} bytes, not {}",
                    record.file,
                    found.len(),
                    record.len
                ));
            }
            Err(error) => return Err(format!("piece {} cannot be read: {error}", record.file)),
        }
        let piece = Arc::new(Piece::File(FilePiece::recorded(path, record.len)));
        self.shared.insert(record.file.clone(), Arc::clone(&piece));
        Ok(piece)
    }
}

fn load_container(
    folder: &Path,
    record_path: &Path,
    pieces: &mut Pieces,
) -> Result<Container, Error> {
    let record: ContainerRecord = read_record(record_path)?;
    let stamp = Stamp {
        etag: record.etag,
        modified: time(record.modified_s),
    };
    let mut container = Container {
        stamp,
        metadata: record.metadata,
        blobs: BTreeMap::new(),
    };
    for path in entries(folder)? {
        if path == record_path {
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "json") {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            continue;
        }
        let record: BlobRecord = read_record(&path)?;
        let (key, blob) =
            load_blob(record, pieces).map_err(|reason| Error::Record { path, reason })?;
        container.blobs.insert(
            key,
            Entry {
                blob: Some(Arc::new(blob)),
                uncommitted: BTreeMap::new(),
            },
        );
    }
    Ok(container)
}

fn load_blob(record: BlobRecord, pieces: &mut Pieces) -> Result<(String, Blob), String> {
    let mut contents = Vec::new();
    let mut blocks = Vec::new();
    for piece_record in &record.pieces {
        let piece = pieces.get(piece_record)?;
        if let Some(id) = &piece_record.block {
            blocks.push((id.clone(), Arc::clone(&piece)));
        }
        contents.push(piece);
    }
    let blob = Blob {
        stamp: Stamp {
            etag: record.etag,
            modified: time(record.modified_s),
        },
        created: time(record.created_s),
        properties: record.properties,
        content: Content::new(contents),
        blocks,
    };
    Ok((record.key, blob))
}

fn write_record(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = fs::read(path).map_err(failed("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Record {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    read().map_err(failed("read", folder))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Folder { what, path, source }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}
