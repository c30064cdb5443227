//! Attributes that come from files: `NAME_file=PATH` in place of `NAME=VALUE`,
//! for every attribute that the backend calls secret. A file name may stand on
//! a command line, where everybody can read it; a key may not.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use build_cache_host::{Description, shown};

use crate::failure::Misuse;

const SUFFIX: &str = "_file";
/// No key is longer; what is longer is the wrong file.
const MAX_BYTES: u64 = 64 << 10;

/// The attributes, those that come from files read. An attribute of the
/// backend's own that ends in `_file` stays what it is.
pub fn read_files(
    attributes: &[(String, String)],
    description: &Description,
) -> Result<Vec<(String, String)>, Misuse> {
    let is_known = |name: &str| description.attributes.iter().any(|a| a.name == name);
    let is_secret = |name: &str| {
        description
            .attributes
            .iter()
            .any(|a| a.name == name && a.secret)
    };
    let mut read = Vec::with_capacity(attributes.len());
    for (name, value) in attributes {
        let secret = name.strip_suffix(SUFFIX).filter(|secret| is_secret(secret));
        let Some(secret) = secret.filter(|_| !is_known(name)) else {
            read.push((name.clone(), value.clone()));
            continue;
        };
        if attributes.iter().any(|(other, _)| other == secret) {
            return Err(Misuse(format!(
                "give either `{secret}` or `{name}`, not both"
            )));
        }
        let contents = read_secret(Path::new(value))
            .map_err(|reason| Misuse(format!("attribute `{name}`: {} {reason}", file(value))))?;
        read.push((secret.to_owned(), contents));
    }
    Ok(read)
}

/// The file in words. What looks like a key is not shown: one may have been given
/// in the place of its file.
fn file(path: &str) -> String {
    match shown::looks_like_a_key(path) {
        true => "the file, whose name is not shown as it looks like a secret,".to_owned(),
        false => format!("`{path}`"),
    }
}

/// The values that the backend calls secret, of attributes and of variables.
pub fn of(
    attributes: &[(String, String)],
    description: &Description,
) -> impl Iterator<Item = String> {
    let secret_attributes = attributes.iter().filter(|(name, _)| {
        let mut known = description.attributes.iter();
        known.any(|known| known.secret && known.name == *name)
    });
    let variables = description.environment.iter();
    secret_attributes.map(|(_, value)| value.clone()).chain(
        variables
            .filter(|variable| variable.secret)
            .filter_map(|variable| std::env::var(&variable.name).ok()),
    )
}

/// The contents without the line's end that editors put there.
fn read_secret(path: &Path) -> Result<String, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let mut contents = Vec::new();
    // A pipe will do as well, so the length is known only afterwards.
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut contents)
        .map_err(unreadable)?;
    if contents.len() as u64 > MAX_BYTES {
        return Err(format!(
            "has more than {MAX_BYTES} bytes, which no secret has"
        ));
    }
    let contents = String::from_utf8(contents).map_err(|_| "is not text".to_owned())?;
    let secret = contents.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use build_cache_host::Attribute;

    use super::*;

    /// `key` is secret, `container` is not, and `token_file` is the backend's
    /// own although `token` is secret.
    fn description() -> Description {
        let attribute = |name: &str, secret| Attribute {
            name: name.into(),
            description: String::new(),
            default: None,
            required: false,
            secret,
        };
        Description {
            attributes: vec![
                attribute("key", true),
                attribute("container", false),
                attribute("token", true),
                attribute("token_file", false),
            ],
            ..Description::default()
        }
    }

    fn read(attributes: &[(&str, &str)]) -> Result<Vec<(String, String)>, Misuse> {
        let owned: Vec<_> = attributes
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect();
        read_files(&owned, &description())
    }

    #[test]
    fn a_secret_is_read_from_its_file_without_the_line_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::write(&path, "s3cret==\n").expect("a file");
        let path = path.to_str().expect("text");
        let attributes = read(&[("container", "c"), ("key_file", path)]).expect("read");
        assert_eq!(attributes[1], ("key".into(), "s3cret==".into()));

        let both = read(&[("key", "x"), ("key_file", path)])
            .expect_err("both")
            .to_string();
        assert!(both.contains("either `key` or `key_file`"), "{both}");
    }

    #[test]
    fn what_is_no_secret_comes_from_no_file() {
        let given = [
            ("container_file", "x"),
            ("token_file", "x"),
            ("other_file", "x"),
        ];
        let attributes = read(&given).expect("left alone");
        assert!(
            attributes
                .iter()
                .zip(given)
                .all(|(a, g)| (a.0.as_str(), a.1.as_str()) == g)
        );
    }

    #[test]
    fn a_key_in_the_place_of_its_file_is_not_shown() {
        for key in [
            "U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU",
            "/U0VDUkVUU0VDUkVUU0VD+kVUU0VDUkVU==",
        ] {
            let message = read(&[("key_file", key)]).expect_err("refused").to_string();
            assert!(!message.contains("U0VD"), "{message}");
            assert!(message.contains("looks like a secret"), "{message}");
        }
    }

    #[test]
    fn a_file_that_does_not_do_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let empty = folder.path().join("empty");
        fs::write(&empty, "\n").expect("a file");
        let missing = folder.path().join("missing");
        for (path, reason) in [(&empty, "is empty"), (&missing, "cannot be read")] {
            let path = path.to_str().expect("text");
            let message = read(&[("key_file", path)])
                .expect_err("refused")
                .to_string();
            assert!(
                message.contains(path) && message.contains(reason),
                "{message}"
            );
        }
    }
}
