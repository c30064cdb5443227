//! The rules for changing what is stored. Each change is checked and made under one lock, so that
//! of two writers with `If-None-Match: *` exactly one wins.

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::blocks::{BlockId, BlockRef, check_staged, resolve};
use crate::conditions::{Conditions, Stamp};
use crate::content::{Budget, Content, Piece, PieceWriter};
use crate::disk::Disk;
use crate::error::Error;
use crate::index::{Blob, Container, Entry, Index};
use crate::listing::{ListQuery, Page};
use crate::names::{BlobKey, ContainerName};
use crate::properties::Properties;
use crate::refusal::Refusal;

/// Ids and sizes of blocks.
pub(crate) type BlockSizes = Vec<(BlockId, u64)>;

/// Containers, blobs and blocks, in memory or on disk.
#[derive(Debug)]
pub(crate) struct Store {
    index: Mutex<Index>,
    budget: Arc<Budget>,
    disk: Option<Disk>,
}

impl Store {
    /// An empty store whose contents may take `limit` bytes.
    pub fn in_memory(limit: u64) -> Self {
        Self {
            index: Mutex::default(),
            budget: Budget::new(limit),
            disk: None,
        }
    }

    /// What a folder holds.
    pub fn on_disk(disk: Disk) -> Result<Self, Error> {
        let index = Mutex::new(disk.load()?);
        Ok(Self {
            index,
            budget: Budget::new(0),
            disk: Some(disk),
        })
    }

    /// Whether reading and writing may wait for a disk.
    pub fn blocks(&self) -> bool {
        self.disk.is_some()
    }

    /// The lock is never held across code that could panic half-way through a change.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a new piece.
    pub fn writer(&self) -> Result<PieceWriter, Refusal> {
        match &self.disk {
            None => Ok(PieceWriter::in_memory(&self.budget)),
            Some(disk) => {
                PieceWriter::in_file(disk.new_piece()).map_err(|error| Refusal::disk(&error))
            }
        }
    }

    pub fn create_container(
        &self,
        name: &ContainerName,
        metadata: Vec<(String, String)>,
    ) -> Result<Stamp, Refusal> {
        let mut index = self.index();
        if index.containers.contains_key(name.as_str()) {
            return Err(Refusal::container_exists());
        }
        let stamp = index.stamp();
        let container = Container {
            stamp: stamp.clone(),
            metadata,
            blobs: Default::default(),
        };
        if let Some(disk) = &self.disk {
            disk.create_container(name.as_str(), &container)
                .map_err(|error| Refusal::disk(&error))?;
        }
        index.containers.insert(name.as_str().to_owned(), container);
        Ok(stamp)
    }

    /// The container's version and metadata.
    pub fn container(
        &self,
        name: &ContainerName,
    ) -> Result<(Stamp, Vec<(String, String)>), Refusal> {
        let mut index = self.index();
        let container = find_container(&mut index, name)?;
        Ok((container.stamp.clone(), container.metadata.clone()))
    }

    pub fn delete_container(
        &self,
        name: &ContainerName,
        conditions: &Conditions,
    ) -> Result<(), Refusal> {
        let mut index = self.index();
        let container = find_container(&mut index, name)?;
        conditions.check_write(Some(&container.stamp))?;
        if let Some(disk) = &self.disk {
            disk.delete_container(name.as_str())
                .map_err(|error| Refusal::disk(&error))?;
        }
        if let Some(container) = index.containers.remove(name.as_str()) {
            container
                .blobs
                .values()
                .filter_map(|entry| entry.blob.as_deref())
                .for_each(release);
        }
        Ok(())
    }

    pub fn list(&self, name: &ContainerName, query: &ListQuery) -> Result<Page, Refusal> {
        Ok(Page::of(find_container(&mut self.index(), name)?, query))
    }

    pub fn blob(&self, container: &ContainerName, key: &BlobKey) -> Result<Arc<Blob>, Refusal> {
        self.read(container, key, &Conditions::default())
    }

