//! Azure Arc's proof that a client may read the host's files: a key in a file that only some may
//! read, named in a challenge. Each key is a new one and opens once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::random;
use crate::secret::Secret;

/// The folder that the protocol fixes on Linux; clients take a key from nowhere else.
pub const ARC_KEY_DIR: &str = "/var/opt/azcmagent/tokens";

/// The keys that are out.
#[derive(Debug)]
pub(crate) struct ArcKeys {
    /// Where the files are.
    dir: PathBuf,
    /// Where the challenge says that they are.
    announced: PathBuf,
    out: Mutex<Vec<Secret>>,
}

impl ArcKeys {
    pub fn new(dir: PathBuf, announced: PathBuf) -> Self {
        Self {
            dir,
            announced,
            out: Mutex::default(),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a new key; gives it and the challenge that names its file.
    pub fn challenge(&self) -> io::Result<(Secret, String)> {
        let name = format!("{}.key", random::uuid());
        let key = Secret::new(random::hex(32));
        fs::write(self.dir.join(&name), key.expose())?;
        self.out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(key.clone());
        let realm = self.announced.join(name);
        Ok((key, format!("Basic realm={}", realm.display())))
    }

    /// Whether a request brings a key that is out. It is not out any more then.
    pub fn opens(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(AUTHORIZATION);
        let Some(key) = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Basic ")) else {
            return false;
        };
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let found = out.iter().position(|other| other.expose() == key);
        found.map(|place| out.swap_remove(place)).is_some()
    }
}
