//! `capa-worker`: sells compute of this machine.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

#[derive(Parser)]
#[command(version, about = "Sells compute of this machine for CAPA")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Takes jobs until it is told to stop.
    Run {
        /// The configuration file; `worker.example.toml` shows every key.
        #[arg(long)]
        config: PathBuf,
    },
    /// Prints jobs, earnings and health of the worker with this configuration, as JSON.
    Status {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let load = |file: PathBuf| service::config::load::<worker::Config>(Some(&file), "CAPA_WORKER_");
    match Arguments::parse().command {
        Command::Run { config } => worker::run(load(config)?, service::shutdown::on_signal()).await?,
        Command::Status { config } => println!("{:#}", worker::status(&load(config)?).await?),
    }
    Ok(())
}
