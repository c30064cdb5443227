//! `cargo xtask deny`: what we build from, held against `deny.toml`. Licences,
//! sources and unwanted crates can be checked anywhere; known vulnerabilities
//! take a database from the network. What cannot be checked is said.

use anyhow::Result;

use crate::process;
use crate::project::Project;
use crate::tool::DENY;

/// Checks all that can be checked here.
pub fn run(project: &Project) -> Result<()> {
    let deny = || DENY.command(project);
    if let Err(error) = deny() {
        println!(
            "NOT CHECKED: licences, sources, unwanted crates, known vulnerabilities: {error:#}"
        );
        return Ok(());
    }
    let mut check = deny()?;
    check.args(["--offline", "--workspace", "check"]);
    process::run(check.args(["bans", "licenses", "sources"]))?;
    // Fetched on its own, so that a missing network is told apart from a
    // vulnerability.
    if let Err(error) = process::output(deny()?.args(["fetch", "db"])) {
        println!(
            "NOT CHECKED: known vulnerabilities, since their database cannot be had: {error:#}"
        );
        return Ok(());
    }
    process::run(deny()?.args(["--workspace", "check", "advisories"]))
}
