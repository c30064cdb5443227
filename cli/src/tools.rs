//! The developer's tools whose sign-in a backend may use: what is known of
//! each, as data. This is the one place that names tools; a backend asks for a
//! scope and learns no more than a token.

use build_cache_host::{CommandIdentities, CommandIdentity};

/// Azure Storage, in every cloud. A token for anything else, such as the
/// management of the developer's subscriptions, is no cache's business.
const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";

/// The variable by which Azure's SDKs choose one of their credentials. A backend
/// reads it as well; which tool is meant, only we can heed.
/// <https://learn.microsoft.com/azure/developer/python/sdk/authentication/credential-chains>
const CHOICE: &str = "AZURE_TOKEN_CREDENTIALS";

/// The tools, in the order in which they are asked.
pub fn identities() -> CommandIdentities {
    chosen(&std::env::var(CHOICE).unwrap_or_default())
}

/// All of the tools, or the one that a value of the variable names.
fn chosen(choice: &str) -> CommandIdentities {
    let choice = choice.trim().to_ascii_lowercase();
    CommandIdentities(match choice.as_str() {
        "azureclicredential" => vec![azure_cli()],
        "azuredeveloperclicredential" => vec![azure_developer_cli()],
        // One that is not here, for which no other stands in.
        "azurepowershellcredential" => vec![],
        _ => vec![azure_cli(), azure_developer_cli()],
    })
}

/// Whom a backend may have asked for a token, and for what.
pub fn in_words() -> Vec<String> {
    let CommandIdentities(tools) = identities();
    let words = |tool: CommandIdentity| {
        let scopes = tool.scopes.join(", ");
        format!(
            "of `{}`, if you are signed in there: {scopes}",
            tool.program
        )
    };
    tools.into_iter().map(words).collect()
}

/// The Azure CLI. Since version 2.54 `expires_on` is in seconds; before, there
/// is only `expiresOn`, a local time.
/// <https://learn.microsoft.com/cli/azure/account#az-account-get-access-token>
fn azure_cli() -> CommandIdentity {
    tool(
        "az",
        &[
            "account",
            "get-access-token",
            "-o",
            "json",
            "--resource",
            "{resource}",
        ],
        "/accessToken",
        &["/expires_on", "/expiresOn"],
    )
}

/// The Azure Developer CLI, whose `expiresOn` is an RFC 3339 time.
/// <https://learn.microsoft.com/azure/developer/azure-developer-cli/reference#azd-auth-token>
fn azure_developer_cli() -> CommandIdentity {
    tool(
        "azd",
        &[
            "auth",
            "token",
            "-o",
            "json",
            "--no-prompt",
            "--scope",
            "{scope}",
        ],
        "/token",
        &["/expiresOn"],
    )
}

fn tool(program: &str, args: &[&str], token: &str, expires: &[&str]) -> CommandIdentity {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    CommandIdentity {
        program: program.to_owned(),
        args: owned(args),
        scopes: vec![STORAGE_SCOPE.to_owned()],
        token: token.to_owned(),
        expires: owned(expires),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_named_is_the_only_one_asked() {
        for (choice, programs) in [
            ("", &["az", "azd"][..]),
            ("dev", &["az", "azd"]),
            ("AzureCliCredential", &["az"]),
            (" azuredeveloperclicredential", &["azd"]),
            ("AzurePowerShellCredential", &[]),
        ] {
            let CommandIdentities(tools) = chosen(choice);
            let asked: Vec<&str> = tools.iter().map(|tool| tool.program.as_str()).collect();
            assert_eq!(asked, programs, "{choice}");
        }
    }
}
