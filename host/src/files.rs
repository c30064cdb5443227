//! The one door from a plugin to this machine's files: small ones that a
//! credential lives in, and of those only the ones that the user's variables or
//! the description name and the host's policy allows.
//!
//! WASI's file system would lend whole folders, and what a link in them leads
//! to. Here each file is decided on by its path, every time that it is read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::Accessor;

use crate::bindings::build_cache::plugin::files;
use crate::policy::Lends;
use crate::state::{Imports, State};
use crate::{Description, Grants, Policy};

/// No certificate chain and no token comes near it.
const MAX_BYTES: u64 = 1 << 20;

/// Which files an instance may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Files {
    /// Those that a granted variable names, where the description says that
    /// its value is a path, and those of the description's `files` that the
    /// [`Policy`] lends a plugin of this type.
    #[default]
    AsAsked,
    /// The same, but those of the description's `files` are looked for under
    /// this folder in the place of `/`: where a container, say, has the
    /// machine's files.
    AsAskedUnder(PathBuf),
    /// Those alone, by their exact paths, whatever the backend asks for.
    Only(Vec<PathBuf>),
    /// None.
    None,
}

/// The files that one instance was granted.
#[derive(Debug, Default)]
pub(crate) struct LentFiles {
    /// Named by somebody whom the host trusts: read as they stand, links
    /// followed, since Kubernetes rotates its tokens by moving links.
    named: Vec<PathBuf>,
    /// Named by the plugin alone, so that no link may lead out of the folder.
    patterns: Vec<Pattern>,
}

/// A folder, and names in it with at most one `*`.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    folder: PathBuf,
    /// Where the folder really is.
    place: PathBuf,
    before_star: String,
    /// None: the name is `before_star`.
    after_star: Option<String>,
}

impl LentFiles {
    /// Decides what a backend of this description gets.
    pub(crate) fn decide(grants: &Grants, policy: &Policy, description: &Description) -> Self {
        match &grants.files {
            Files::None => Self::default(),
            Files::Only(paths) => Self {
                named: paths.clone(),
                patterns: Vec::new(),
            },
            Files::AsAsked | Files::AsAskedUnder(_) => {
                let root = match &grants.files {
                    Files::AsAskedUnder(root) => root,
                    _ => Path::new("/"),
                };
                let is_file = |name: &str| {
                    let mut described = description.environment.iter();
                    let lends = policy.variable(name).unwrap_or(Lends::Everything);
                    described.any(|variable| variable.file && variable.name == name) && lends.file()
                };
                let variables = grants.variables.iter();
                let paths = variables.filter(|(name, value)| is_file(name) && !value.is_empty());
                Self {
                    named: paths.map(|(_, path)| PathBuf::from(path)).collect(),
                    patterns: description
                        .files
                        .iter()
                        .filter(|pattern| policy.trusts_file(pattern))
                        .filter_map(|pattern| Pattern::parse(pattern, root))
                        .collect(),
                }
            }
        }
    }

    /// Reads a file whole. None where there is none.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, String> {
        let shown = path.display();
        let cannot = |error: io::Error| format!("cannot read {shown}: {error}");
        let path = if self
            .named
            .iter()
            .any(|named| named.as_os_str() == path.as_os_str())
        {
            path.to_owned()
        } else {
            let mut matching = self.patterns.iter().filter(|p| p.matches(path)).peekable();
            let Some(place) = matching.peek().and_then(|pattern| pattern.place(path)) else {
                return Err(format!(
                    "the host does not lend {shown}: neither a variable that it granted nor the \
                     plugin's description names it, or its policy forbids it"
                ));
            };
            let real = match fs::canonicalize(place) {
                Ok(real) => real,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(cannot(error)),
            };
            if !matching.any(|pattern| pattern.holds(&real)) {
                return Err(format!(
                    "the host does not lend {shown}: it is a link that leads elsewhere"
                ));
            }
            real
        };
        match read_small_file(&path) {
            Ok(contents) => Ok(Some(contents)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot(error)),
        }
    }
}

