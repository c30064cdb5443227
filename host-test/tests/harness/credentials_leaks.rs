//! No secret shows, whichever credential it is, when it works and when it does
//! not: tried with the real program on a store of our own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use blob_store::{BlobStore, EMULATOR_KEY, Https, RunningStore, TokenCheck};
use tempfile::TempDir;
use token_service::{
    Action, Credential, Endpoint, Environment, Fault, GITHUB_ISSUER, Options, Running, Secret,
    TokenService,
};

use crate::credentials_program::{Printed, Program};
use crate::credentials_world::{CLIENT, with};

/// What the tests' applications and users prove themselves with.
const PASSWORD: &str = "~sword & fish/100%+";

/// What has to be there for the credentials.
struct World {
    service: Running,
    store: RunningStore,
    /// Whether the store takes tokens.
    is_open: Arc<AtomicBool>,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let service = TokenService::start(Options::default()).expect("a token service");
        let verifier = service.verifier();
        let is_open = Arc::new(AtomicBool::new(true));
        let opens = Arc::clone(&is_open);
        let tokens = TokenCheck::new(move |token| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_err(|error| error.to_string())?.as_secs();
            verifier
                .verify(token, now)
                .map_err(|error| error.to_string())?;
            match opens.load(Ordering::Relaxed) {
                true => Ok(()),
                // A careless server repeats what it was sent.
                false => Err(format!("The token {token} was revoked.")),
            }
        });
        let read = |path| fs::read_to_string(path).expect("a file of the service");
        let store = BlobStore::start(blob_store::Options {
            https: Some(Https {
                certificate_pem: read(service.server_certificate_path()),
                key_pem: read(service.server_key_path()),
                tokens: Some(tokens),
            }),
            ..blob_store::Options::default()
        });
        Self {
            service,
            store: store.expect("a store"),
            is_open,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Runs the program with these variables, and sees to it that no secret
    /// shows: none that went over the wire, and none of `more`.
    fn run(&self, attributes: &str, variables: &Environment, more: &[&str]) -> Printed {
        let url = self.store.url();
        let attributes = format!("account_url={url},container=leaks{attributes}");
        let program = Program::new(&attributes, variables, &self.service.ca_path());
        let printed = program.run_all();
        let secrets = self.service.secrets();
        let secrets = secrets.iter().map(Secret::expose);
        printed.check_shows_none_of(secrets.chain(more.iter().copied()));
        printed
    }

    /// Runs it where the credential works, and where the store refuses the
    /// token that it leads to and repeats it.
    fn try_token(&self, variables: &Environment, more: &[&str]) {
        let printed = self.run("", variables, more);
        assert!(printed.works, "{}", printed.text);
        assert!(self.store.stats().requests() > 0);
        self.is_open.store(false, Ordering::Relaxed);
        let printed = self.run("", variables, more);
        assert!(!printed.works, "{}", printed.text);
        let words = "401 InvalidAuthenticationInfo";
        assert!(printed.text.contains(words), "{}", printed.text);
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Runs it where the credential does not do.
    fn try_refused(&self, variables: &Environment, more: &[&str]) {
        let printed = self.run("", variables, more);
        assert!(!printed.works, "{}", printed.text);
    }

    /// Writes a file, and gives its path.
    fn file(&self, name: &str, contents: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, contents).expect("a file");
        path.to_str().expect("text").to_owned()
    }
}

#[test]
fn an_accounts_key_never_shows() {
    let world = World::new();
    let url = world.store.url();
    let account = world.store.account();
    let wrong = EMULATOR_KEY.replace("Eby8", "Wr0n");
    for (key, works) in [
        (EMULATOR_KEY, true),
        (&wrong, false),
        ("no=base64;key", false),
    ] {
        let connection = format!("BlobEndpoint={url};AccountName={account};AccountKey={key}");
        for (attributes, name, value) in [
            ("", "AZURE_STORAGE_KEY", key),
            ("", "AZURE_STORAGE_CONNECTION_STRING", &connection),
            (&format!(",secret_access_key={key}"), "NOTHING", ""),
            (
                &format!(",\"connection_string={connection}\""),
                "NOTHING",
                "",
            ),
        ] {
            let variables = with(Vec::new(), name, value);
            let printed = world.run(attributes, &variables, &[key, &connection]);
            assert_eq!(printed.works, works, "{}", printed.text);
        }
    }
}

#[test]
fn an_applications_secret_and_a_users_password_never_show() {
    let world = World::new();
    let secret = Secret::new(PASSWORD);
    let user = Credential::Password {
        username: "ann@octo.example".to_owned(),
        password: secret.clone(),
    };
    world.service.register_client(CLIENT, user);
    world
        .service
        .register_client(CLIENT, Credential::Secret(secret));
    let variables = world.service.client_env(CLIENT);
    let user = with(variables.clone(), "AZURE_USERNAME", "ann@octo.example");
    for (variables, name) in [(variables, "AZURE_CLIENT_SECRET"), (user, "AZURE_PASSWORD")] {
        let good = with(variables.clone(), name, PASSWORD);
        world.try_token(&good, &[PASSWORD]);
        let wrong = "shark & fish, of the tests";
        world.try_refused(&with(variables, name, wrong), &[wrong]);

        // A careless authority repeats what it was sent.
        let action = Action::EntraError {
            status: 401,
            error: "invalid_client".to_owned(),
            code: 7_000_215,
            message: format!("Invalid secret '{PASSWORD}' provided."),
        };
        world.service.fault(Fault::new(action).on(Endpoint::Token));
        world.try_refused(&good, &[PASSWORD]);
        world.service.clear_faults();
    }
}

