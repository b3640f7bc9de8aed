//! `capa-dev`: the whole system as processes, and the main job walked through it.

pub mod report;
pub mod town;
pub mod walk;
pub mod watch;

use crate::layout::Tuning;
use crate::tools;
use clap::{Parser, Subcommand};
use protocol::job::Kind;
use report::Timings;
use service::health::Health;
use std::path::PathBuf;
use std::time::Instant;
use town::Town;
use worker::fleet::{Fleet, FleetConfig};

/// Starts an embedded chain, deploys the contracts, starts keeper, indexer and worker, and walks the main job.
#[derive(Debug, Parser)]
#[command(name = "capa-dev", version)]
pub struct Options {
    /// Ends after the walk instead of staying up.
    #[arg(long)]
    pub once: bool,
    /// Prints the walk's report as one JSON document on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
    /// Folder for the network's files; what is in it is replaced.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// Takes any free ports instead of the usual ones, so that several networks can start at once.
    #[arg(long)]
    pub free_ports: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a command that ends as soon as its parent does.
    #[command(hide = true)]
    Guard {
        /// Program and arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Runs one service in this process, for the end-to-end tests.
    #[command(hide = true)]
    Service {
        /// `keeper`, `indexer` or `worker`.
        name: String,
        /// Its configuration.
        config: PathBuf,
    },
}

/// The program.
pub async fn run(options: Options) -> anyhow::Result<()> {
    match options.command {
        Some(Command::Guard { command }) => Err(tools::exec_guarded(&command)),
        Some(Command::Service { name, config }) => crate::services::run(&name, &config).await,
        None => network(&options).await,
    }
}

async fn network(options: &Options) -> anyhow::Result<()> {
    let start = Instant::now();
    let shutdown = service::shutdown::on_signal();
    let folder = options.folder.clone().unwrap_or_else(|| tools::root().join(".capa/dev"));
    let kinds = kinds().await?;
    let mut tuning = Tuning::default();
    if kinds.contains(&Kind::Cuda) {
        tuning.offers.push("gpu.h200");
    }
    let mut timings = Timings::default();
    eprintln!("Capa on this machine");
    let mut town = tokio::select! {
        town = Town::start(&folder, options.free_ports, &tuning, &mut timings) => town?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let walked = tokio::select! {
        report = walk::walk(&mut town, &kinds, timings, start) => report,
        () = shutdown.cancelled() => { town.stop(); return Ok(()) }
    };
    let report = walked.map_err(|error| town.check().err().unwrap_or(error))?;
    eprintln!("done in {:.1} s", report.timings.total);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    if !options.once {
        stay(&town);
        shutdown.cancelled().await;
    }
    town.stop();
    Ok(())
}

/// Kinds of jobs that this machine can run: what processes as the worker's can do.
async fn kinds() -> anyhow::Result<Vec<Kind>> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().to_path_buf();
    let config = FleetConfig::new(tools::capa_worker()?, data, 1, Default::default(), Default::default());
    let fleet = Fleet::start(config, Health::new()).await?;
    let kinds = fleet.inventory().kinds;
    fleet.close().await;
    Ok(kinds)
}

fn stay(town: &Town) {
    let config = town.layout.file("capa.toml");
    let program = std::env::current_exe().map_or_else(|_| PathBuf::from("capa"), |own| own.with_file_name("capa"));
    let capa = format!("{} --config {}", program.display(), config.display());
    eprintln!("everything stays up; try");
    eprintln!("  {capa} market book cpu.x86-64");
    eprintln!("  {capa} job submit examples/sha256 --kind wasm --max-total 1 --watch");
    eprintln!("Ctrl-C ends it.");
}
