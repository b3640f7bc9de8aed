//! The command line of `capa-worker`: one file a verb.

mod print;
mod run;
mod register;
mod jobs;
mod earnings;
mod withdraw;
mod drain;
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
    /// Runs jobs for the worker that started it. It is of no use to anybody else.
    #[command(hide = true)]
    Runner,
    /// Tells whether the registry knows provider and worker key, and what to do if not.
    Register(register::Register),
    /// Lists jobs.
    Jobs(jobs::Jobs),
    /// Prints what each keeper and the direct clients owe and have paid.
    Earnings(earnings::Show),
    /// Pays out everything that is due to the provider's address, whatever the minimum and the gas.
    Withdraw(withdraw::Withdraw),
    /// Has the running worker take nothing more, finish what it has, and end; waits for that.
    Drain(drain::Drain),
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
            Self::Runner => Ok(crate::runner::run()),
            Self::Run(file) => wait_for(run::run(file)),
            Self::Status(file) => wait_for(async {
                println!("{:#}", crate::status(&file.load()?).await?);
                Ok(ExitCode::SUCCESS)
            }),
            Self::Register(args) => wait_for(register::run(args)),
            Self::Jobs(args) => wait_for(jobs::run(args)),
            Self::Earnings(args) => wait_for(earnings::run(args)),
            Self::Withdraw(args) => wait_for(withdraw::run(args)),
            Self::Drain(args) => wait_for(drain::run(args)),
            Self::Image(file) => image::unpack(&file.load()?.execute.oci),
        }
    }
}

fn wait_for(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
