//! What an address says beside where requests go: which account it is, and
//! perhaps which container. People paste what Azure's portal shows, and that is
//! the address of an account, of a container or of a blob.

use percent_encoding::percent_decode_str;

use super::{AccountUrl, ContainerName};

/// The account of the emulator.
const EMULATOR: &str = "devstoreaccount1";

/// The services of a storage account beside the Blob service, as they are
/// called in its addresses.
const OTHER_SERVICES: [&str; 5] = ["dfs", "file", "queue", "table", "web"];

/// An address taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The account's address, with what precedes the container and no more.
    pub(crate) url: AccountUrl,
    /// The account's name, as far as the address tells it.
    pub(crate) account: Option<String>,
    /// Whether that is the account's name for certain. The first label of a
    /// custom domain need not be, though BuildKit takes it for that.
    pub(crate) is_certain: bool,
    /// The container, where the address names one.
    pub(crate) container: Option<ContainerName>,
}

impl Place {
    /// Takes an address apart. `names` are the names that something beside the
    /// address gives the account.
    ///
    /// On Azure's own hosts, which tell the account, a path is a container.
    /// Where an emulator may be, it begins with the account. On a custom domain
    /// it may be either, which only the account's name can tell.
    pub(crate) fn find(url: AccountUrl, names: &[&str]) -> Result<Self, String> {
        let path = url.path.clone();
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let host = url.host();
        let (first, rest) = host.split_once('.').unwrap_or((host, ""));
        if let Some(other) = other_service(rest) {
            return Err(format!(
                "it is the address of the account's `{other}` service: give that of its Blob \
                 service, which has `blob` in the place of `{other}`"
            ));
        }
        let (account, is_certain, path) = if rest.split('.').any(|label| label == "blob") {
            (Some(first), true, String::new())
        } else if let Some(segment) = segments.clone().next() {
            // A custom domain of Azure has no port.
            let may_be_emulator = url.is_address() || rest.is_empty() || host != url.authority;
            let is_account = names.contains(&name_of(segment)) || name_of(segment) == EMULATOR;
            if may_be_emulator || is_account {
                segments.next();
                (Some(segment), true, format!("/{segment}"))
            } else if names.is_empty() {
                return Err(
                    "its path may be an account, as on an emulator, or a container: give the \
                     account's name (account_name, or AccountName in a connection string)"
                        .to_owned(),
                );
            } else {
                (Some(first), false, String::new())
            }
        } else {
            let label = (!url.is_address()).then_some(first);
            (label, false, String::new())
        };
        let account = account.map(name_of).filter(|name| !name.is_empty());
        let account = account.map(str::to_owned);
        Ok(Self {
            container: container(segments)?,
            account,
            is_certain,
            url: AccountUrl { path, ..url },
        })
    }
}

/// The account of an endpoint: `-secondary` belongs to the endpoint.
fn name_of(text: &str) -> &str {
    text.strip_suffix("-secondary").unwrap_or(text)
}

/// The service, where the rest of a host's name is one of Azure's for another
/// service than the Blob service.
fn other_service(rest: &str) -> Option<&'static str> {
    let mut labels = rest.split('.').skip_while(|label| *label != "core").skip(1);
    let is_azure = labels.any(|cloud| cloud == "windows" || cloud.ends_with("cloudapi"));
    let mut others = OTHER_SERVICES.into_iter();
    others.find(|other| is_azure && rest.split('.').any(|label| label == *other))
}

