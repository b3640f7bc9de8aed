//! `capa-worker status`: the worker's own view beside the market's.

use super::File;
use clap::Args;
use std::process::ExitCode;

/// Which worker.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    file: File,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks everybody, and prints what they say.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let status = crate::status(&self.file.load()?).await?;
        if self.json {
            println!("{:#}", status.document());
        } else {
            println!("{status}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
