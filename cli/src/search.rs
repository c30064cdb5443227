//! Where plugins lie. Knows folders and file names; opens no plugin.

use std::path::{Path, PathBuf};

use crate::failure::Misuse;

/// Names a folder of plugins.
const FOLDER_VARIABLE: &str = "BUILD_CACHE_PLUGIN_DIR";

/// The folders in which plugins are looked for, in this order: the one that
/// was given, that of the variable, the one beside the program, the user's.
pub fn folders(given: Option<&Path>) -> Vec<PathBuf> {
    let variable = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
    // The program itself, where a link in the path leads to it.
    let program = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    let beside = program.as_deref().and_then(Path::parent);
    let data = dirs::data_dir();
    [
        given.map(Path::to_owned),
        variable.map(PathBuf::from),
        beside.map(|folder| folder.join("plugins")),
        data.map(|data| data.join("build-cache").join("plugins")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The plugin for a type: the first file `TYPE.wasm` in these folders.
pub fn find(r#type: &str, folders: &[PathBuf]) -> Result<PathBuf, Misuse> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !r#type.chars().all(is_name) || r#type.starts_with('.') {
        return Err(Misuse(format!(
            "`type={type}` cannot be that of a plugin: a type has letters, digits, `-`, `_` and `.`"
        )));
    }
    let file = format!("{type}.wasm");
    let mut files = folders.iter().map(|folder| folder.join(&file));
    files
        .find(|path| path.is_file())
        .ok_or_else(|| not_found(r#type, &file, folders))
}

/// Every plugin file in the folders, in their order, by name within each.
pub fn all(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path());
        let mut files: Vec<_> = files
            .filter(|path| is_plugin(path) && !found.contains(path))
            .collect();
        files.sort();
        found.extend(files);
    }
    found
}

fn is_plugin(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "wasm")
        && path.is_file()
}

fn not_found(r#type: &str, file: &str, folders: &[PathBuf]) -> Misuse {
    let mut message = format!("no plugin for `type={type}`: there is no `{file}` in");
    for folder in folders {
        message.push_str(&format!("\n  {}", folder.display()));
    }
    let others: Vec<_> = all(folders)
        .iter()
        .filter_map(|path| Some(format!("`{}`", path.file_stem()?.display())))
        .collect();
    if !others.is_empty() {
        message.push_str(&format!("\nThere are plugins for {}.", others.join(", ")));
    }
    message.push_str("\nPut it there, or name one with `--plugin FILE.wasm`.");
    Misuse(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            std::fs::write(folder.path().join(file), b"").expect("a file");
        }
        folder
    }

    #[test]
    fn the_first_folder_that_has_it_counts() {
        let (empty, one, two) = (
            folder(&[]),
            folder(&["a.wasm"]),
            folder(&["a.wasm", "b.wasm"]),
        );
        let folders = [
            empty.path().into(),
            one.path().into(),
            two.path().to_owned(),
        ];
        assert_eq!(
            find("a", &folders).expect("found"),
            one.path().join("a.wasm")
        );
        assert_eq!(
            find("b", &folders).expect("found"),
            two.path().join("b.wasm")
        );
    }

    #[test]
    fn what_is_not_found_is_told_with_the_places_and_what_there_is() {
        let one = folder(&["azblob.wasm", "notes.txt"]);
        let folders = [one.path().to_owned(), PathBuf::from("/nowhere/plugins")];
        let message = find("s3", &folders).expect_err("none").to_string();
        for part in [
            "`s3.wasm`",
            "/nowhere/plugins",
            "plugins for `azblob`.",
            "--plugin",
        ] {
            assert!(message.contains(part), "{message}");
        }
        assert!(message.contains(&one.path().display().to_string()) && !message.contains("notes"));
    }

    #[test]
    fn a_type_leads_out_of_no_folder() {
        for name in ["../a", "a/b", "..", ".a"] {
            let message = find(name, &[]).expect_err("refused").to_string();
            assert!(message.contains("cannot be that of a plugin"), "{message}");
        }
    }
}
