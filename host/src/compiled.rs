//! Compiled components on disk, so that a plugin is compiled once and not at
//! every start.
//!
//! What is loaded from here runs as native code in this process, so a file
//! counts only if nobody else can have written it (owner and permissions of
//! the file and its directory, neither of them a link), if it is whole (it
//! carries a SHA-256 of its name and its code), and if it was made from this
//! very component by an engine like this one (both are in its name; wasmtime
//! checks the engine again). Anything else is compiled anew.
//!
//! What is not used is removed, the least recently used first: every version of
//! a plugin, and of this program, leaves a file of its own. When a file was last
//! used is its time of modification, which is set once a day at most. Another
//! process that loses a file this way has read it already, or compiles again.
//!
//! What is checked is what was opened, and what was opened is read: nothing can
//! be put in its place in between. Who can act as this user can run code anyway,
//! and needs no cache for it; against them there is no check.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Digest;

/// Bytes of the SHA-256 that a file starts with.
const CHECKSUM_BYTES: usize = 32;

/// How much is kept, in bytes: some hundred components like those here.
const MOST_BYTES: u64 = 512 << 20;
/// A file that was not used for so long is removed.
const LONGEST_UNUSED: Duration = Duration::from_secs(30 * DAY);
/// A file's time of use is not set more often than this.
const USE_NOTED_AFTER: Duration = Duration::from_secs(DAY);
/// What was begun so long ago will not be finished.
const LONGEST_UNFINISHED: Duration = Duration::from_secs(DAY);
/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// How the names of files begin that are being written.
const UNFINISHED: &str = ".compiling-";

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
    /// and keeps the outcome; it is not a failure if it cannot be kept.
    pub(crate) fn load(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
        let name = file_name(engine, wasm);
        if let Ok(Some(code)) = self.trusted_code(&name) {
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
            .and_then(|code| self.store(&name, &code));
        Ok(component)
    }

    /// The code in a file, without its checksum. None where the file is not to
    /// be trusted.
    fn trusted_code(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = open_trusted(&self.directory, name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        note_use(&file);
        if bytes.len() < CHECKSUM_BYTES {
            return Ok(None);
        }
        let code = bytes.split_off(CHECKSUM_BYTES);
        Ok((checksum(name, &code)[..] == bytes[..]).then_some(code))
    }

    /// Writes beside and renames, so that nobody reads half a file. A file that
    /// was no longer trusted is replaced, not written to.
    fn store(&self, name: &str, code: &[u8]) -> io::Result<()> {
        private_directory(&self.directory)?;
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.directory)?;
        file.write_all(&checksum(name, code))?;
        file.write_all(code)?;
        let path = self.directory.join(name);
        file.persist(path).map_err(|error| error.error)?;
        self.evict(name);
        Ok(())
    }

    /// Removes what is not used, but for the file of this name. What cannot be
    /// removed stays: it only takes up space.
    fn evict(&self, but_for: &str) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let files = entries.flatten().filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            let name = entry.file_name().into_string().ok()?;
            (metadata.is_file() && name != but_for).then_some(Kept {
                name,
                bytes: metadata.len(),
                used: metadata.modified().ok()?,
            })
        });
        let new = fs::metadata(self.directory.join(but_for)).map_or(0, |file| file.len());
        let room = MOST_BYTES.saturating_sub(new);
        for name in to_remove(files.collect(), room, SystemTime::now()) {
            let _ = fs::remove_file(self.directory.join(name));
        }
    }
}

/// A file of the directory.
#[derive(Debug, Clone)]
struct Kept {
    name: String,
    bytes: u64,
    used: SystemTime,
}

/// Which of these files to remove, so that no more than `room` bytes are left.
fn to_remove(mut files: Vec<Kept>, room: u64, now: SystemTime) -> Vec<String> {
    // Of a time that is still to come nobody knows how old it is.
    let unused = |file: &Kept| now.duration_since(file.used).unwrap_or_default();
    files.sort_by_key(unused);
    let mut kept = 0_u64;
    files.retain(|file| {
        if file.name.starts_with(UNFINISHED) {
            return unused(file) > LONGEST_UNFINISHED;
        }
        if !file.name.ends_with(".cwasm") {
            return false;
        }
        let is_kept = unused(file) <= LONGEST_UNUSED && kept.saturating_add(file.bytes) <= room;
        if is_kept {
            kept += file.bytes;
        }
        !is_kept
    });
    files.into_iter().map(|file| file.name).collect()
}

/// Notes that a file was used, where that is not known yet.
fn note_use(file: &File) {
    let now = SystemTime::now();
    let used = file.metadata().and_then(|metadata| metadata.modified());
    if used.is_ok_and(|used| {
        now.duration_since(used)
            .is_ok_and(|ago| ago > USE_NOTED_AFTER)
    }) {
        let _ = file.set_modified(now);
    }
}

/// A file for each pair of component and engine.
fn file_name(engine: &Engine, wasm: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let engine = hasher.finish();
    let component = Digest::of(wasm).hex();
    format!("{component}-{engine:016x}.cwasm")
}

