//! The real program with every credential, at its most talkative: whatever
//! becomes of it, no secret shows in what it prints, in whatever form.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use host_test::fixtures;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tempfile::TempDir;
use token_service::Environment;

/// Names the program; without it, the one that the tests' own build made.
const PROGRAM_VARIABLE: &str = "BUILD_CACHE_CLI";

/// Shorter than this, a text stands in an output by chance; in bytes.
const SHORTEST: usize = 8;

/// The program, with one credential.
pub struct Program {
    environment: Vec<(String, String)>,
    store: String,
    folder: TempDir,
}

/// All that the program printed, in all its runs.
pub struct Printed {
    /// Whether each run succeeded.
    pub works: bool,
    pub text: String,
}

impl Program {
    /// The program where `attributes` name the store, and no variables are set
    /// but these.
    pub fn new(attributes: &str, variables: &Environment, ca_file: &Path) -> Self {
        let owned = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone());
        let mut environment: Vec<_> = variables.iter().map(owned).collect();
        let ca_file = ca_file.to_str().expect("text").to_owned();
        environment.push(("SSL_CERT_FILE".to_owned(), ca_file));
        for talkative in [("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")] {
            environment.push((talkative.0.to_owned(), talkative.1.to_owned()));
        }
        Self {
            environment,
            store: format!("type=azblob,max_retries=0,name=app,{attributes}"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Pushes, pulls and checks: once in words, once as JSON.
    pub fn run_all(&self) -> Printed {
        let cache = fixtures::workspace().join("host-test/fixtures/buildkit/local-max");
        let cache = cache.to_str().expect("text");
        let pulled = self.folder.path().join("pulled");
        let pulled = pulled.to_str().expect("text");
        let mut printed = Printed {
            works: true,
            text: String::new(),
        };
        for arguments in [
            &["push", "--to", &self.store, cache][..],
            &["pull", "--from", &self.store, pulled],
            &["check", "--to", &self.store],
        ] {
            for how in ["--verbose", "--json"] {
                self.run(arguments, how, &mut printed);
            }
        }
        printed
    }

    fn run(&self, arguments: &[&str], how: &str, printed: &mut Printed) {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .arg(how)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("BUILD_CACHE_PLUGIN_DIR", components())
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .env("XDG_DATA_HOME", self.folder.path())
            .stdin(Stdio::null());
        let output = command.output().expect("the program runs");
        printed.works &= output.status.success();
        for bytes in [&output.stdout, &output.stderr] {
            let text = std::str::from_utf8(bytes).expect("text");
            printed.text.push_str(text);
        }
        assert!(!printed.text.contains("panicked"), "{}", printed.text);
    }
}

impl Printed {
    /// Checks that none of the secrets stands in it, as it is or encoded.
    pub fn check_shows_none_of<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        assert!(self.text.len() > 100, "too little: {}", self.text);
        for secret in secrets {
            let form = self.form_that_shows(secret);
            assert_eq!(form, None, "{secret} shows in: {}", self.text);
        }
    }

    /// The form of a secret that stands in it.
    fn form_that_shows(&self, secret: &str) -> Option<String> {
        let mut forms = forms(secret).into_iter();
        forms.find(|form| self.text.contains(form))
    }
}

#[test]
fn a_secret_that_shows_is_noticed_in_each_of_its_forms() {
    let prints = |text: &str| Printed {
        works: true,
        text: format!("error: {text} was refused"),
    };
    for (secret, shown) in [
        ("sword/fish+sea", "sword/fish+sea"),
        ("sword/fish+sea", "sig=sword%2Ffish%2Bsea"),
        ("sword%2Ffish%2Bsea", "sword/fish+sea"),
        ("sword/fish+sea", "Basic c3dvcmQvZmlzaCtzZWE="),
        ("eyJhbGc.claims-of-it.the-signature", "the-signature"),
        (
            "-----BEGIN KEY-----\nfirst-line\nsecond-line",
            "second-line",
        ),
    ] {
        let printed = prints(shown);
        assert!(printed.form_that_shows(secret).is_some(), "{shown}");
    }
    assert_eq!(prints("nothing").form_that_shows("sword/fish+sea"), None);
}

/// What a secret may look like in a text: its parts, each plain, in a URL and
/// in a header.
fn forms(secret: &str) -> Vec<String> {
    let decoded = percent_decode_str(secret).decode_utf8_lossy().into_owned();
    let mut plain = vec![secret.to_owned(), decoded];
    // A file in PEM shows by any of its lines, a JSON Web Token by its claims
    // or its signature; its header is the same for all.
    plain.extend(secret.lines().map(|line| line.trim().to_owned()));
    if let [_, claims, signature] = secret.split('.').collect::<Vec<_>>()[..] {
        plain.extend([claims, signature].map(str::to_owned));
    }
    plain.retain(|text| text.len() >= SHORTEST && !text.starts_with("-----"));
    let encoded = plain.iter().flat_map(|text| {
        let in_url = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        [
            in_url.to_lowercase(),
            in_url,
            STANDARD.encode(text),
            URL_SAFE_NO_PAD.encode(text),
        ]
    });
    let encoded: Vec<_> = encoded.collect();
    plain.extend(encoded);
    plain
}

fn program() -> PathBuf {
    let built = || fixtures::workspace().join("target/cargo/release/build-cache");
    let path = std::env::var_os(PROGRAM_VARIABLE).map_or_else(built, PathBuf::from);
    assert!(
        path.exists(),
        "there is no {}; `cargo xtask test` builds it, or {PROGRAM_VARIABLE} names it",
        path.display()
    );
    path
}

fn components() -> PathBuf {
    let component = fixtures::component("azblob");
    component.parent().expect("a folder").to_owned()
}
