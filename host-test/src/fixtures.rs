//! Where the tests find things: the components, and BuildKit's own caches.

use std::path::{Path, PathBuf};

/// Names the folder of the built components.
const COMPONENTS_VARIABLE: &str = "BUILD_CACHE_COMPONENTS";

/// The workspace.
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// A built component, by its type.
///
/// # Panics
/// There is none; says how to get it.
pub fn component(r#type: &str) -> PathBuf {
    let folder = std::env::var_os(COMPONENTS_VARIABLE)
        .map_or_else(|| workspace().join("target/components"), PathBuf::from);
    let file = folder.join(r#type).with_extension("wasm");
    assert!(
        file.exists(),
        "there is no {}; `cargo xtask components` builds it",
        file.display()
    );
    file
}

/// A folder of what a real BuildKit wrote; `host-test/fixtures/README.md` tells
/// which there are.
pub fn buildkit(name: &str) -> PathBuf {
    workspace().join("host-test/fixtures/buildkit").join(name)
}
