//! What the usual refusals of Microsoft Entra ID come from, by their numbers.
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

/// What to check, where a refusal has a number that is known; else empty.
pub(super) fn hint(refusal: &str) -> &'static str {
    let number = refusal.split_once("AADSTS").map_or("", |(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        &rest[..end.unwrap_or(rest.len())]
    });
    match number {
        "7000215" | "7000222" => {
            "AZURE_CLIENT_SECRET must be the secret's value, not its id, and secrets expire"
        }
        "700016" => "Check AZURE_CLIENT_ID, and that AZURE_TENANT_ID is the application's tenant",
        "90002" | "900021" | "900023" => {
            "Check AZURE_TENANT_ID, and AZURE_AUTHORITY_HOST if this is a sovereign cloud"
        }
        "700024" => "Check this machine's clock",
        "700027" => "Check that this very certificate is registered with the application",
        "70021" | "700211" | "700212" | "700213" => {
            "Check the application's federated credential: its issuer, subject and audience must \
             be those of the token to the letter"
        }
        "50034" | "50126" => "Check AZURE_USERNAME and AZURE_PASSWORD",
        "50055" | "50076" | "50079" => {
            "This user has to sign in in person: use an application instead"
        }
        "53003" | "530034" => "A conditional access policy of the tenant forbids it",
        "500011" | "650057" => "Check AZURE_AUTHORITY_HOST: it must be of the account's cloud",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_whole_number() {
        assert!(hint("401 invalid_client: AADSTS7000215: no").contains("value"));
        assert!(hint("AADSTS700213: no match").contains("subject"));
        assert_eq!(hint("AADSTS70002150: another"), "");
        assert_eq!(hint("401"), "");
    }
}
