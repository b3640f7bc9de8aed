//! `capa-worker doctor`: what keeps this worker from earning.

use crate::doctor::{Options, examine};
use crate::execute::{CudaConfig, inventory};
use clap::Args;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to look at.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The configuration file; without one only the machine is looked at.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// Run every sample job of every kind, which takes a minute or two, instead of the quickest.
    #[arg(long)]
    full: bool,
}

impl Doctor {
    /// Makes the checks and prints them; the exit code is the first failure's class.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let options = Options { config: self.config, full: self.full, program: crate::config::this_program() };
        let report = examine(&options).await;
        if self.json {
            println!("{:#}", serde_json::to_value(&report)?);
        } else {
            println!("{report}");
        }
        Ok(ExitCode::from(report.exit_code()))
    }
}

/// The hidden verb that loads every CUDA library and prints what it found: its process may hang, the one that asked
/// does not.
pub(super) fn take_inventory() -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let config: CudaConfig = serde_json::from_str(&text)?;
    println!("{}", serde_json::to_string(&inventory::take(&config))?);
    Ok(ExitCode::SUCCESS)
}
