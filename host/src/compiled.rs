//! Compiled components on disk, so that a plugin is compiled once and not at
//! every start.
//!
//! What is loaded from here runs as native code in this process, so a file
//! counts only if nobody else can have written it (owner and permissions of
//! the file and its directory), if it is whole (it carries its own SHA-256),
//! and if it was made from this very component by an engine like this one
//! (both stand in its name; wasmtime checks the engine again). Anything else
//! is compiled anew.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Digest;

/// Bytes of the SHA-256 that a file starts with.
const CHECKSUM_BYTES: usize = 32;

/// Where compiled components are kept.
#[derive(Debug, Clone)]
pub(crate) struct CompiledCache {
    directory: PathBuf,
}

impl CompiledCache {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The component, from here where it can be trusted. Compiles it otherwise
    /// and keeps the outcome; that it cannot be kept is no failure.
    pub(crate) fn load(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
        let path = self.path(engine, wasm);
        if let Ok(Some(code)) = trusted_file(&path) {
            // SAFETY: only this user can have written the file, and it is whole.
            if let Ok(component) = unsafe { Component::deserialize(engine, code) } {
                return Ok(component);
            }
        }
        let component = Component::new(engine, wasm)?;
        // A cache that cannot be written (a full disk, a read-only home) costs
        // the next start a compilation and nothing else.
        let _ = component
            .serialize()
            .map_err(|error| io::Error::other(error.to_string()))
            .and_then(|code| self.store(&path, &code));
        Ok(component)
    }

    /// A file for each pair of component and engine.
    fn path(&self, engine: &Engine, wasm: &[u8]) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = hasher.finish();
        let component = Digest::of(wasm).hex();
        self.directory
            .join(format!("{component}-{engine:016x}.cwasm"))
    }

    fn store(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        private_directory(&self.directory)?;
        let mut file = tempfile::Builder::new()
            .prefix(".compiling-")
            .tempfile_in(&self.directory)?;
        file.write_all(&Digest::of(code).bytes())?;
        file.write_all(code)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// The code in the file, without its checksum. None where there is no such
/// file, or none to be trusted.
fn trusted_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(directory) = path.parent() else {
        return Ok(None);
    };
    if !is_ours_alone(&fs::symlink_metadata(directory)?)
        || !is_ours_alone(&fs::symlink_metadata(path)?)
    {
        return Ok(None);
    }
    let mut bytes = fs::read(path)?;
    if bytes.len() < CHECKSUM_BYTES {
        return Ok(None);
    }
    let code = bytes.split_off(CHECKSUM_BYTES);
    Ok((Digest::of(&code).bytes()[..] == bytes[..]).then_some(code))
}

#[cfg(unix)]
fn private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

#[cfg(not(unix))]
fn private_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

/// Whether this user owns it, nobody else may write to it, and it is no link.
#[cfg(unix)]
fn is_ours_alone(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    !metadata.is_symlink()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o022 == 0
}

/// A profile's own folders are private on the systems that are no Unix.
#[cfg(not(unix))]
fn is_ours_alone(metadata: &fs::Metadata) -> bool {
    !metadata.is_symlink()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The smallest component there is: the header alone.
    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn only_file(directory: &Path) -> PathBuf {
        let mut files = fs::read_dir(directory).unwrap();
        let file = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        file
    }

    #[test]
    fn a_compiled_component_is_kept_and_taken_again() {
        let root = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = CompiledCache::new(root.path().join("compiled"));
        cache.load(&engine, EMPTY_COMPONENT).unwrap();
        let file = only_file(&cache.directory);
        assert!(trusted_file(&file).unwrap().is_some());
        cache.load(&engine, EMPTY_COMPONENT).unwrap();
    }

    #[test]
    fn a_file_that_others_may_write_is_not_trusted() {
        let root = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = CompiledCache::new(root.path().join("compiled"));
        cache.load(&engine, EMPTY_COMPONENT).unwrap();
        let file = only_file(&cache.directory);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(trusted_file(&file).unwrap().is_none());

        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(trusted_file(&file).unwrap().is_none());
    }

    #[test]
    fn a_damaged_file_is_compiled_anew() {
        let root = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = CompiledCache::new(root.path().join("compiled"));
        cache.load(&engine, EMPTY_COMPONENT).unwrap();
        let file = only_file(&cache.directory);
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert!(trusted_file(&file).unwrap().is_none());

        cache.load(&engine, EMPTY_COMPONENT).unwrap();
        assert!(trusted_file(&file).unwrap().is_some());
    }
}
