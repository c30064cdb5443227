//! The developer's tools whose sign-in a backend may use: what is known of
//! each, as data. This is the one place that names tools. Which tokens they are
//! asked for is not decided here: the host asks for those that the plugin's
//! description names and that plugins of its type are trusted with.

use build_cache_host::{CommandIdentities, CommandIdentity};

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

/// Which tools are asked for a token, in words.
pub fn in_words() -> String {
    let CommandIdentities(tools) = identities();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| format!("`{}`", tool.program))
        .collect();
    names.join(" or ")
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