    /// The blob, if the conditions of a read hold.
    pub fn read(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        conditions: &Conditions,
    ) -> Result<Arc<Blob>, Refusal> {
        let mut index = self.index();
        let entry = find_container(&mut index, container)?
            .blobs
            .get(key.as_str());
        let blob = entry.and_then(|entry| entry.blob.clone());
        conditions.check_read(blob.as_ref().map(|blob| &blob.stamp))?;
        blob.ok_or_else(Refusal::blob_not_found)
    }

    /// Makes one piece a blob. Blocks that waited under the key are dropped.
    pub fn put(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        conditions: &Conditions,
        properties: Properties,
        piece: Arc<Piece>,
    ) -> Result<Arc<Blob>, Refusal> {
        self.replace(container, key, conditions, properties, |_| {
            Ok((Content::new([piece]), Vec::new()))
        })
    }

    /// Makes blocks a blob. Blocks that waited and are not named are dropped.
    pub fn commit(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        conditions: &Conditions,
        properties: Properties,
        list: &[BlockRef],
    ) -> Result<Arc<Blob>, Refusal> {
        self.replace(container, key, conditions, properties, |entry| {
            let committed = entry
                .blob
                .as_ref()
                .map(|blob| blob.blocks.as_slice())
                .unwrap_or_default();
            let blocks = resolve(list, committed, &entry.uncommitted)?;
            Ok((
                Content::new(blocks.iter().map(|(_, piece)| Arc::clone(piece))),
                blocks,
            ))
        })
    }

    fn replace(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        conditions: &Conditions,
        properties: Properties,
        contents: impl FnOnce(&Entry) -> Result<(Content, Vec<(BlockId, Arc<Piece>)>), Refusal>,
    ) -> Result<Arc<Blob>, Refusal> {
        let mut index = self.index();
        let stamp = index.stamp();
        let blobs = &mut find_container(&mut index, container)?.blobs;
        let nothing = Entry::default();
        let entry = blobs.get(key.as_str()).unwrap_or(&nothing);
        if let Some(blob) = &entry.blob {
            blob.properties.check_replaceable()?;
        }
        conditions.check_put(entry.blob.as_ref().map(|blob| &blob.stamp))?;
        let (content, blocks) = contents(entry)?;
        let created = entry
            .blob
            .as_ref()
            .map_or_else(SystemTime::now, |blob| blob.created);
        let blob = Arc::new(Blob {
            stamp,
            created,
            properties,
            content,
            blocks,
        });
        if let Some(disk) = &self.disk {
            disk.save(container.as_str(), key.as_str(), &blob)
                .map_err(|error| Refusal::disk(&error))?;
        }
        let before = blobs.insert(
            key.as_str().to_owned(),
            Entry {
                blob: Some(Arc::clone(&blob)),
                uncommitted: Default::default(),
            },
        );
        if let Some(before) = before.and_then(|entry| entry.blob) {
            release(&before);
        }
        // Last, for a piece may have been in the blob before too.
        blob.content.pieces().for_each(|piece| piece.keep(true));
        Ok(blob)
    }

    /// Lets a block wait for a Put Block List.
    pub fn stage(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        id: BlockId,
        piece: Arc<Piece>,
    ) -> Result<(), Refusal> {
        let mut index = self.index();
        let entry = find_container(&mut index, container)?
            .blobs
            .entry(key.as_str().to_owned())
            .or_default();
        if let Some(blob) = &entry.blob {
            blob.properties.check_replaceable()?;
        }
        check_staged(&entry.uncommitted, &id)?;
        entry.uncommitted.insert(id, piece);
        Ok(())
    }

    /// The blob, if there is one, and the blocks that wait.
    pub fn blocks_of(
        &self,
        container: &ContainerName,
        key: &BlobKey,
    ) -> Result<(Option<Arc<Blob>>, BlockSizes), Refusal> {
        let mut index = self.index();
        let blobs = &find_container(&mut index, container)?.blobs;
        let entry = blobs
            .get(key.as_str())
            .ok_or_else(Refusal::blob_not_found)?;
        let waiting = entry
            .uncommitted
            .iter()
            .map(|(id, piece)| (id.clone(), piece.len()))
            .collect();
        Ok((entry.blob.clone(), waiting))
    }

