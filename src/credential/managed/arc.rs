//! Azure Arc, which has one prove that one may read a file on its machine.
//! <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use super::super::Denied;
use super::super::asking::{Answer, NONE, USUAL};
use super::Managed;
use crate::error::Error;
use crate::transport::Transport;

/// Where Arc keeps its keys.
const KEYS: &str = "/var/opt/azcmagent/tokens/";

/// The longest key, in bytes.
const MAX_KEY: usize = 4096;

impl Managed {
    /// Asks Arc, which names a file, and again with its content.
    pub(super) async fn ask_arc<T: Transport>(&self, transport: &T) -> Result<Answer, Denied> {
        let mut request = self.request();
        let answer = self.ask(transport, &request, &NONE).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let challenge = answer.headers.get("www-authenticate").unwrap_or_default();
        let failed = |why: String| {
            Denied::Failed(Error::Unauthenticated(format!(
                "the managed identity of Azure Arc cannot be used: {why}"
            )))
        };
        let path = key_path(challenge).map_err(|why| failed(why.to_owned()))?;
        let key = transport.read_file(path).await;
        let key = key.map_err(|why| failed(format!("{path} cannot be read: {why}")))?;
        let key = key.ok_or_else(|| {
            failed(format!(
                "there is no {path}, or this user may not read it: it must be in the group himds"
            ))
        })?;
        let key = String::from_utf8(key).ok();
        let key = key.filter(|key| key.len() <= MAX_KEY && !key.contains(['\r', '\n']));
        let key = key.ok_or_else(|| failed(format!("{path} holds no key")))?;
        request
            .headers
            .push("authorization", format!("Basic {key}"));
        self.ask(transport, &request, &USUAL).await
    }
}

/// The file that a challenge names. Only Arc's own folder is read: another
/// server at its address must not learn what is elsewhere.
fn key_path(challenge: &str) -> Result<&str, &'static str> {
    let path = challenge.trim().strip_prefix("Basic realm=");
    let path = path.ok_or("its answer names no file to read a key from")?;
    let path = path.trim_matches('"');
    let name = path.strip_prefix(KEYS).unwrap_or_default();
    let name = name.strip_suffix(".key").unwrap_or_default();
    match name.is_empty() || name.contains(['/', '\\']) {
        true => Err("its answer names a file that is not one of its keys"),
        false => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_in_arcs_own_folder_are_read() {
        let path = "/var/opt/azcmagent/tokens/a-b.key";
        assert_eq!(key_path(&format!("Basic realm={path}")), Ok(path));
        for other in [
            "",
            "Basic realm=",
            "Bearer realm=/var/opt/azcmagent/tokens/a.key",
            "Basic realm=/etc/shadow",
            "Basic realm=/var/opt/azcmagent/tokens/.key",
            "Basic realm=/var/opt/azcmagent/tokens/a.txt",
            "Basic realm=/var/opt/azcmagent/tokens/../a.key",
            "Basic realm=/var/opt/azcmagent/tokens/b/a.key",
        ] {
            key_path(other).unwrap_err();
        }
    }
}
