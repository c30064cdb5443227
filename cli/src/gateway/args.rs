//! What a user may write for `serve` and `with`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use build_cache_gateway::NameTemplate;

use crate::args::{NetworkArgs, PluginArgs};

/// `build-cache serve`
#[derive(Debug, clap::Args)]
#[command(after_help = SERVE_HELP)]
pub struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5511")]
    pub listen: SocketAddr,
    /// Ask clients for a password
    #[arg(long)]
    pub auth: bool,
    /// Read the password from this file, instead of drawing one at random
    #[arg(long, value_name = "FILE", requires = "auth")]
    pub password_file: Option<PathBuf>,
    /// Speak TLS with this certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen on an address that is not this machine's own, without TLS
    #[arg(long)]
    pub insecure: bool,
    /// Answer clients that call the gateway by this name or address as well
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Load the plugin again when its file changes
    #[arg(long)]
    pub watch: bool,
    /// How long what is under way may take when the gateway is stopped, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub grace: u64,
    #[command(flatten)]
    pub gateway: GatewayArgs,
}

/// `build-cache with`
#[derive(Debug, clap::Args)]
#[command(after_help = WITH_HELP)]
pub struct WithArgs {
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// The command; `{registry}` in it is replaced by the gateway's address
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What both take.
#[derive(Debug, clap::Args)]
#[group(id = "stores", required = true, multiple = true, args = ["to", "from"])]
pub struct GatewayArgs {
    /// The store to push to, which is pulled from as well
    #[arg(long, value_name = "ATTRIBUTES")]
    pub to: Option<String>,
    /// A store to pull from; several are asked in turn, after that of --to
    #[arg(long, value_name = "ATTRIBUTES")]
    pub from: Vec<String>,
    /// The name of a cache, from its repository and tag; `{/tag}` is `/` and the
    /// tag, and nothing for `latest`
    #[arg(long, value_name = "TEMPLATE", default_value = "{repo}{/tag}")]
    pub name_template: NameTemplate,
    /// Where layers wait for the store [default: in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// How much may wait there, such as 20GiB
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = size)]
    pub spool_size: u64,
    /// Answer a push before it is durable, and finish it at the end
    #[arg(long)]
    pub write_behind: bool,
    #[command(flatten)]
    pub plugin: PluginArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
}

const SERVE_HELP: &str = "\
Speaks the protocol of a container registry, for every builder and driver:

  docker buildx build --cache-from type=registry,ref=localhost:5511/app:main \\
                      --cache-to   type=registry,ref=localhost:5511/app:main,mode=max .

`localhost:5511/REPO:TAG` is the cache REPO/TAG in the store, and the tag
`latest` the cache REPO. `push`, `pull` and BuildKit's own exporter of the same
type reach it under that name. A branch that is not a legal tag is written with
`_.` and two hexadecimal digits for each byte that a tag cannot have:

  TAG=$(jq -rn --arg b \"$BRANCH\" '$b | @uri' | sed 's/%/_./g')

Without --to the gateway only reads, and refuses pushes. With `ignore-error=true`
in --to, a push that fails is a warning, and no build fails.

Everybody on this machine may use the gateway, unless it has --auth. On another
address it needs --auth, and TLS or --insecure. A page at `/` shows what it does;
/metrics and /healthz are for a monitoring system. SIGHUP loads the plugin again.
SIGTERM and Ctrl-C end the gateway after what is under way.";

const WITH_HELP: &str = "\
Runs one command with a gateway of its own on a free port:

  build-cache with --to type=azblob,account_url=https://ACCOUNT.blob.core.windows.net -- \\
    docker buildx build --cache-from type=registry,ref={registry}/app:main \\
                        --cache-to   type=registry,ref={registry}/app:main,mode=max .

$BUILD_CACHE_REGISTRY has the address as well. When the command has ended, the
gateway waits until everything is stored. The exit code is the command's. See
`build-cache serve --help` for names.";

/// Reads a number of bytes: `1000`, `20GiB`, `500MB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err("the unit is not one of KiB, MiB, GiB, TiB, kB, MB, GB, TB".to_owned()),
    };
    let number = digits.trim().parse::<u64>();
    let number =
        number.map_err(|_| "expected a whole number and a unit, such as 20GiB".to_owned())?;
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "this is not a size that a disk can have".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let cases = [
            ("1000", Some(1000)),
            ("20GiB", Some(20 << 30)),
            ("20gib", Some(20 << 30)),
            ("5 MB", Some(5_000_000)),
            ("1k", Some(1024)),
            ("0", None),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("5 parsecs", None),
            ("99999999999TiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}
