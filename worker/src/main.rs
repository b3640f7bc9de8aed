//! `capa-worker`: sells compute of this machine.

use clap::{Args, Parser};
use std::{path::PathBuf, process::ExitCode};
use worker::Config;

/// Sells compute of this machine for CAPA.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Takes jobs until it is told to stop.
    Run(File),
    /// Prints jobs, earnings and health of the worker with this configuration, as JSON.
    Status(File),
}

#[derive(Args)]
struct File {
    /// The configuration file; `worker.example.toml` shows every key.
    #[arg(long)]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = execute(Command::parse()).await {
        eprintln!("capa-worker: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn execute(command: Command) -> anyhow::Result<()> {
    let load = |file: File| service::config::load::<Config>(Some(&file.config), "CAPA_WORKER_");
    match command {
        Command::Run(file) => worker::run(load(file)?, service::shutdown::on_signal()).await?,
        Command::Status(file) => println!("{:#}", worker::status(&load(file)?).await?),
    }
    Ok(())
}
