//! `capa-keeper`: runs a keeper.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs a Capa keeper: a market and a ledger off chain, settled on chain in batches.
#[derive(Parser)]
#[command(name = "capa-keeper", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until it is told to stop.
    Run {
        /// The configuration file; keeper.example.toml shows every key.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run { config } = Arguments::parse().command;
    let result = async {
        let config = service::config::load(config.as_deref(), "CAPA_KEEPER_")?;
        anyhow::Ok(keeper::run(config, service::shutdown::on_signal()).await?)
    };
    match result.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capa-keeper: {error:#}");
            ExitCode::FAILURE
        }
    }
}
