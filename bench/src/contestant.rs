//! Contestants as processes: started, given their task, heard.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bench_contest::{Report, Task, Work};

use crate::plan::Contestant;

/// Where the programs are.
#[derive(Clone, Debug, clap::Args)]
pub struct Programs {
    /// The component
    #[arg(long, value_name = "FILE")]
    pub plugin: PathBuf,
    /// The program of the native clients
    #[arg(long, value_name = "FILE")]
    pub peers: PathBuf,
    /// The command `build-cache`
    #[arg(long, value_name = "FILE")]
    pub command: PathBuf,
    /// Folder for layers, compiled code and results
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
}

impl Programs {
    /// Where compiled components are kept.
    pub fn compiled(&self) -> PathBuf {
        self.folder.join("compiled")
    }

    /// Has a contestant do a task, in a new process.
    pub fn perform(&self, contestant: Contestant, task: &Task) -> Result<Report> {
        let mut task = task.clone();
        if let Work::Pull { verify } = &mut task.work {
            *verify = contestant.checks_digests();
        }
        let mut command = self.command_of(contestant)?;
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        if let Some(mut stdin) = process.stdin.take() {
            stdin.write_all(&serde_json::to_vec(&task)?)?;
        }
        let output = process.wait_with_output()?;
        let name = contestant.name();
        if !output.status.success() {
            bail!("{name} failed ({})", output.status);
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("{name} gave no report"))
    }

    fn command_of(&self, contestant: Contestant) -> Result<Command> {
        let mut this = Command::new(std::env::current_exe()?);
        let mut peers = Command::new(&self.peers);
        Ok(match contestant {
            Contestant::Ours | Contestant::OursBytesAlone => {
                this.arg("ours");
                this.arg("--plugin").arg(&self.plugin);
                this.arg("--compiled").arg(self.compiled());
                this
            }
            Contestant::BuildkitModel => {
                this.arg("buildkit-model");
                this
            }
            Contestant::ObjectStore | Contestant::ObjectStoreHashing => {
                peers.arg("object_store");
                peers
            }
            Contestant::Opendal | Contestant::OpendalHashing => {
                peers.arg("opendal");
                peers
            }
        })
    }
}
