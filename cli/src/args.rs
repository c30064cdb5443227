//! What a user may write. The attributes after `--to` and `--from` are taken
//! as plain text and parsed later: clap would repeat a wrong value in its
//! message, and a secret with it.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand};

use crate::gateway::{ServeArgs, WithArgs};
use crate::upkeep::{LsArgs, NamesArgs};

/// Moves BuildKit caches between a local cache directory and a store.
///
/// The directory is what `docker buildx build --cache-to type=local,dest=DIR`
/// writes and `--cache-from type=local,src=DIR` reads, with any builder. The
/// store is whatever a plugin speaks, such as Azure Blob Storage (azblob).
#[derive(Debug, Parser)]
#[command(name = "build-cache", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  build-cache plugin list
  build-cache check --to type=azblob,name=app,account_url=https://ACCOUNT.blob.core.windows.net
  build-cache pull --from type=azblob,name=app,account_url=https://ACCOUNT.blob.core.windows.net cache
  docker buildx build --cache-from type=local,src=cache --cache-to type=local,dest=cache,mode=max .
  build-cache push --to type=azblob,name=app,account_url=https://ACCOUNT.blob.core.windows.net cache

Exit codes: 0 done, 1 failed, 2 misused, 130 stopped by Ctrl-C.";

/// How much is shown, and in which form.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Show nothing but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show every event with its time: layers, names, retried requests
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print one JSON object to standard output, also of a failure
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let builders use a store directly, through a registry on this machine
    Serve(Box<ServeArgs>),
    /// Run one command with such a registry
    With(Box<WithArgs>),
    /// Send the cache in a directory to a store
    Push(PushArgs),
    /// Fetch a cache from a store into a directory
    Pull(PullArgs),
    /// Say which credential would be used, and try what it may do
    Check(CheckArgs),
    /// List the caches in a store: their sizes, ages and states
    Ls(LsArgs),
    /// Remove names from a store; their layers stay
    Rm(NamesArgs),
    /// Mark the layers of names as used now
    Touch(NamesArgs),
    /// Look at the credential
    #[command(subcommand, hide = true)]
    Login(LoginCommand),
    /// Look at plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
}

impl Command {
    /// Whether it leaves something in the store that it would have taken away
    /// at its end. What a push leaves is what the next one takes up.
    pub fn cleans_up(&self) -> bool {
        matches!(self, Self::Check(_) | Self::Login(_))
    }

    /// Whether it decides for itself what a signal means.
    pub fn heeds_signals(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::With(_))
    }
}

const ATTRIBUTES_HELP: &str = "\
Attributes are written as for docker buildx: `type=NAME,key=value,...`, each of
them once, with quotes around a field that holds a comma. `type` picks the
plugin, and `build-cache plugin inspect FILE.wasm` lists what else it accepts,
and which environment variables it reads. A secret attribute may come from a
file: `ATTRIBUTE_file=PATH` instead of `ATTRIBUTE=VALUE`. Prefer that, or a
variable: everybody on the machine can read a command line.

A name that comes from outside, such as a branch's, belongs in `--name`: in the
attributes, a comma in it would begin another attribute, and a `;` another name.";

const PLACES_HELP: &str = "\
A plugin is the first TYPE.wasm in the folder of `--plugin-dir`, in that of
$BUILD_CACHE_PLUGIN_DIR, in `plugins` next to this program, or in
`build-cache/plugins` in the user's data folder ($XDG_DATA_HOME).

Proxies are those of $HTTP_PROXY, $HTTPS_PROXY and $NO_PROXY, and certificate
authorities the system's, or those of $SSL_CERT_FILE.";

/// `build-cache push`
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{ATTRIBUTES_HELP}\n{PUSH_ATTRIBUTES}\n\n{PLACES_HELP}"))]
pub struct PushArgs {
    /// The store, and the cache in it
    #[arg(long, value_name = "ATTRIBUTES")]
    pub to: String,
    /// A name of the cache, exactly as it is, such as a branch's; repeat it for
    /// several. Replaces the attribute `name`
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Which cache in the directory [default: latest, or the only one]
    #[arg(long)]
    pub tag: Option<String>,
    /// The cache directory
    pub dir: PathBuf,
    #[command(flatten)]
    pub plugin: PluginArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
}

const PUSH_ATTRIBUTES: &str = "
`mode=min` sends only what the final result needs; otherwise all that is there
is sent. With `ignore-error=true` a push that fails is a warning, and the exit
code is 0.";

