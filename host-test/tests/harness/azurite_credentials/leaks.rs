//! No signature of a SAS token shows in what the real program prints.

use super::sas::{self, signatures};
use super::{store, with};
use crate::credentials_program::Program;
use crate::setup::{azurite, run};

#[test]
fn a_sas_tokens_signature_never_shows() {
    run(async {
        sas::container().await;
        let url = azurite().url();
        let ca_file = store().authority.ca_path();
        for (name, works) in [
            ("accountEverything", true),
            ("serviceExport", true),
            ("delegatedExport", true),
            ("serviceWithoutRead", false),
            ("serviceExpired", false),
        ] {
            let token = sas::token(name);
            let wrong = token.replace("sig=", "sig=Wr0ng");
            let connection = format!("BlobEndpoint={url};SharedAccessSignature={token}");
            let place = format!("account_url={url},container={}", sas::CONTAINER);
            for (attributes, variable, value, works) in [
                (&place, "AZURE_STORAGE_SAS_TOKEN", token, works),
                (&place, "AZURE_STORAGE_SAS_TOKEN", &wrong, false),
                (
                    &place,
                    "AZURE_STORAGE_CONNECTION_STRING",
                    &connection,
                    works,
                ),
                (&format!("{place},sas_token={token}"), "NOTHING", "", works),
                (
                    &format!("account_url={url}?{token},container={}", sas::CONTAINER),
                    "NOTHING",
                    "",
                    works,
                ),
            ] {
                let variables = with(Vec::new(), variable, value);
                let program = Program::new(attributes, &variables, &ca_file);
                let printed = program.run_all();
                assert_eq!(printed.works, works, "{name}: {}", printed.text);
                for token in [token, &wrong] {
                    let signatures = signatures(token);
                    printed.check_shows_none_of(signatures.each_ref().map(String::as_str));
                }
            }
        }
    });
}
