//! What a user may write for `ls`, `rm` and `touch`.

use crate::args::{NetworkArgs, PluginArgs};

/// `build-cache ls`
#[derive(Debug, clap::Args)]
#[command(after_help = LS_HELP)]
pub struct LsArgs {
    /// The store
    #[arg(long, value_name = "ATTRIBUTES")]
    pub from: String,
    #[command(flatten)]
    pub plugin: PluginArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// `build-cache rm` and `build-cache touch`
#[derive(Debug, clap::Args)]
#[command(after_help = NAMES_HELP)]
pub struct NamesArgs {
    /// The store
    #[arg(long, value_name = "ATTRIBUTES")]
    pub to: String,
    /// The names, exactly as they are. Write `--` before a name that begins with
    /// a hyphen
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    #[command(flatten)]
    pub plugin: PluginArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
}

const LS_HELP: &str = "\
OWN is what no other cache in the list uses, and SHARED is the rest. AGE is the
time since the name was last written. Layers that the store has lost count for
nothing. A name that cannot be read is listed with the reason.

The attributes are written as for `build-cache pull`; `name` has no effect.";

const NAMES_HELP: &str = "\
The exit code is 1 if the store lacks one of the names; the others are processed.
With `ignore-error=true` that is a warning, and the exit code is 0.

The attributes are written as for `build-cache push`; `name` has no effect.";