/// Of the code and the name, so that no file can replace another.
fn checksum(name: &str, code: &[u8]) -> [u8; CHECKSUM_BYTES] {
    Digest::of(&[name.as_bytes(), code].concat()).bytes()
}

/// Makes the directory where it is missing. Fails where it is not this user's
/// alone.
#[cfg(unix)]
fn private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_ours_alone(&fs::symlink_metadata(directory)?) {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(not(unix))]
fn private_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

/// Opens a file of the directory. None where somebody else can have written
/// it; an error where one of the two is a link.
#[cfg(unix)]
fn open_trusted(directory: &Path, name: &str) -> io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags, open, openat};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(directory, flags | OFlags::DIRECTORY, Mode::empty())?;
    // A pipe would make opening it wait.
    let file = openat(&directory, name, flags | OFlags::NONBLOCK, Mode::empty())?;
    let (directory, file) = (File::from(directory), File::from(file));
    let metadata = file.metadata()?;
    let is_trusted =
        is_ours_alone(&directory.metadata()?) && is_ours_alone(&metadata) && metadata.is_file();
    Ok(is_trusted.then_some(file))
}

/// A profile's own folders are private on systems other than Unix.
#[cfg(not(unix))]
fn open_trusted(directory: &Path, name: &str) -> io::Result<Option<File>> {
    let path = directory.join(name);
    let is_link =
        fs::symlink_metadata(directory)?.is_symlink() || fs::symlink_metadata(&path)?.is_symlink();
    if is_link {
        return Ok(None);
    }
    File::open(path).map(Some)
}

/// Whether this user owns it, nobody else may write to it, and it is not a link.
#[cfg(unix)]
fn is_ours_alone(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let us = rustix::process::geteuid().as_raw();
    !metadata.is_symlink() && is_alone(metadata.uid(), metadata.mode(), us)
}