/// The container that the end of a path names.
fn container<'a>(
    mut segments: impl Iterator<Item = &'a str>,
) -> Result<Option<ContainerName>, String> {
    let Some(segment) = segments.next() else {
        return Ok(None);
    };
    let name = percent_decode_str(segment).decode_utf8_lossy();
    let name = ContainerName::parse(&name)
        .map_err(|reason| format!("its path is not that of a container: {reason}"))?;
    match segments.next() {
        None => Ok(Some(name)),
        Some(_) => Err(format!(
            "it is the address of a blob in the container `{}`: leave out what follows the \
             container; what the names of blobs begin with is the attribute prefix",
            name.as_str()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, names: &[&str]) -> Result<Place, String> {
        Place::find(AccountUrl::parse(text).unwrap(), names)
    }

    #[test]
    fn an_address_tells_account_and_container_in_every_form_that_people_paste() {
        // address, names given beside it; path, account, certain, container
        type Case<'a> = (
            &'a str,
            &'a [&'a str],
            &'a str,
            Option<&'a str>,
            bool,
            Option<&'a str>,
        );
        let cases: &[Case] = &[
            (
                "https://acct.blob.core.windows.net",
                &[],
                "",
                Some("acct"),
                true,
                None,
            ),
            (
                "https://acct.blob.core.windows.net/cache",
                &[],
                "",
                Some("acct"),
                true,
                Some("cache"),
            ),
            (
                "acct.blob.core.windows.net/cache/",
                &[],
                "",
                Some("acct"),
                true,
                Some("cache"),
            ),
            (
                "https://acct.blob.core.windows.net//my%2Dcache",
                &["other"],
                "",
                Some("acct"),
                true,
                Some("my-cache"),
            ),
            (
                "https://acct.z12.blob.storage.azure.net/cache",
                &[],
                "",
                Some("acct"),
                true,
                Some("cache"),
            ),
            (
                "https://acct.privatelink.blob.core.windows.net/cache",
                &[],
                "",
                Some("acct"),
                true,
                Some("cache"),
            ),
            (
                "https://acct-secondary.blob.core.usgovcloudapi.net/cache",
                &[],
                "",
                Some("acct"),
                true,
                Some("cache"),
            ),
            (
                "http://acct.blob.localhost:10000/cache",
                &[],
                "",
                Some("acct"),
                true,
                Some("cache"),
            ),
            // Emulators have the account in the path.
            (
                "http://127.0.0.1:10000/dev1",
                &[],
                "/dev1",
                Some("dev1"),
                true,
                None,
            ),
            (
                "http://127.0.0.1:10000/dev1-secondary/",
                &[],
                "/dev1-secondary",
                Some("dev1"),
                true,
                None,
            ),
            (
                "http://127.0.0.1:10000/dev1/cache",
                &["other"],
                "/dev1",
                Some("dev1"),
                true,
                Some("cache"),
            ),
            (
                "http://[::1]:10000/dev1/cache",
                &[],
                "/dev1",
                Some("dev1"),
                true,
                Some("cache"),
            ),
            (
                "http://azurite/dev1/cache",
                &[],
                "/dev1",
                Some("dev1"),
                true,
                Some("cache"),
            ),
            (
                "http://host.docker.internal:10000/dev1",
                &[],
                "/dev1",
                Some("dev1"),
                true,
                None,
            ),
            (
                "https://azurite.example.com/devstoreaccount1",
                &[],
                "/devstoreaccount1",
                Some("devstoreaccount1"),
                true,
                None,
            ),
            // A custom domain does not tell the account; who knows it can tell
            // what the path is.
            (
                "https://cache.example.com",
                &[],
                "",
                Some("cache"),
                false,
                None,
            ),
            (
                "https://cache.example.com/mine",
                &["acct"],
                "",
                Some("cache"),
                false,
                Some("mine"),
            ),
            (
                "https://azurite.example.com/acct/mine",
                &["acct"],
                "/acct",
                Some("acct"),
                true,
                Some("mine"),
            ),
            ("http://127.0.0.1:10000", &[], "", None, false, None),
            ("http://[::1]", &["acct"], "", None, false, None),
        ];
        for &(text, names, path, account, is_certain, container) in cases {
            let place = find(text, names).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            let found = place.container.as_ref().map(ContainerName::as_str);
            assert_eq!(
                (
                    &*place.url.path,
                    place.account.as_deref(),
                    place.is_certain,
                    found
                ),
                (path, account, is_certain, container),
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_with_more_than_one_reading_or_of_something_else_is_refused() {
        for (text, names, part) in [
            ("https://cache.example.com/mine", &[][..], "account_name"),
            (
                "https://acct.blob.core.windows.net/cache/blobs/x",
                &[],
                "a blob in the container `cache`",
            ),
            (
                "https://acct.blob.core.windows.net/$root",
                &[],
                "not that of a container",
            ),
            (
                "https://acct.blob.core.windows.net/a%2Fb",
                &[],
                "not that of a container",
            ),
            (
                "http://127.0.0.1:10000/dev1/cache/x",
                &[],
                "a blob in the container `cache`",
            ),
            ("https://acct.dfs.core.windows.net", &[], "`dfs`"),
            (
                "https://acct.queue.core.chinacloudapi.cn/x",
                &["acct"],
                "`queue`",
            ),
            ("https://acct.z6.web.core.windows.net", &[], "`web`"),
        ] {
            let reason = find(text, names).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
        // Names of their own may have such labels.
        assert!(find("https://cache.file.example.com", &[]).is_ok());
        assert!(find("https://web.core.example.com", &[]).is_ok());
    }
}