impl Pattern {
    /// A pattern whose files are under `root`. None if the text is not an
    /// absolute path, leads back up, or has a `*` where none may be: such a
    /// pattern lends nothing.
    fn parse(text: &str, root: &Path) -> Option<Self> {
        let path = Path::new(text);
        let name = path.file_name()?.to_str()?;
        let folder = path.parent()?;
        let is_plain = is_plain(path) && !folder.to_str()?.contains('*');
        let (before_star, after_star) = match name.split_once('*') {
            Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
            None => (name.to_owned(), None),
        };
        let has_one_star = !after_star.as_ref().is_some_and(|after| after.contains('*'));
        (is_plain && has_one_star).then(|| Self {
            folder: folder.to_owned(),
            place: root.join(folder.strip_prefix("/").unwrap_or(folder)),
            before_star,
            after_star,
        })
    }

    /// Whether a path that a plugin wrote is meant.
    fn matches(&self, path: &Path) -> bool {
        is_plain(path) && path.parent() == Some(&self.folder) && self.matches_name(path)
    }

    /// Where the file of a path that is meant really is.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        Some(self.place.join(path.file_name()?))
    }

    /// Whether what a path came to, links followed, still is in the folder.
    fn holds(&self, real: &Path) -> bool {
        let folder = fs::canonicalize(&self.place);
        folder.is_ok_and(|folder| real.parent() == Some(&folder)) && self.matches_name(real)
    }

    fn matches_name(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return false;
        };
        match &self.after_star {
            None => name == self.before_star,
            Some(after) => name
                .strip_prefix(&self.before_star)
                .is_some_and(|rest| rest.ends_with(after.as_str())),
        }
    }
}

/// Whether a path is absolute and goes only down.
fn is_plain(path: &Path) -> bool {
    let is_dots = |part| matches!(part, Component::ParentDir | Component::CurDir);
    path.is_absolute() && !path.components().any(is_dots)
}

/// Reads a regular file of at most [`MAX_BYTES`]. A pipe or a device might
/// never end, and opening one may already do something.
fn read_small_file(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut contents = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!(
            "it has more than {MAX_BYTES} bytes, which no credential has"
        )));
    }
    Ok(contents)
}

impl files::Host for State {}