    /// Gives a blob other metadata, and with it another version. Its bytes, and
    /// the blocks that wait, stay.
    pub fn set_metadata(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        conditions: &Conditions,
        metadata: Vec<(String, String)>,
    ) -> Result<Arc<Blob>, Refusal> {
        let mut index = self.index();
        let stamp = index.stamp();
        let blobs = &mut find_container(&mut index, container)?.blobs;
        let entry = blobs
            .get_mut(key.as_str())
            .ok_or_else(Refusal::blob_not_found)?;
        let before = entry.blob.clone().ok_or_else(Refusal::blob_not_found)?;
        conditions.check_write(Some(&before.stamp))?;
        before.properties.check_readable()?;
        let blob = Arc::new(Blob {
            stamp,
            created: before.created,
            properties: before.properties.with_metadata(metadata),
            content: before.content.clone(),
            blocks: before.blocks.clone(),
        });
        if let Some(disk) = &self.disk {
            disk.save(container.as_str(), key.as_str(), &blob)
                .map_err(|error| Refusal::disk(&error))?;
        }
        entry.blob = Some(Arc::clone(&blob));
        Ok(blob)
    }

    pub fn delete(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        conditions: &Conditions,
    ) -> Result<(), Refusal> {
        let mut index = self.index();
        let blobs = &mut find_container(&mut index, container)?.blobs;
        let blob = blobs.get(key.as_str()).and_then(|entry| entry.blob.clone());
        conditions.check_write(blob.as_ref().map(|blob| &blob.stamp))?;
        let blob = blob.ok_or_else(Refusal::blob_not_found)?;
        let folder = format!("{}/", key.as_str());
        let mut after = blobs.range::<str, _>((Bound::Included(folder.as_str()), Bound::Unbounded));
        let has_content = after
            .next()
            .is_some_and(|(key, _)| key.starts_with(&folder));
        if blob.properties.is_directory() && has_content {
            return Err(Refusal::directory_not_empty());
        }
        if let Some(disk) = &self.disk {
            disk.remove(container.as_str(), key.as_str())
                .map_err(|error| Refusal::disk(&error))?;
        }
        blobs.remove(key.as_str());
        release(&blob);
        Ok(())
    }

    /// Moves a blob to another tier, which leaves its version as it is. False where that takes a
    /// while.
    pub fn set_tier(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        tier: &str,
    ) -> Result<bool, Refusal> {
        let mut index = self.index();
        let blobs = &mut find_container(&mut index, container)?.blobs;
        let entry = blobs.get_mut(key.as_str());
        let blob = entry.and_then(|entry| entry.blob.as_mut());
        let blob = blob.ok_or_else(Refusal::blob_not_found)?;
        let mut properties = blob.properties.clone();
        let is_at_once = properties.set_tier(tier)?;
        let moved = Arc::new(Blob {
            stamp: blob.stamp.clone(),
            created: blob.created,
            properties,
            content: blob.content.clone(),
            blocks: blob.blocks.clone(),
        });
        if let Some(disk) = &self.disk {
            disk.save(container.as_str(), key.as_str(), &moved)
                .map_err(|error| Refusal::disk(&error))?;
        }
        *blob = moved;
        Ok(is_at_once)
    }

    /// The keys of all blobs in a container.
    pub fn keys(&self, container: &ContainerName) -> Result<Vec<String>, Refusal> {
        let mut index = self.index();
        let blobs = &find_container(&mut index, container)?.blobs;
        Ok(blobs
            .iter()
            .filter(|(_, entry)| entry.blob.is_some())
            .map(|(key, _)| key.clone())
            .collect())
    }
}

/// A blob's files go when the last reader is done.
fn release(blob: &Blob) {
    blob.content.pieces().for_each(|piece| piece.keep(false));
}

