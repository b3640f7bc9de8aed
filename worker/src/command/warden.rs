//! `capa-worker warden`: ends what a worker that was killed cannot end any more.

use crate::execute::keep_watch;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where containers are.
#[derive(Debug, Args)]
pub struct Warden {
    /// The runc program.
    #[arg(long)]
    runc: PathBuf,
    /// The folder of the worker's containers.
    #[arg(long)]
    state: PathBuf,
}

impl Warden {
    /// Waits for the end of its standard input, which is that of the worker.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        keep_watch(self.runc, &self.state, std::io::stdin().lock())?;
        Ok(ExitCode::SUCCESS)
    }
}