impl files::HostWithStore<State> for Imports {
    async fn read(
        host: &Accessor<State, Self>,
        path: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, String>> {
        let (files, scrubber) = host.with(|mut access| {
            let state = access.get();
            (Arc::clone(&state.files), Arc::clone(&state.scrubber))
        });
        // A file may lie on a network's disk.
        let read = tokio::task::spawn_blocking(move || files.read(Path::new(&path))).await?;
        if let Ok(Some(contents)) = &read {
            scrubber.learn_file(contents);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variable;

    /// What a backend gets that reads the file of `$TOKEN_FILE` and `patterns`,
    /// where the variable has this value.
    fn lent(variable: &str, patterns: &[&str], files: Files) -> LentFiles {
        let describe = |name: &str, file| Variable {
            name: name.into(),
            description: String::new(),
            secret: false,
            file,
        };
        let description = Description {
            environment: vec![describe("TOKEN_FILE", true), describe("OTHER", false)],
            files: patterns.iter().map(ToString::to_string).collect(),
            ..Description::default()
        };
        let mut grants = Grants {
            files,
            ..Grants::default()
        };
        grants.variables.insert("TOKEN_FILE", variable);
        grants.variables.insert("OTHER", "/etc/hostname");
        let mut policy = Policy::default();
        for pattern in patterns {
            policy.grant(pattern).expect("a path");
        }
        LentFiles::decide(&grants, &policy, &description)
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, contents) in files {
            fs::write(folder.path().join(name), contents).expect("a file");
        }
        folder
    }

    #[test]
    fn a_file_that_a_variable_names_is_read_anew_each_time() {
        let folder = folder(&[("token", "one")]);
        let path = folder.path().join("token");
        let lent = lent(path.to_str().expect("text"), &[], Files::AsAsked);
        assert_eq!(lent.read(&path), Ok(Some(b"one".to_vec())));
        fs::write(&path, "two").expect("rotated");
        assert_eq!(lent.read(&path), Ok(Some(b"two".to_vec())));
        fs::remove_file(&path).expect("removed");
        assert_eq!(lent.read(&path), Ok(None));
    }

    #[test]
    fn a_variable_that_is_no_path_lends_nothing() {
        let lent = lent("", &[], Files::AsAsked);
        let error = lent.read(Path::new("/etc/hostname")).expect_err("refused");
        assert!(error.contains("does not lend /etc/hostname"), "{error}");
        assert!(lent.read(Path::new("")).is_err());
    }

    #[test]
    fn a_pattern_lends_the_files_that_it_names_and_no_others() {
        let folder = folder(&[("a.key", "key"), ("a.txt", "text")]);
        fs::create_dir(folder.path().join("sub")).expect("a folder");
        fs::write(folder.path().join("sub/b.key"), "key").expect("a file");
        let pattern = folder.path().join("*.key");
        let lent = lent("", &[pattern.to_str().expect("text")], Files::AsAsked);
        let read = |name: &str| lent.read(&folder.path().join(name));
        assert_eq!(read("a.key"), Ok(Some(b"key".to_vec())));
        assert_eq!(read("none.key"), Ok(None));
        for name in ["a.txt", "sub/b.key", "sub/../a.key"] {
            assert!(read(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_pattern_is_looked_for_under_another_root_where_the_host_says_so() {
        let root = folder(&[]);
        let real = root.path().join("var/keys");
        fs::create_dir_all(&real).expect("a folder");
        fs::write(real.join("a.key"), "key").expect("a file");
        let files = Files::AsAskedUnder(root.path().to_owned());
        let lent = lent("", &["/var/keys/*.key"], files);
        let read = |path: &str| lent.read(Path::new(path));
        assert_eq!(read("/var/keys/a.key"), Ok(Some(b"key".to_vec())));
        assert_eq!(read("/var/keys/none.key"), Ok(None));
        assert!(lent.read(&real.join("a.key")).is_err());
    }

    #[test]
    fn a_pattern_that_could_name_anything_lends_nothing() {
        for pattern in ["*.key", "/etc/*/x", "/etc/../x", "/a*b*c", "/", ""] {
            assert_eq!(Pattern::parse(pattern, Path::new("/")), None, "{pattern}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_where_the_user_named_it_and_nowhere_else() {
        let (outside, folder) = (folder(&[("real.key", "key")]), folder(&[]));
        let link = folder.path().join("a.key");
        let real = outside.path().join("real.key");
        std::os::unix::fs::symlink(real, &link).expect("a link");
        let named = lent(link.to_str().expect("text"), &[], Files::AsAsked);
        assert_eq!(named.read(&link), Ok(Some(b"key".to_vec())));
        let pattern = folder.path().join("*.key");
        let matched = lent("", &[pattern.to_str().expect("text")], Files::AsAsked);
        let error = matched.read(&link).expect_err("refused");
        assert!(error.contains("leads elsewhere"), "{error}");
    }

    #[test]
    fn what_is_no_small_file_is_an_error_that_names_it() {
        let folder = folder(&[("large", &"x".repeat(MAX_BYTES as usize + 1))]);
        let large = folder.path().join("large");
        for path in [large.as_path(), folder.path()] {
            let lent = lent(path.to_str().expect("text"), &[], Files::AsAsked);
            let error = lent.read(path).expect_err("refused");
            assert!(error.contains(path.to_str().expect("text")), "{error}");
        }
    }

    #[test]
    fn the_hosts_policy_replaces_what_is_asked_for() {
        let folder = folder(&[("token", "one"), ("other", "two")]);
        let (token, other) = (folder.path().join("token"), folder.path().join("other"));
        let variable = token.to_str().expect("text");
        assert!(lent(variable, &[], Files::None).read(&token).is_err());
        let only = lent(variable, &[], Files::Only(vec![other.clone()]));
        assert!(only.read(&token).is_err());
        assert_eq!(only.read(&other), Ok(Some(b"two".to_vec())));
    }
}
