//! The layers that are moved: files on this machine, made once and the same in every run, so that
//! every contestant reads the same bytes from the same place.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::manifest;

/// What is generated at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Layers of a cache, and the folder that holds them.
#[derive(Clone, Debug)]
pub struct Set {
    /// The folder.
    pub folder: PathBuf,
    /// In order, each once, the first at the bottom.
    pub layers: Vec<Layer>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

impl Layer {
    /// The layer's file in the folder of its set.
    pub fn path(&self, folder: &Path) -> PathBuf {
        let hex = self.digest.trim_start_matches("sha256:");
        folder.join("blobs").join(hex)
    }

    /// Reads a part of the layer's file.
    ///
    /// # Errors
    /// The file is not there, or shorter.
    pub fn read(&self, folder: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
        let path = self.path(folder);
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            file.take(length).read_to_end(&mut bytes)?;
            io::Result::Ok(bytes)
        };
        let bytes = read().with_context(|| format!("cannot read {}", path.display()))?;
        let is_whole = bytes.len() as u64 == length;
        ensure!(is_whole, "{} is too short", path.display());
        Ok(bytes)
    }
}

impl Set {
    /// The set with these sizes, in bytes, in a folder: as it lies there, or made anew.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn in_folder(folder: &Path, sizes: &[u64]) -> Result<Self> {
        if let Ok(set) = Self::open(folder)
            && set.layers.iter().map(|layer| &layer.size).eq(sizes)
        {
            return Ok(set);
        }
        Self::make(folder, sizes)
            .with_context(|| format!("cannot make layers in {}", folder.display()))
    }

    /// The set that lies in a folder.
    ///
    /// # Errors
    /// There is none.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("layers.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            layers: serde_json::from_slice(&text)?,
        })
    }

    fn make(folder: &Path, sizes: &[u64]) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder.join("blobs"))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let layers = sizes.iter().enumerate().map(|(number, size)| {
            let seed = Sha256::digest(format!("{name} {number}"));
            write_layer(folder, u64::from_le_bytes(seed[..8].try_into()?), *size)
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        // Last: a set that was broken off is none.
        fs::write(folder.join("layers.json"), serde_json::to_vec(&layers)?)?;
        Ok(Self {
            folder: folder.to_owned(),
            layers,
        })
    }

    /// In bytes, all layers together.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// The manifest as BuildKit's azblob cache stores it.
    pub fn manifest(&self) -> String {
        manifest::azblob(&self.layers)
    }

    /// The solver's records in it: one a layer, each on the one before.
    pub fn records(&self) -> String {
        manifest::records(&self.layers)
    }

    /// The layers that a stored manifest names.
    ///
    /// # Errors
    /// It is none.
    pub fn layers_of(manifest: &[u8]) -> Result<Vec<Layer>> {
        manifest::layers(manifest)
    }
}

impl Layer {
    /// What every layer says that it is.
    pub const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// When every layer was made.
    pub const CREATED_AT: &str = "2026-11-23T14:14:42.815976394Z";

    /// A digest that stands for the layer's without compression, which nobody has.
    pub fn diff_id(&self) -> String {
        digest_text(Sha256::new_with_prefix(&self.digest))
    }
}

fn write_layer(folder: &Path, mut state: u64, size: u64) -> Result<Layer> {
    let made = folder.join("layer");
    let mut file = BufWriter::with_capacity(PIECE_BYTES, File::create(&made)?);
    let mut hash = Sha256::new();
    let mut left = size;
    while left > 0 {
        let count = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let words = std::iter::repeat_with(|| splitmix(&mut state).to_le_bytes());
        let piece: Vec<u8> = words
            .take(count.div_ceil(8))
            .flatten()
            .take(count)
            .collect();
        hash.update(&piece);
        file.write_all(&piece)?;
        left -= count as u64;
    }
    // On disk now, so that the disk is idle when the clock runs.
    let file = file.into_inner()?;
    if size > PIECE_BYTES as u64 {
        file.sync_all()?;
    }
    let layer = Layer {
        digest: digest_text(hash),
        size,
    };
    fs::rename(made, layer.path(folder))?;
    Ok(layer)
}

/// The generator SplitMix64: quick, and nothing compresses it.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub(crate) fn digest_text(hash: Sha256) -> String {
    use std::fmt::Write as _;
    let mut text = "sha256:".to_owned();
    for byte in hash.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_same_each_time_it_is_made() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("one/set"), root.path().join("two/set"));
        let sizes = [1, 100, 2 << 20];
        let made = Set::in_folder(&one, &sizes).unwrap();
        assert_eq!(made.layers, Set::in_folder(&two, &sizes).unwrap().layers);
        let bytes = fs::read(made.layers[2].path(&one)).unwrap();
        assert_eq!(bytes.len(), 2 << 20);
        let hash = Sha256::new_with_prefix(&bytes);
        assert_eq!(digest_text(hash), made.layers[2].digest);
        assert_ne!(bytes[..1 << 20], bytes[1 << 20..]);
    }

    #[test]
    fn a_set_of_other_sizes_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("set");
        Set::in_folder(&folder, &[1, 2]).unwrap();
        let set = Set::in_folder(&folder, &[3]).unwrap();
        assert_eq!(set.layers.len(), 1);
        assert_eq!(fs::read_dir(folder.join("blobs")).unwrap().count(), 1);
    }
}
