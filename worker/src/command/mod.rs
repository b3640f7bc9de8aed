//! The command line of `capa-worker`: one file a verb.

mod print;
mod init;
mod doctor;
mod bench;
mod register;
mod run;
mod status;
mod jobs;
mod earnings;
mod withdraw;
mod drain;
mod image;
mod warden;

use crate::Config;
use clap::{Args, Parser};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Sells compute of this machine for CAPA.
#[derive(Debug, Parser)]
#[command(version)]
pub enum Command {
    /// Writes a commented configuration and makes a worker key.
    Init(Box<init::Init>),
    /// Looks at everything that keeps this worker from earning, and says what to do about it.
    ///
    /// The exit code is 0 if nothing failed, else the class of the first failure: 2 configuration, 3 key, 4 chain,
    /// 5 registry, 6 sandbox, 7 GPU, 8 disk, 9 clock, 10 market.
    Doctor(doctor::Doctor),
    /// Measures this machine, and signs what was measured.
    Bench(bench::Bench),
    /// Tells whether the registry knows provider and worker key, and what to do if not.
    Register(register::Register),
    /// Takes jobs until it is told to stop.
    Run(File),
    /// Prints this worker's own view beside the market's view of it.
    Status(status::Status),
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
    /// Prints what the CUDA libraries say of themselves; `doctor` asks it.
    #[command(hide = true)]
    Inventory,
    /// Measures the first GPU by the plain driver and through the worker; `bench` asks it.
    #[command(hide = true)]
    Anchors,
    /// Prints how the GPUs are, line by line; a running worker asks it.
    #[command(hide = true)]
    Monitor,
    /// Ends the containers of the worker that started it once that is gone.
    #[command(hide = true)]
    Warden(warden::Warden),
    /// Runs jobs for the worker that started it. It is of no use to anybody else.
    #[command(hide = true)]
    Runner,
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
        load(&self.config)
    }
}

/// Reads a configuration; `CAPA_WORKER_…` in the environment overrides it.
pub(crate) fn load(path: &Path) -> Result<Config, service::config::ConfigError> {
    service::config::load(Some(path), "CAPA_WORKER_")
}

impl Command {
    /// Does what was asked for. The exit code tells scripts what was wrong.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        // A runtime starts threads, and a job's process must not have any before it is locked: so each verb that
        // needs one starts it itself.
        match self {
            Self::Init(init) => init.run(),
            Self::Doctor(doctor) => wait_for(doctor.run()),
            Self::Bench(bench) => wait_for(bench.run()),
            Self::Register(args) => wait_for(register::run(args)),
            Self::Run(file) => wait_for(run::run(file)),
            Self::Status(status) => wait_for(status.run()),
            Self::Jobs(args) => wait_for(jobs::run(args)),
            Self::Earnings(args) => wait_for(earnings::run(args)),
            Self::Withdraw(args) => wait_for(withdraw::run(args)),
            Self::Drain(args) => wait_for(drain::run(args)),
            Self::Image(file) => image::unpack(&file.load()?.execute.oci),
            Self::Warden(warden) => warden.run(),
            Self::Runner => Ok(crate::runner::run()),
            Self::Inventory => doctor::take_inventory(),
            Self::Anchors => bench::measure_anchors(),
            Self::Monitor => {
                crate::monitor::report(&mut std::io::stdout().lock())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn wait_for(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