/// `build-cache pull`
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{ATTRIBUTES_HELP}\n{PULL_ATTRIBUTES}\n\n{PLACES_HELP}"))]
pub struct PullArgs {
    /// The store, and the cache in it
    #[arg(long, value_name = "ATTRIBUTES")]
    pub from: String,
    /// A name of the cache, exactly as it is, such as a branch's; repeat it for
    /// several. Replaces the attribute `name`
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// The tag that the first cache gets in the directory
    #[arg(long, value_parser = NonEmptyStringValueParser::new(), default_value = build_cache_host::oci_layout::DEFAULT_TAG)]
    pub tag: String,
    /// Fail where the store has lost or damaged a part of the cache, rather
    /// than leave that part out
    #[arg(long)]
    pub strict: bool,
    /// The cache directory, which is created if it is missing
    pub dir: PathBuf,
    #[command(flatten)]
    pub plugin: PluginArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
}

const PULL_ATTRIBUTES: &str = "
If there are several names, each cache is also tagged with its own name. A name
that the store does not have is an empty cache: the directory is created, its
tags stay as they are, and the exit code is 0. With `ignore-error=true` a pull
that fails is a warning, and the exit code is 0.

Every layer is checked against its digest before it gets its name. One that does
not match is fetched once more. If it is wrong again, or gone from the store, the
results that need it are left out with a warning, and a build makes them again.
With --strict that is an error, and the tags stay as they are.";

/// `build-cache check`: one of the two says where.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{ATTRIBUTES_HELP}\n{CHECK_ATTRIBUTES}"))]
#[group(id = "store", required = true, multiple = false, args = ["to", "from"])]
pub struct CheckArgs {
    /// The store, and the cache in it, to push to
    #[arg(long, value_name = "ATTRIBUTES")]
    pub to: Option<String>,
    /// The same, to pull from
    #[arg(long, value_name = "ATTRIBUTES")]
    pub from: Option<String>,
    /// A name of the cache, exactly as it is, such as a branch's; repeat it for
    /// several. Replaces the attribute `name`
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    #[command(flatten)]
    pub plugin: PluginArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
}

const CHECK_ATTRIBUTES: &str = "
Reading, writing, listing and deleting are tried on a probe, which is removed
afterwards. Nothing else is touched, and nothing is created. The exit code is 0 if
the credential is sufficient: with `--to` for a push, which reads and writes, and
with `--from` for a pull, which reads.";

/// `build-cache login`: another way to say it.
#[derive(Debug, Subcommand)]
pub enum LoginCommand {
    /// The same as `build-cache check`
    Check(CheckArgs),
}

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show what a plugin is, what it accepts and what it may reach
    Inspect {
        /// The plugin
        #[arg(value_name = "FILE.wasm")]
        file: PathBuf,
        #[command(flatten)]
        grants: GrantArgs,
    },
    /// List the plugins that are found, and where they are looked for
    List(FolderArgs),
}

/// Which plugin serves the type.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Plugin")]
pub struct PluginArgs {
    /// Use this plugin, instead of looking for TYPE.wasm
    #[arg(long, value_name = "FILE.wasm")]
    pub plugin: Option<PathBuf>,
    #[command(flatten)]
    pub folders: FolderArgs,
    #[command(flatten)]
    pub grants: GrantArgs,
}

/// What the plugin gets beyond what plugins of its type get.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Plugin")]
pub struct GrantArgs {
    /// Let the plugin have this as well, which its description asks for: an
    /// environment variable, a file, a server or `scope:SCOPE`, as `plugin
    /// inspect` shows it. May be repeated
    #[arg(long, value_name = "NAME")]
    pub grant: Vec<String>,
}

/// Where plugins are looked for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Plugin")]
pub struct FolderArgs {
    /// Look for plugins here first
    #[arg(long, value_name = "DIR")]
    pub plugin_dir: Option<PathBuf>,
}

/// How the store is reached.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Trust the certificate authorities in this PEM file as well
    #[arg(long, value_name = "FILE")]
    pub ca_file: Vec<PathBuf>,
    /// How long connecting may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
    pub connect_timeout: u64,
    /// How long a request may go without a byte moving, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 75, value_parser = seconds())]
    pub idle_timeout: u64,
}

/// A time-out of 0 would end every request, and a day is as good as none.
fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=24 * 60 * 60)
}
