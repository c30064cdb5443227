//! What lies where on the server, and what a manifest looks like there:
//!
//! ```text
//! URL/blobs/sha256/HEX   a layer, as it is
//! URL/manifests/NAME     the contract's manifest, as JSON
//! ```
//!
//! Paths hold letters, digits, `-`, `.`, `_` and `~` alone, so that no proxy,
//! server or file system finds anything in them to decode.

use serde::{Deserialize, Serialize};

use crate::bindings::build_cache::plugin::types::{Error, Manifest};

/// The form of manifest that this version writes and reads.
const VERSION: u32 = 1;

/// A manifest as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<M> {
    version: u32,
    manifest: M,
}

/// Where a layer lies, below the cache's folder.
///
/// Refuses what is not a digest, because it becomes part of a path.
pub(crate) fn layer_path(digest: &str) -> Result<String, Error> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64
        || !hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Err(Error::Other(format!("`{digest}` is not a sha256 digest")));
    }
    Ok(format!("/blobs/sha256/{hex}"))
}

/// Where the manifest of a name lies, below the cache's folder. What a path
/// should not hold is written as `~` and two hex digits, a dot at either end
/// too, so that no name leaves the folder and no file system drops it.
pub(crate) fn manifest_path(name: &str) -> String {
    let mut path = String::from("/manifests/");
    let last = name.len().saturating_sub(1);
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => path.push(byte.into()),
            b'.' if index > 0 && index < last => path.push('.'),
            _ => path.push_str(&format!("~{byte:02X}")),
        }
    }
    path
}

/// Where a probe lies, below the cache's folder: among the manifests, which is
/// a folder that a cache needs anyway, under what is the path of no name.
pub(crate) fn probe_path(random: u64) -> String {
    format!("/manifests/~probe-{random:016x}")
}

/// A manifest's bytes.
pub(crate) fn write_manifest(manifest: &Manifest) -> Result<Vec<u8>, Error> {
    let stored = Stored {
        version: VERSION,
        manifest,
    };
    serde_json::to_vec(&stored).map_err(|error| Error::Other(error.to_string()))
}

/// Reads what [`write_manifest`] wrote. The host checks what this does not:
/// indices, cycles, and what the records say.
pub(crate) fn read_manifest(bytes: &[u8]) -> Result<Manifest, String> {
    let stored: Stored<Manifest> =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if stored.version != VERSION {
        let found = stored.version;
        return Err(format!("it has the form {found}, not {VERSION}"));
    }
    let mut layers = stored.manifest.layers.iter();
    match layers.find(|layer| layer_path(&layer.blob).is_err()) {
        Some(layer) => Err(format!("`{}` is not a digest", layer.blob)),
        None => Ok(stored.manifest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::build_cache::plugin::types::Layer;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_a_digest_has_a_path() {
        assert_eq!(
            layer_path(&format!("sha256:{HEX}")).unwrap(),
            format!("/blobs/sha256/{HEX}")
        );
        for wrong in [
            "",
            HEX,
            "sha256:../../../etc",
            &format!("sha256:{}", HEX.to_uppercase()),
        ] {
            assert!(layer_path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_name_leaves_the_folder_and_no_two_share_a_path() {
        let names = [
            "main",
            "v1.2_x-y",
            "feature/x",
            "feature~2Fx",
            "..",
            ".",
            ".a",
            "ü",
            "a b?#%",
        ];
        let paths = names.map(manifest_path);
        assert_eq!(
            paths.each_ref().map(|path| &path["/manifests/".len()..]),
            [
                "main",
                "v1.2_x-y",
                "feature~2Fx",
                "feature~7E2Fx",
                "~2E~2E",
                "~2E",
                "~2Ea",
                "~C3~BC",
                "a~20b~3F~23~25"
            ]
        );
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        let layer = Layer {
            blob: format!("sha256:{HEX}"),
            size: u64::MAX,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
            diff_id: format!("sha256:{HEX}"),
            created_at: None,
            parent: Some(7),
        };
        let records = "[ {\"digest\" : \"ü\"} ]\n".to_owned();
        let manifest = Manifest {
            layers: vec![layer],
            records,
        };
        let bytes = write_manifest(&manifest).unwrap();
        let read = read_manifest(&bytes).unwrap();
        assert_eq!(format!("{read:?}"), format!("{manifest:?}"));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let newer = r#"{"version":2,"manifest":{"layers":[],"records":"[]"}}"#;
        let layer = r#"{"blob":"../x","size":1,"media_type":"","diff_id":"","created_at":null}"#;
        let no_digest =
            format!(r#"{{"version":1,"manifest":{{"layers":[{layer}],"records":"[]"}}}}"#);
        for wrong in ["", "<html>", "{}", "[]", newer, &no_digest] {
            assert!(read_manifest(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