fn find_container<'a>(
    index: &'a mut Index,
    name: &ContainerName,
) -> Result<&'a mut Container, Refusal> {
    index
        .containers
        .get_mut(name.as_str())
        .ok_or_else(Refusal::container_not_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (Store, ContainerName, BlobKey) {
        let store = Store::in_memory(1 << 20);
        let container = ContainerName::parse("cache").unwrap();
        store.create_container(&container, Vec::new()).unwrap();
        (store, container, BlobKey::parse("key").unwrap())
    }

    fn piece(store: &Store, bytes: &[u8]) -> Arc<Piece> {
        let mut writer = store.writer().unwrap();
        writer.push(bytes, 0).unwrap();
        writer.finish().unwrap()
    }

    fn id(id: &str) -> BlockId {
        BlockId::from_query(Some(id)).unwrap()
    }

    fn text(blob: &Blob) -> String {
        String::from_utf8(blob.content.read(0, u64::MAX).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn of_blocks_that_wait_and_blocks_that_are_there_a_new_blob_is_made() {
        let (store, container, key) = store();
        let any = Conditions::default();
        for (block, bytes) in [("QQ==", "one "), ("Qg==", "two ")] {
            store
                .stage(&container, &key, id(block), piece(&store, bytes.as_bytes()))
                .unwrap();
        }
        let list = [
            BlockRef::Latest(id("Qg==")),
            BlockRef::Latest(id("QQ==")),
            BlockRef::Latest(id("QQ==")),
        ];
        store
            .commit(&container, &key, &any, Properties::default(), &list)
            .unwrap();
        store
            .stage(&container, &key, id("QQ=="), piece(&store, b"new"))
            .unwrap();
        let list = [
            BlockRef::Committed(id("QQ==")),
            BlockRef::Uncommitted(id("QQ==")),
            BlockRef::Latest(id("QQ==")),
        ];
        let blob = store
            .commit(&container, &key, &any, Properties::default(), &list)
            .unwrap();
        assert!(text(&blob).starts_with("one "));
        assert_eq!(blob.content.len(), 10);
        assert_eq!(store.blocks_of(&container, &key).unwrap().1.len(), 0);
    }

    #[test]
    fn a_put_blob_removes_the_blocks_that_wait() {
        let (store, container, key) = store();
        let any = Conditions::default();
        store
            .stage(&container, &key, id("QQ=="), piece(&store, b"a"))
            .unwrap();
        store
            .put(
                &container,
                &key,
                &any,
                Properties::default(),
                piece(&store, b"b"),
            )
            .unwrap();
        let list = [BlockRef::Latest(id("QQ=="))];
        let refusal = store
            .commit(&container, &key, &any, Properties::default(), &list)
            .unwrap_err();
        assert_eq!(refusal.code, "InvalidBlockList");
        assert_eq!(text(&store.blob(&container, &key).unwrap()), "b");
    }

    #[test]
    fn ids_of_blocks_that_wait_have_one_length() {
        let (store, container, key) = store();
        store
            .stage(&container, &key, id("QQ=="), piece(&store, b"a"))
            .unwrap();
        let refusal = store
            .stage(&container, &key, id("QUFBQUFB"), piece(&store, b"a"))
            .unwrap_err();
        assert_eq!(
            (refusal.status.as_u16(), refusal.code),
            (400, "InvalidBlobOrBlock")
        );
    }

    #[test]
    fn other_metadata_makes_another_version_of_the_same_bytes() {
        let (store, container, key) = store();
        let any = Conditions::default();
        let metadata = || vec![("a".to_owned(), "1".to_owned())];
        let refusal = store.set_metadata(&container, &key, &any, metadata());
        assert_eq!(refusal.unwrap_err().code, "BlobNotFound");
        let (properties, bytes) = (Properties::default(), piece(&store, b"a"));
        let before = store
            .put(&container, &key, &any, properties, bytes)
            .unwrap();
        let after = store
            .set_metadata(&container, &key, &any, metadata())
            .unwrap();
        assert_ne!(after.stamp.etag, before.stamp.etag);
        assert_eq!(after.properties.metadata(), metadata());
        assert_eq!(text(&store.blob(&container, &key).unwrap()), "a");
    }

    #[test]
    fn a_key_with_blocks_alone_is_no_blob() {
        let (store, container, key) = store();
        store
            .stage(&container, &key, id("QQ=="), piece(&store, b"a"))
            .unwrap();
        assert_eq!(
            store.blob(&container, &key).unwrap_err().code,
            "BlobNotFound"
        );
        assert_eq!(
            store
                .delete(&container, &key, &Conditions::default())
                .unwrap_err()
                .code,
            "BlobNotFound"
        );
        assert_eq!(store.keys(&container).unwrap(), Vec::<String>::new());
    }
}
