//! A connection string: a storage account's address and its key or SAS token
//! in one text, as Azure's portal shows it.
//! <https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string>

use super::{Sas, SharedKey};
use crate::config::{AccountUrl, Place, boolean};
use crate::secret::{Secret, unquoted};

/// The emulator's account and key, which everybody knows.
const EMULATOR: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

/// What a connection string says.
pub(crate) struct ConnectionString {
    /// The Blob service's address, taken apart.
    pub(crate) place: Place,
    /// The account's name, where the string has it beside the address.
    pub(crate) name: Option<String>,
    pub(crate) held: Held,
}

/// What authenticates.
pub(crate) enum Held {
    /// The account's key, which has been read before.
    Key(Secret),
    Sas(Sas),
}

impl ConnectionString {
    /// Reads a connection string, or says why it is not one, without showing
    /// it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // The `;` of an entity would end a field.
        let text = unquoted(text).replace("&amp;", "&");
        let mut fields = Vec::new();
        for field in text.split(';').filter(|field| !field.trim().is_empty()) {
            let field = field.split_once('=');
            fields
                .push(field.ok_or("not a connection string, which has parts such as Name=Value")?);
        }
        let get = |name: &str| {
            let mut fields = fields.iter();
            let found = fields.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
            found
                .map(|(_, value)| unquoted(value))
                .filter(|value| !value.is_empty())
        };

        let is_emulator = match get("UseDevelopmentStorage") {
            None => false,
            Some(value) => {
                boolean(value).ok_or("UseDevelopmentStorage must be `true` or `false`")?
            }
        };
        let (name, key) = match is_emulator {
            true => (Some(EMULATOR.0), Some(EMULATOR.1)),
            false => (get("AccountName"), get("AccountKey")),
        };
        let mut sas = get("SharedAccessSignature");
        let url = match (get("BlobEndpoint"), name) {
            (Some(url), _) => match url.split_once('?') {
                // The portal's "Blob service SAS URL" holds both.
                Some((url, query)) if sas.is_none() && query.contains("sig=") => {
                    sas = Some(query);
                    url.to_owned()
                }
                _ => url.to_owned(),
            },
            (None, Some(account)) if is_emulator => {
                let host = get("DevelopmentStorageProxyUri").unwrap_or("http://127.0.0.1");
                format!("{}:10000/{account}", host.trim_end_matches('/'))
            }
            (None, Some(account)) => {
                let scheme = get("DefaultEndpointsProtocol").unwrap_or("https");
                let suffix = get("EndpointSuffix").unwrap_or("core.windows.net");
                format!("{scheme}://{account}.blob.{suffix}")
            }
            (None, None) if sas.is_none() && text.contains("sig=") => {
                return Err(super::mistaken("sig=").unwrap_or_default().to_owned());
            }
            (None, None) => return Err("it has neither AccountName nor BlobEndpoint".to_owned()),
        };
        let names: Vec<&str> = name.into_iter().collect();
        let place = AccountUrl::parse(&url)
            .map_err(str::to_owned)
            .and_then(|url| Place::find(url, &names))
            .map_err(|reason| format!("in its address: {reason}"))?;
        let held = match (key, sas) {
            (Some(key), _) => {
                if name.is_none() && place.account.is_none() {
                    return Err("it has a key and no AccountName".to_owned());
                }
                let key = Secret::new(key.to_owned());
                SharedKey::parse(String::new(), key.clone())?;
                Held::Key(key)
            }
            (None, Some(sas)) => Held::Sas(Sas::parse(sas)?),
            (None, None) => {
                return Err("it has neither AccountKey nor SharedAccessSignature".to_owned());
            }
        };
        let name = name.map(str::to_owned);
        Ok(Self { place, name, held })
    }

    /// The account that it is for, as far as it tells.
    pub(crate) fn account(&self) -> Option<&str> {
        let in_address = self.place.account.as_deref();
        self.name
            .as_deref()
            .or(in_address.filter(|_| self.place.is_certain))
    }

    /// Whether it can be for this account.
    pub(crate) fn may_be_of(&self, account: &str) -> bool {
        self.account().is_none_or(|own| own == account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address, the account, and whether there is a key.
    fn parsed(text: &str) -> (String, Option<String>, bool) {
        let parsed = ConnectionString::parse(text).unwrap();
        let account = parsed.account().map(str::to_owned);
        let AccountUrl {
            https,
            authority,
            path,
        } = parsed.place.url;
        let scheme = if https { "https" } else { "http" };
        let has_key = matches!(parsed.held, Held::Key(_));
        (format!("{scheme}://{authority}{path}"), account, has_key)
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
                "\"BlobEndpoint='https://acct.blob.core.windows.net/cache?sv=1&amp;sig=a%3D'\"\n",
                "https://acct.blob.core.windows.net",
                "acct",
                false,
            ),
            (
                "BlobEndpoint=https://cache.example.com;AccountName=acct;AccountKey=\"a2V5\"",
                "https://cache.example.com",
                "acct",
                true,
            ),
            (
                "UseDevelopmentStorage=T",
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
    fn a_sas_token_in_its_place_is_called_by_its_name() {
        for text in [
            "sv=1&sig=hunter2",
            "https://acct.blob.core.windows.net/c?sv=1&sig=hunter2",
        ] {
            let reason = ConnectionString::parse(text).err().unwrap();
            assert!(reason.contains("AZURE_STORAGE_SAS_TOKEN"), "{reason}");
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }

    #[test]
    fn what_is_none_is_refused_without_being_shown() {
        for text in [
            "",
            "hunter2",
            "AccountName=acct",
            "AccountKey=a2V5",
            "UseDevelopmentStorage=hunter2",
            "BlobEndpoint=https://acct.blob.core.windows.net/c/hunter2;AccountKey=a2V5",
            "AccountName=acct;AccountKey=hunter2!",
            "AccountName=acct;SharedAccessSignature=hunter2",
            "DefaultEndpointsProtocol=ftp;AccountName=acct;AccountKey=a2V5",
        ] {
            let reason = ConnectionString::parse(text).err().unwrap();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
