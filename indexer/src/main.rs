//! `capa-indexer`: follows the chain, checks what keepers publish, and serves it.

use anyhow::Context;
use clap::{Parser, Subcommand};
use indexer::{Config, Indexer};
use std::path::PathBuf;

/// Price history, trades and batches of a Capa network, checked against the chain.
#[derive(Debug, Parser)]
#[command(name = "capa-indexer", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow the chain and serve the API until SIGINT or SIGTERM.
    Run {
        /// Configuration file; see indexer.example.toml. Variables CAPA_INDEXER_<KEY> go over it.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Write logs as JSON.
        #[arg(long)]
        json_logs: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Command::Run { config, json_logs } = Arguments::parse().command;
    let metrics = service::telemetry::init("capa-indexer", json_logs);
    let config: Config = service::config::load(config.as_deref(), "CAPA_INDEXER_")?;
    let shutdown = service::shutdown::on_signal();
    let indexer = Indexer::bind(config).await.context("the indexer cannot start")?;
    tracing::info!(api = %indexer.api_addr, admin = %indexer.admin_addr, "serving");
    indexer.with_metrics(metrics).run(shutdown).await.context("the indexer had to stop")
}
