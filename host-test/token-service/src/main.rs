//! The program `token-service`: the service from the command line, for looking at a client by hand.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use token_service::{
    Credential, Environment, Error, GITHUB_ISSUER, Options, Running, Secret, TokenService,
};

/// Tokens as from Entra, managed identities and GitHub Actions, on this machine and for tests only.
///
/// It makes an application that may prove itself with a secret, a certificate, GitHub's token or
/// the text of a file, and prints all that a client needs as one line of JSON, secrets included. It
/// runs until standard input closes.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder for certificates and keys, which stay there
    #[arg(long)]
    dir: PathBuf,
    /// Lifetime of the tokens, in seconds
    #[arg(long, default_value_t = 3600)]
    lifetime: u64,
    /// Further name or address for the server certificates; may be repeated
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Folder for Azure Arc's keys, announced as it is given
    #[arg(long, value_name = "DIR")]
    arc_keys: Option<PathBuf>,
    /// User-assigned managed identity; may be repeated
    #[arg(long, value_name = "CLIENT_ID")]
    identity: Vec<String>,
}

/// The application that the program makes.
const CLIENT: &str = "c11e0000-0000-4000-8000-000000000001";

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Service(#[from] Error),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot use standard input and output: {0}")]
    Standard(#[from] io::Error),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("token-service: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut options = Options {
        token_lifetime: arguments.lifetime,
        names: arguments.name.clone(),
        dir: Some(arguments.dir.clone()),
        arc_key_dir: arguments.arc_keys.clone(),
        ..Options::default()
    };
    if let Some(dir) = &arguments.arc_keys {
        options.arc_announced_dir.clone_from(dir);
    }
    let github_subject = options.github_subject.clone();
    let service = TokenService::start(options)?;
    for identity in &arguments.identity {
        service.assign_identity(identity);
    }
    let environments = environments(&service, &arguments.dir, github_subject)?;
    let line = json!({
        "authority": service.authority_url(),
        "tenant": service.tenant(),
        "ca": service.ca_path(),
        "server_certificate": service.server_certificate_path(),
        "server_key": service.server_key_path(),
        "imds": service.imds_url(),
        "token": service.token(CLIENT).expose(),
        "environments": environments,
    });
    // Whoever waits for this line reads it through a pipe.
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    for seen in service.seen() {
        eprintln!("{seen:?}");
    }
    Ok(())
}

/// Registers the application, and says for each way in what its client would be given.
fn environments(
    service: &Running,
    dir: &Path,
    github_subject: String,
) -> Result<BTreeMap<&'static str, BTreeMap<&'static str, String>>, Failure> {
    // The service's own tokens are as good as any for what nobody can guess.
    let secret = service.token(CLIENT);
    service.register_client(CLIENT, Credential::Secret(secret.clone()));

    let certificate = service.client_certificate("token-service client")?;
    let pem = write(dir, "client.pem", certificate.pem_with_chain().expose())?;
    let der = certificate.der().to_vec();
    let with_chain = false;
    service.register_client(CLIENT, Credential::Certificate { der, with_chain });

    let assertion = Secret::new(format!("{}\n", service.token(CLIENT).expose()));
    let file = write(dir, "federated-token", assertion.expose())?;
    service.register_client(CLIENT, Credential::Assertion(assertion));

    service.register_client(
        CLIENT,
        Credential::Federated {
            issuer: GITHUB_ISSUER.to_owned(),
            subject: github_subject,
            audience: "api://AzureADTokenExchange".to_owned(),
        },
    );
    let client = |name, value| {
        let mut variables = service.client_env(CLIENT);
        variables.push((name, value));
        variables
    };
    let mut github = service.client_env(CLIENT);
    github.extend(service.github_env());
    let all: [(_, Environment); 10] = [
        (
            "secret",
            client("AZURE_CLIENT_SECRET", secret.expose().to_owned()),
        ),
        ("certificate", client("AZURE_CLIENT_CERTIFICATE_PATH", pem)),
        (
            "workload-identity",
            client("AZURE_FEDERATED_TOKEN_FILE", file),
        ),
        ("github", github),
        ("app-service", service.app_service_env()),
        ("service-fabric", service.service_fabric_env()),
        ("azure-ml", service.azure_ml_env()),
        ("cloud-shell", service.cloud_shell_env()),
        ("arc", service.arc_env()),
        ("imds", service.imds_env()),
    ];
    Ok(all
        .into_iter()
        .map(|(name, variables)| (name, variables.into_iter().collect()))
        .collect())
}

fn write(dir: &Path, name: &str, text: &str) -> Result<String, Failure> {
    let path = dir.join(name);
    match std::fs::write(&path, text) {
        Ok(()) => Ok(path.display().to_string()),
        Err(source) => Err(Failure::Write { path, source }),
    }
}
