//! The command line of `capa-worker`: one file a verb.

mod image;

use crate::Config;
use clap::{Args, Parser};
use std::path::PathBuf;
use std::process::ExitCode;

/// Sells compute of this machine for CAPA.
#[derive(Debug, Parser)]
#[command(version)]
pub enum Command {
    /// Takes jobs until it is told to stop.
    Run(File),
    /// Prints jobs, earnings and health of the worker with this configuration, as JSON.
    Status(File),
    /// Checks and unpacks the container images that jobs may run, so that no job waits for that.
    Image(File),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct File {
    /// The configuration file; `worker.example.toml` shows every key.
    #[arg(long)]
    pub config: PathBuf,
}

impl File {
    /// Reads the configuration; `CAPA_WORKER_…` in the environment overrides it.
    pub fn load(&self) -> Result<Config, service::config::ConfigError> {
        service::config::load(Some(&self.config), "CAPA_WORKER_")
    }
}

impl Command {
    /// Does what was asked for. The exit code tells scripts what was wrong.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        // A runtime starts threads, and a job's process must not have any before it is locked: so each verb that
        // needs one starts it itself.
        match self {
            Self::Run(file) => wait_for(async { Ok(crate::run(file.load()?, service::shutdown::on_signal()).await?) })?,
            Self::Status(file) => wait_for(async {
                println!("{:#}", crate::status(&file.load()?).await?);
                Ok(())
            })?,
            Self::Image(file) => return image::unpack(&file.load()?.execute.oci),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn wait_for(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
