//! Azurite, the emulator of Azure Storage: one process for a test program, and
//! a way into its containers by a shared access signature.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use blob_store::{EMULATOR_ACCOUNT, EMULATOR_KEY};
use bytes::Bytes;
use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, Response, StatusCode};
use sha2::Sha256;

use crate::store::{RawStore, failed};
use crate::{Failure, Outcome};

/// Names the script that node runs as Azurite's blob service.
const SCRIPT_VARIABLE: &str = "AZURITE_BIN";

/// Runs a script until standard input ends, so that the server ends with the
/// process that started it, however that one ends.
const RUN_WHILE_STDIN_IS_OPEN: &str =
    "process.stdin.resume().on('end', () => process.exit()); require(process.argv[1]);";

/// How long it may take to say something while it starts. It loads for seconds
/// on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A running Azurite. It ends with this value, or with the process.
pub struct Azurite {
    url: String,
    client: Client,
    process: Child,
}

impl Azurite {
    /// Starts one on a free port of the loopback interface, which keeps all in
    /// memory. Blocks until it listens.
    ///
    /// # Errors
    /// It is not installed, or does not start; says what to do.
    pub fn start() -> Outcome<Self> {
        Self::run("http", &[])
    }

    /// Starts one that speaks TLS with this certificate and key, both in PEM,
    /// and takes tokens of Microsoft Entra ID.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_with_tokens(certificate: &Path, key: &Path) -> Outcome<Self> {
        let options: [&OsStr; 6] = [
            "--oauth".as_ref(),
            "basic".as_ref(),
            "--cert".as_ref(),
            certificate.as_os_str(),
            "--key".as_ref(),
            key.as_os_str(),
        ];
        Self::run("https", &options)
    }

    fn run(scheme: &str, options: &[&OsStr]) -> Outcome<Self> {
        let cannot = |reason: String| Failure::Server {
            server: "Azurite",
            reason,
        };
        let script = script();
        if !script.exists() {
            return Err(cannot(format!(
                "there is no {}; `cargo xtask test` installs it, or {SCRIPT_VARIABLE} names its \
                 script",
                script.display()
            )));
        }
        let mut process = Command::new("node")
            .args(["--no-deprecation", "-e", RUN_WHILE_STDIN_IS_OPEN])
            .arg(&script)
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
            .args(["--inMemoryPersistence", "--silent", "--disableTelemetry"])
            .args(options)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| cannot(format!("cannot run node: {error}")))?;
        let stdout = process
            .stdout
            .take()
            .ok_or_else(|| cannot("no output".into()))?;
        // All that it says is read, or it would wait for a reader.
        let (says, said) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.for_each(|line| drop(says.send(line)));
        });
        let address = loop {
            let line = said.recv_timeout(START).map_err(|why| {
                cannot(format!(
                    "it does not say where it listens ({why}); see above"
                ))
            })?;
            if let Some((_, address)) = line.split_once(&format!("listens on {scheme}://")) {
                break address.trim().to_owned();
            }
        };

        // Fails only where another provider was chosen, which will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build();
        Ok(Self {
            url: format!("{scheme}://{address}/{EMULATOR_ACCOUNT}"),
            client: client.map_err(|error| cannot(error.to_string()))?,
            process,
        })
    }

    /// The account's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A way into a container, which it makes.
    ///
    /// # Errors
    /// Azurite refused.
    pub async fn container(&self, name: &str) -> Outcome<AzuriteContainer> {
        let container = AzuriteContainer {
            client: self.client.clone(),
            url: format!("{}/{name}", self.url),
            token: account_sas(),
        };
        let made = container.send("create", Method::PUT, "", "restype=container&", None);
        made.await?;
        Ok(container)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where Azurite's script is.
fn script() -> PathBuf {
    match std::env::var_os(SCRIPT_VARIABLE) {
        Some(script) => script.into(),
        None => crate::fixtures::workspace().join("target/azurite/node_modules/.bin/azurite-blob"),
    }
}

/// A container of Azurite.
pub struct AzuriteContainer {
    client: Client,
    url: String,
    token: String,
}

impl AzuriteContainer {
    /// Sends one request. None for what is not there.
    async fn send(
        &self,
        action: &'static str,
        method: Method,
        key: &str,
        query: &str,
        body: Option<Bytes>,
    ) -> Outcome<Option<Response>> {
        let key_on_the_wire = utf8_percent_encode(key, NON_ALPHANUMERIC);
        let mut url = self.url.clone();
        if !key.is_empty() {
            url += &format!("/{key_on_the_wire}");
        }
        let url = format!("{url}?{query}{}", self.token);
        let request = self.client.request(method, url);
        let request = match query.starts_with("comp=tier") {
            true => request.header("x-ms-access-tier", "Archive"),
            false => request.header("x-ms-blob-type", "BlockBlob"),
        };
        let request = request.body(body.unwrap_or_default());
        let response = request.send().await.map_err(failed(action, key))?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(response)),
            status => Err(failed(action, key)(format!(
                "{status}: {}",
                response.text().await.unwrap_or_default()
            ))),
        }
    }
}

impl RawStore for AzuriteContainer {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome<Option<Bytes>>> {
        Box::pin(async move {
            match self.send("get", Method::GET, key, "", None).await? {
                Some(response) => Ok(Some(response.bytes().await.map_err(failed("get", key))?)),
                None => Ok(None),
            }
        })
    }

    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let put = self.send("put", Method::PUT, key, "", Some(bytes)).await?;
            put.map(drop)
                .ok_or_else(|| failed("put", key)("there is no such container"))
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let gone = self.send("delete", Method::DELETE, key, "", None).await?;
            gone.map(drop)
                .ok_or_else(|| failed("delete", key)("there is no such blob"))
        })
    }

    fn archive<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let moved = self.send("archive", Method::PUT, key, "comp=tier&", None);
            moved
                .await?
                .map(drop)
                .ok_or_else(|| failed("archive", key)("there is no such blob"))
        })
    }

    fn leave_block<'a>(
        &'a self,
        key: &'a str,
        id_base64: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let id = utf8_percent_encode(id_base64, NON_ALPHANUMERIC);
            let query = format!("comp=block&blockid={id}&");
            let action = "leave a block of";
            let left = self.send(action, Method::PUT, key, &query, Some(bytes));
            left.await?
                .map(drop)
                .ok_or_else(|| failed(action, key)("there is no such container"))
        })
    }
}

/// A shared access signature of the emulator's account for everything: signed
/// once here, so that this client needs no signing of requests.
/// <https://learn.microsoft.com/rest/api/storageservices/create-account-sas>
fn account_sas() -> String {
    const VERSION: &str = "2019-12-12";
    const EXPIRES: &str = "2099-01-01T00:00:00Z";
    let (permissions, services, types) = ("rwdlac", "b", "sco");
    let to_sign = format!(
        "{EMULATOR_ACCOUNT}\n{permissions}\n{services}\n{types}\n\n{EXPIRES}\n\n\n{VERSION}\n"
    );
    let key = BASE64.decode(EMULATOR_KEY).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
    mac.update(to_sign.as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    format!(
        "sv={VERSION}&ss={services}&srt={types}&sp={permissions}&se={}&sig={}",
        utf8_percent_encode(EXPIRES, NON_ALPHANUMERIC),
        utf8_percent_encode(&signature, NON_ALPHANUMERIC)
    )
}
