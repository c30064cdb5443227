//! The check: what the token may do, tried on a probe that is taken away again.

use crate::bindings::build_cache::plugin::types::{CallId, Error};
use crate::bindings::exports::build_cache::plugin::backend::{Access, Attempt};
use crate::config::Config;
use crate::layout::probe_path;
use crate::server::Server;

/// What the probe holds.
const PROBE: &[u8] = b"A probe of build-cache. It may be removed.\n";

/// Tries to write, read and remove a probe. HTTP cannot list at all,
/// so that is not tried.
pub(crate) async fn check(config: &Config, call: CallId, random: u64) -> Access {
    let server = Server::new(config, call);
    let path = probe_path(random);
    let written = server.put(&path, PROBE).await;
    let read = read(&server, &path, written.is_ok()).await;
    let deleted = delete(&server, &path, written.is_ok()).await;
    let credential = match config.token {
        Some(_) => "a bearer token",
        None => "none: requests go without a token",
    };
    let outcomes = [("write", written), ("read", read), ("delete", deleted)];
    Access {
        credential: credential.to_owned(),
        store: server.url("/"),
        attempts: outcomes
            .map(|(what, outcome)| Attempt {
                what: what.to_owned(),
                outcome,
            })
            .into(),
    }
}

/// Reads the probe. Where it was not written, 'not found' is leave enough.
async fn read(server: &Server<'_>, path: &str, was_written: bool) -> Result<(), Error> {
    match server.get(path).await? {
        Some((bytes, _)) if bytes != PROBE => Err(Error::Corrupt(format!(
            "{} reads as something else than was written",
            server.url(path)
        ))),
        None if was_written => Err(Error::Other(format!(
            "{} was written, and is not there",
            server.url(path)
        ))),
        _ => Ok(()),
    }
}

/// Removes the probe, if it was written: to remove what is not there proves
/// nothing.
async fn delete(server: &Server<'_>, path: &str, was_written: bool) -> Result<(), Error> {
    if !was_written {
        return Err(Error::Other(
            "not tried, as there is no probe to remove".to_owned(),
        ));
    }
    let removed = match server.find(path).await? {
        Some(found) => {
            let size = PROBE.len() as u64;
            server.remove(path, size, &found.version).await?
        }
        None => false,
    };
    match removed {
        true => Ok(()),
        false => Err(Error::Other(format!(
            "{} could not be found again: remove it if it is there",
            server.url(path)
        ))),
    }
}
