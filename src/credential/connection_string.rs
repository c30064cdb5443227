//! A connection string: a storage account's address and its key or SAS token
//! in one text, as Azure's portal shows it.
//! <https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string>

use super::{Sas, SharedKey};
use crate::config::AccountUrl;
use crate::secret::Secret;

/// The emulator's account and key, which everybody knows.
const EMULATOR: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

/// What a connection string says.
pub(crate) struct ConnectionString {
    pub(crate) url: AccountUrl,
    /// Where it tells the account.
    pub(crate) account: Option<String>,
    pub(crate) held: Held,
}

/// What lets one in.
pub(crate) enum Held {
    Key(SharedKey),
    Sas(Sas),
}

impl ConnectionString {
    /// Reads a connection string, or says why it is none, without showing it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut fields = Vec::new();
        for field in text
            .trim()
            .split(';')
            .filter(|field| !field.trim().is_empty())
        {
            let field = field.split_once('=');
            fields
                .push(field.ok_or("not a connection string, which has parts such as Name=Value")?);
        }
        let get = |name: &str| {
            let mut fields = fields.iter();
            let found = fields.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
            found
                .map(|(_, value)| value.trim())
                .filter(|value| !value.is_empty())
        };

        let is_emulator =
            get("UseDevelopmentStorage").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let account = if is_emulator {
            Some(EMULATOR.0)
        } else {
            get("AccountName")
        };
        let key = if is_emulator {
            Some(EMULATOR.1)
        } else {
            get("AccountKey")
        };
        let url = match (get("BlobEndpoint"), account) {
            (Some(url), _) => url.to_owned(),
            (None, Some(account)) if is_emulator => {
                let host = get("DevelopmentStorageProxyUri").unwrap_or("http://127.0.0.1");
                format!("{}:10000/{account}", host.trim_end_matches('/'))
            }
            (None, Some(account)) => {
                let scheme = get("DefaultEndpointsProtocol").unwrap_or("https");
                let suffix = get("EndpointSuffix").unwrap_or("core.windows.net");
                format!("{scheme}://{account}.blob.{suffix}")
            }
            (None, None) => return Err("it has neither AccountName nor BlobEndpoint"),
        };
        let url = AccountUrl::parse(&url)?;
        let account = account.map(str::to_owned).or_else(|| url.account());
        let held = match (key, get("SharedAccessSignature")) {
            (Some(key), _) => {
                let account = account.clone().ok_or("it has a key and no AccountName")?;
                Held::Key(SharedKey::parse(account, Secret::new(key.to_owned()))?)
            }
            (None, Some(sas)) => Held::Sas(Sas::parse(sas)?),
            (None, None) => return Err("it has neither AccountKey nor SharedAccessSignature"),
        };
        Ok(Self { url, account, held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address, the account, and whether there is a key.
    fn parsed(text: &str) -> (String, Option<String>, bool) {
        let parsed = ConnectionString::parse(text).unwrap();
        let AccountUrl {
            https,
            authority,
            path,
        } = parsed.url;
        let scheme = if https { "https" } else { "http" };
        let has_key = matches!(parsed.held, Held::Key(_));
        (
            format!("{scheme}://{authority}{path}"),
            parsed.account,
            has_key,
        )
    }

    #[test]
    fn the_portals_form_and_its_variants_are_read() {
        for (text, url, account, has_key) in [
            (
                "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5;EndpointSuffix=core.windows.net",
                "https://acct.blob.core.windows.net",
                "acct",
                true,
            ),
            (
                "accountname=acct;accountkey=a2V5;endpointsuffix=core.chinacloudapi.cn;",
                "https://acct.blob.core.chinacloudapi.cn",
                "acct",
                true,
            ),
            (
                "BlobEndpoint=https://acct.blob.core.windows.net/;QueueEndpoint=https://q/;SharedAccessSignature=sv=1&sig=a%3D",
                "https://acct.blob.core.windows.net",
                "acct",
                false,
            ),
            (
                "UseDevelopmentStorage=true",
                "http://127.0.0.1:10000/devstoreaccount1",
                "devstoreaccount1",
                true,
            ),
            (
                "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite",
                "http://azurite:10000/devstoreaccount1",
                "devstoreaccount1",
                true,
            ),
        ] {
            assert_eq!(
                parsed(text),
                (url.to_owned(), Some(account.to_owned()), has_key)
            );
        }
    }

    #[test]
    fn what_is_none_is_refused_without_being_shown() {
        for text in [
            "",
            "hunter2",
            "AccountName=acct",
            "AccountKey=a2V5",
            "AccountName=acct;AccountKey=hunter2!",
            "AccountName=acct;SharedAccessSignature=hunter2",
            "DefaultEndpointsProtocol=ftp;AccountName=acct;AccountKey=a2V5",
        ] {
            let reason = ConnectionString::parse(text).err().unwrap();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