#[test]
fn a_certificates_key_and_password_never_show() {
    let world = World::new();
    let certificate = world.service.client_certificate("builder").expect("one");
    let registered = Credential::Certificate {
        der: certificate.der().to_vec(),
        with_chain: false,
    };
    world.service.register_client(CLIENT, registered);
    let pem = certificate.pem();
    let key = pem.expose().split("-----END").next().expect("a key");
    let with_file = |contents: &str| {
        let path = world.file("certificate", contents);
        let variables = world.service.client_env(CLIENT);
        with(variables, "AZURE_CLIENT_CERTIFICATE_PATH", path)
    };
    world.try_token(&with_file(pem.expose()), &[key]);
    world.try_refused(&with_file(key), &[key]);

    let strange = world.service.client_certificate("strange").expect("one");
    let strange = strange.pem();
    let key = strange.expose().split("-----END").next().expect("a key");
    world.try_refused(&with_file(strange.expose()), &[key]);

    // Nobody registered the certificate in this file.
    let fixtures = host_test::fixtures::workspace().join("src/credential/certificate/fixtures");
    let path = fixtures.join("modern.pfx");
    let variables = world.service.client_env(CLIENT);
    let path = path.to_str().expect("text");
    let variables = with(variables, "AZURE_CLIENT_CERTIFICATE_PATH", path);
    for password in ["swordfish", "shark-of-the-tests"] {
        let name = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
        let variables = with(variables.clone(), name, password);
        world.try_refused(&variables, &[password]);
    }
}

#[test]
fn a_federated_token_never_shows() {
    let world = World::new();
    let token = "eyJhbGciOiJub25lIn0.c2VydmljZS1hY2NvdW50LW9mLXRlc3Rz.c2lnbmF0dXJlLW9mLXRlc3Rz";
    let assertion = Credential::Assertion(Secret::new(format!("{token}\n")));
    world.service.register_client(CLIENT, assertion);
    let with_file = |contents: &str| {
        let path = world.file("token", contents);
        let variables = world.service.client_env(CLIENT);
        with(variables, "AZURE_FEDERATED_TOKEN_FILE", path)
    };
    world.try_token(&with_file(&format!("{token}\n")), &[token]);
    let other = token.replace("c2ln", "d3Jv");
    world.try_refused(&with_file(&other), &[&other]);
}

#[test]
fn a_github_workflows_token_never_shows() {
    let world = World::new();
    let mut variables = world.service.client_env(CLIENT);
    variables.extend(world.service.github_env());
    // Entra does not know the workflow yet.
    world.try_refused(&variables, &[]);
    let federated = Credential::Federated {
        issuer: GITHUB_ISSUER.to_owned(),
        subject: Options::default().github_subject,
        audience: "api://AzureADTokenExchange".to_owned(),
    };
    world.service.register_client(CLIENT, federated);
    world.try_token(&variables, &[]);
    let wrong = "not-the-token-of-this-job";
    variables.retain(|(name, _)| *name != "ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    let variables = with(variables, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", wrong);
    world.try_refused(&variables, &[wrong]);
}

#[test]
fn what_a_machine_lends_its_identity_by_never_shows() {
    let world = World::new();
    let service = &world.service;
    for (variables, secret) in [
        (service.app_service_env(), Some("IDENTITY_HEADER")),
        (service.azure_ml_env(), Some("MSI_SECRET")),
        (service.cloud_shell_env(), None),
        (service.imds_env(), None),
    ] {
        world.try_token(&variables, &[]);
        let Some(secret) = secret else { continue };
        let mut variables = variables;
        variables.retain(|(name, _)| *name != secret);
        let wrong = "not-the-secret-of-this-host";
        world.try_refused(&with(variables, secret, wrong), &[wrong]);
    }
    // The one has a certificate that is signed by nobody, the other names a
    // file that is not there.
    world.try_refused(&service.service_fabric_env(), &[]);
    world.try_refused(&service.arc_env(), &[]);
}

#[test]
fn the_token_of_a_developers_tool_never_shows() {
    let world = World::new();
    let token = world.service.token(CLIENT);
    let answer = format!(
        r#"{{"accessToken":"{}","expires_on":4000000000}}"#,
        token.expose()
    );
    let script = |text: String| {
        let path = world.file("az", &text);
        let runnable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(Path::new(&path), runnable).expect("permissions");
    };
    let variables = with(Vec::new(), "AZURE_TOKEN_CREDENTIALS", "dev");
    let tools = world.folder.path().to_str().expect("text");
    let variables = with(variables, "PATH", tools);
    script(format!("#!/bin/sh\necho '{answer}'\n"));
    world.try_token(&variables, &[token.expose()]);
    // It fails, and says too much.
    script(format!("#!/bin/sh\necho '{answer}' >&2\nexit 1\n"));
    world.try_refused(&variables, &[token.expose()]);
}
