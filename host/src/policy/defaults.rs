//! What plugins of each type that comes with the product are trusted with: data,
//! and the one place in the host that names a store's variables, servers and
//! scopes. Each entry must be what such a plugin asks for, word for word; a test
//! of the harness compares the two.

use super::Lends::{self, File, Servers, Value};

/// What plugins of one type are trusted with.
pub(super) struct Defaults {
    pub(super) r#type: &'static str,
    /// Names, or beginnings of names before a `*`, and what each lends. The
    /// first that fits counts.
    pub(super) variables: &'static [(&'static str, Lends)],
    /// What of the description's `authorities` may lead to addresses that are
    /// not public: a private endpoint, an emulator, the machine's identity.
    pub(super) authorities: &'static [&'static str],
    /// What of the description's `files` is lent.
    pub(super) files: &'static [&'static str],
    /// What tokens of the user's tools may be asked for.
    pub(super) scopes: &'static [&'static str],
}

pub(super) const DEFAULTS: &[Defaults] = &[
    Defaults {
        r#type: "azblob",
        variables: &[
            ("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", Servers),
            ("BUILDKIT_AZURE_STORAGE_*", Value),
            ("AZURE_STORAGE_CONNECTION_STRING", Servers),
            // It may be a whole SAS URL, as the portal shows it.
            ("AZURE_STORAGE_SAS_TOKEN", Servers),
            ("AZURE_AUTHORITY_HOST", Servers),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", Servers),
            ("AZURE_CLIENT_CERTIFICATE_PATH", File),
            ("AZURE_FEDERATED_TOKEN_FILE", File),
            ("AZURE_*", Value),
            ("IDENTITY_ENDPOINT", Servers),
            ("IDENTITY_*", Value),
            ("IMDS_ENDPOINT", Servers),
            ("MSI_ENDPOINT", Servers),
            ("MSI_*", Value),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", Servers),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", Value),
        ],
        authorities: &[
            "169.254.169.254",
            "{account_name|BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME|AZURE_STORAGE_ACCOUNT\
             |connection_string/AccountName|AZURE_STORAGE_CONNECTION_STRING/AccountName}\
             .blob.core.windows.net",
            "{account_name|BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME|AZURE_STORAGE_ACCOUNT\
             |connection_string/AccountName|AZURE_STORAGE_CONNECTION_STRING/AccountName}\
             .blob.core.usgovcloudapi.net",
            "{account_name|BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME|AZURE_STORAGE_ACCOUNT\
             |connection_string/AccountName|AZURE_STORAGE_CONNECTION_STRING/AccountName}\
             .blob.core.chinacloudapi.cn",
            "{account_name|BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME|AZURE_STORAGE_ACCOUNT\
             |connection_string/AccountName|AZURE_STORAGE_CONNECTION_STRING/AccountName}\
             .blob.{connection_string/EndpointSuffix|AZURE_STORAGE_CONNECTION_STRING/EndpointSuffix}",
            "127.0.0.1:10000 if connection_string/UseDevelopmentStorage=true",
            "127.0.0.1:10000 if AZURE_STORAGE_CONNECTION_STRING/UseDevelopmentStorage=true",
            "{connection_string/DevelopmentStorageProxyUri}:10000 \
             if connection_string/UseDevelopmentStorage=true",
            "{AZURE_STORAGE_CONNECTION_STRING/DevelopmentStorageProxyUri}:10000 \
             if AZURE_STORAGE_CONNECTION_STRING/UseDevelopmentStorage=true",
        ],
        files: &["/var/opt/azcmagent/tokens/*.key"],
        scopes: &["https://storage.azure.com/.default"],
    },
    Defaults {
        r#type: "http",
        variables: &[
            ("BUILD_CACHE_HTTP_URL", Servers),
            ("BUILD_CACHE_HTTP_TOKEN", Value),
        ],
        authorities: &[],
        files: &[],
        scopes: &[],
    },
];