/// Whether what has this owner and this mode is written by `us` alone. Where
/// there is an access list, the group's bits show the most that it allows.
#[cfg(unix)]
fn is_alone(owner: u32, mode: u32, us: u32) -> bool {
    owner == us && mode & 0o022 == 0
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// The smallest component there is: the header alone.
    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    /// A cache that holds the empty component.
    struct Filled {
        root: tempfile::TempDir,
        engine: Engine,
        cache: CompiledCache,
        name: String,
    }

    impl Filled {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let engine = Engine::default();
            let cache = CompiledCache::new(root.path().join("compiled"));
            cache.load(&engine, EMPTY_COMPONENT).unwrap();
            let filled = Self {
                root,
                name: file_name(&engine, EMPTY_COMPONENT),
                engine,
                cache,
            };
            assert!(filled.is_trusted());
            filled
        }

        fn file(&self) -> PathBuf {
            self.cache.directory.join(&self.name)
        }

        /// A file or directory of the same root, that the cache has not made.
        fn elsewhere(&self) -> PathBuf {
            self.root.path().join("elsewhere")
        }

        fn is_trusted(&self) -> bool {
            matches!(self.cache.trusted_code(&self.name), Ok(Some(_)))
        }

        /// Loads the component, which must be possible whatever is in the cache.
        fn load(&self) {
            self.cache.load(&self.engine, EMPTY_COMPONENT).unwrap();
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_compiled_component_is_kept_and_taken_again() {
        let filled = Filled::new();
        let written = fs::metadata(filled.file()).unwrap().modified().unwrap();
        filled.load();
        let later = fs::metadata(filled.file()).unwrap().modified().unwrap();
        assert_eq!(written, later, "it was compiled again");
    }

    #[test]
    fn the_least_recently_used_are_removed_and_what_is_not_ours_stays() {
        let now = SystemTime::now();
        let file = |name: &str, bytes, days: u64| Kept {
            name: name.to_owned(),
            bytes,
            used: now - Duration::from_secs(days * DAY),
        };
        let files = vec![
            file("old.cwasm", 10, 20),
            file("new.cwasm", 10, 1),
            file("large.cwasm", 100, 2),
            file("forgotten.cwasm", 1, 31),
            file(".compiling-now", 500, 0),
            file(".compiling-crashed", 500, 2),
            file("notes.txt", 500, 400),
        ];
        let removed = |room| to_remove(files.clone(), room, now);
        assert_eq!(removed(1000), [".compiling-crashed", "forgotten.cwasm"]);
        assert_eq!(
            removed(110),
            [".compiling-crashed", "old.cwasm", "forgotten.cwasm"]
        );
        assert_eq!(
            removed(20),
            ["large.cwasm", ".compiling-crashed", "forgotten.cwasm"]
        );
    }

    #[test]
    fn a_file_that_was_not_used_for_a_month_goes_when_another_comes() {
        let filled = Filled::new();
        let forgotten = filled.cache.directory.join("forgotten.cwasm");
        let long_ago = SystemTime::now() - LONGEST_UNUSED - LONGEST_UNUSED;
        let set_used = |path: &Path| File::open(path).unwrap().set_modified(long_ago).unwrap();
        fs::write(&forgotten, b"code").unwrap();
        set_used(&forgotten);
        set_used(&filled.file());

        filled.load();
        let used = fs::metadata(filled.file()).unwrap().modified().unwrap();
        assert!(used > long_ago, "its use was not noted");
        assert!(forgotten.exists(), "nothing was stored");

        let other = [EMPTY_COMPONENT, &[0, 2, 1, b'x']].concat();
        filled.cache.load(&filled.engine, &other).unwrap();
        assert!(!forgotten.exists());
        assert!(filled.is_trusted());
    }

    #[test]
    fn only_this_user_may_own_it_or_write_to_it() {
        for (owner, mode, alone) in [
            (1000, 0o100_600, true),
            (1000, 0o100_644, true),
            (1000, 0o040_755, true),
            (1000, 0o100_620, false),
            (1000, 0o100_602, false),
            (1000, 0o041_777, false),
            (0, 0o100_600, false),
            (1001, 0o100_600, false),
        ] {
            assert_eq!(is_alone(owner, mode, 1000), alone, "{owner} {mode:o}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_replaced() {
        for mode in [0o666, 0o620, 0o602] {
            let filled = Filled::new();
            set_mode(&filled.file(), mode);
            assert!(!filled.is_trusted(), "{mode:o}");
            filled.load();
            assert!(filled.is_trusted(), "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_neither_read_nor_written() {
        let filled = Filled::new();
        set_mode(&filled.cache.directory, 0o777);
        assert!(!filled.is_trusted());
        fs::remove_file(filled.file()).unwrap();
        filled.load();
        assert!(!filled.file().exists());
    }

    #[test]
    fn a_link_to_a_file_is_not_followed() {
        let filled = Filled::new();
        fs::rename(filled.file(), filled.elsewhere()).unwrap();
        symlink(filled.elsewhere(), filled.file()).unwrap();
        assert!(!filled.is_trusted());
        let before = fs::read(filled.elsewhere()).unwrap();
        filled.load();
        assert!(filled.is_trusted());
        assert_eq!(fs::read(filled.elsewhere()).unwrap(), before, "written to");
    }

    #[test]
    fn a_link_to_a_directory_is_neither_followed_nor_written_through() {
        let filled = Filled::new();
        fs::rename(&filled.cache.directory, filled.elsewhere()).unwrap();
        symlink(filled.elsewhere(), &filled.cache.directory).unwrap();
        assert!(!filled.is_trusted());
        fs::remove_file(filled.elsewhere().join(&filled.name)).unwrap();
        filled.load();
        assert_eq!(fs::read_dir(filled.elsewhere()).unwrap().count(), 0);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_makes_nobody_wait() {
        let filled = Filled::new();
        fs::remove_file(filled.file()).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, filled.file(), fifo, mode, 0).unwrap();
        assert!(!filled.is_trusted());
        filled.load();
        assert!(filled.is_trusted());
    }

    #[test]
    fn a_damaged_or_truncated_file_is_compiled_anew() {
        let whole = fs::read(Filled::new().file()).unwrap();
        let last = whole.len() - 1;
        let mut damaged = whole.clone();
        damaged[last] ^= 1;
        for bytes in [
            damaged,
            whole[..last].to_vec(),
            whole[..16].to_vec(),
            vec![],
        ] {
            let filled = Filled::new();
            fs::write(filled.file(), &bytes).unwrap();
            assert!(!filled.is_trusted(), "{} bytes", bytes.len());
            filled.load();
            assert!(filled.is_trusted(), "{} bytes", bytes.len());
        }
    }

    #[test]
    fn a_file_under_another_name_is_not_taken_for_it() {
        let filled = Filled::new();
        let other = [EMPTY_COMPONENT, &[0, 2, 1, b'x']].concat();
        let name = file_name(&filled.engine, &other);
        assert_ne!(name, filled.name);
        fs::copy(filled.file(), filled.cache.directory.join(&name)).unwrap();
        assert!(matches!(filled.cache.trusted_code(&name), Ok(None)));
    }

    #[test]
    fn an_engine_of_another_make_has_files_of_its_own() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let other = Engine::new(&config).unwrap();
        let ours = file_name(&Engine::default(), EMPTY_COMPONENT);
        assert_ne!(file_name(&other, EMPTY_COMPONENT), ours);
    }

    #[test]
    fn whole_code_that_is_none_is_compiled_anew() {
        let filled = Filled::new();
        let code = b"not what wasmtime wrote";
        let bytes = [&checksum(&filled.name, code)[..], code].concat();
        fs::write(filled.file(), bytes).unwrap();
        assert!(filled.is_trusted(), "the checksum fits");
        filled.load();
        assert_ne!(
            filled.cache.trusted_code(&filled.name).unwrap().unwrap(),
            code
        );
    }
}
