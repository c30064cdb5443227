//! The variables by name: which there are and what they are for.

/// A variable, for `describe`.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) secret: bool,
    /// Its value is a file's path.
    pub(crate) file: bool,
}

/// Every variable that is read.
pub(crate) const VARIABLES: &[Variable] = &[
    // What is secret in it is its query, which may be a SAS token: the host
    // takes that out of every URL.
    shown(
        "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
        "Used if account_url is not given",
    ),
    shown(
        "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME",
        "Used if account_name is not given",
    ),
    shown(
        "BUILDKIT_AZURE_STORAGE_CONTAINER",
        "Used if container is not given",
    ),
    shown(
        "BUILDKIT_AZURE_STORAGE_PREFIX",
        "Used if prefix is not given",
    ),
    shown(
        "AZURE_STORAGE_ACCOUNT",
        "Name of the storage account, if the address does not contain it",
    ),
    secret(
        "AZURE_STORAGE_KEY",
        "Used if secret_access_key is not given",
    ),
    secret("AZURE_STORAGE_SAS_TOKEN", "Used if sas_token is not given"),
    secret(
        "AZURE_STORAGE_CONNECTION_STRING",
        "Used if connection_string is not given",
    ),
    shown(
        "AZURE_TOKEN_CREDENTIALS",
        "Which credentials to look for: dev, prod or one by its name",
    ),
    shown(
        "AZURE_AUTHORITY_HOST",
        "Address of Microsoft Entra ID, for sovereign clouds",
    ),
    shown("AZURE_TENANT_ID", "Tenant of the application that signs in"),
    shown(
        "AZURE_CLIENT_ID",
        "Application that signs in, or user-assigned managed identity",
    ),
    secret("AZURE_CLIENT_SECRET", "Secret of the application"),
    file(
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "Certificate of the application with its key: PEM or PKCS#12",
    ),
    secret("AZURE_CLIENT_CERTIFICATE_PASSWORD", "Password of that file"),
    shown(
        "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
        "Whether to send the certificate's whole chain, such as 1 or true",
    ),
    shown("AZURE_USERNAME", "User who signs in to the application"),
    secret("AZURE_PASSWORD", "Password of that user"),
    file(
        "AZURE_FEDERATED_TOKEN_FILE",
        "File with the token of a workload identity",
    ),
    shown(
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "Where a GitHub Actions job gets its identity's token",
    ),
    secret(
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "Token with which it gets that token",
    ),
    shown(
        "IDENTITY_ENDPOINT",
        "Where to ask for the host's managed identity",
    ),
    secret(
        "IDENTITY_HEADER",
        "Secret by which App Service or Service Fabric recognises its processes",
    ),
    shown("IDENTITY_SERVER_THUMBPRINT", "Set by Service Fabric"),
    shown("IMDS_ENDPOINT", "Set by Azure Arc"),
    shown(
        "MSI_ENDPOINT",
        "Where to ask for Azure ML's or Cloud Shell's managed identity",
    ),
    secret(
        "MSI_SECRET",
        "Secret by which Azure ML recognises its processes",
    ),
    shown(
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "Address of IMDS, if it is not the usual one",
    ),
];

/// A variable that may be shown.
const fn shown(name: &'static str, description: &'static str) -> Variable {
    Variable {
        name,
        description,
        secret: false,
        file: false,
    }
}

/// A variable that may not.
const fn secret(name: &'static str, description: &'static str) -> Variable {
    Variable {
        secret: true,
        ..shown(name, description)
    }
}

/// A variable that names a file.
const fn file(name: &'static str, description: &'static str) -> Variable {
    Variable {
        file: true,
        ..shown(name, description)
    }
}
