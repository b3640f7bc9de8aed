//! `capa-worker drain`: has the running worker finish and end.

use super::File;
use crate::admin::{AdminClient, AdminError};
use crate::drain::Progress;
use crate::ledger::is_in_use;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Exit status where no worker runs.
const NOT_RUNNING: u8 = 3;
/// Exit status where it still drains.
const STILL_DRAINING: u8 = 6;
/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// How long to wait.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 the worker has ended; 3 none runs; 6 it still drains and goes on with that; 1 otherwise."
)]
pub struct Drain {
    #[command(flatten)]
    file: File,
    /// Seconds to wait for its end; it gives itself `drain.timeout_s`
    #[arg(long)]
    timeout: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Begins the drain and waits for the worker's end.
pub(super) async fn run(args: Drain) -> anyhow::Result<ExitCode> {
    let config = args.file.load()?;
    // What it waits for itself, and a little for its farewell.
    let timeout = Duration::from_secs(args.timeout.unwrap_or_else(|| config.drain.timeout_s.saturating_add(60)));
    let began = Instant::now();
    let worker = match AdminClient::find(&config) {
        Ok(worker) => worker,
        Err(AdminError::NotRunning(_)) => return not_running(args.json),
        Err(error) => return Err(error.into()),
    };
    let mut last = match worker.begin_drain().await {
        Ok(progress) => progress,
        Err(AdminError::NotRunning(_)) => return not_running(args.json),
        Err(error) => return Err(error.into()),
    };
    tell(args.json, &last);
    loop {
        tokio::time::sleep(LOOK).await;
        match worker.drain_progress().await {
            Ok(progress) if progress != last => {
                last = progress;
                tell(args.json, &last);
            }
            Ok(_) => {}
            // Its port closes a moment before it ends; a worker that was started anew has another token.
            Err(AdminError::NotRunning(_)) if is_in_use(&config.data) => {}
            Err(AdminError::NotRunning(_) | AdminError::Refused(_)) => {
                return end(args.json, "drained", "the worker has ended", 0);
            }
            Err(error) => return Err(error.into()),
        }
        if began.elapsed() >= timeout {
            return end(args.json, "draining", "the worker still drains; it goes on", STILL_DRAINING);
        }
    }
}

fn not_running(json: bool) -> anyhow::Result<ExitCode> {
    end(json, "notRunning", "no worker runs with this configuration", NOT_RUNNING)
}

/// Steps go to stderr, so that stdout has the one answer.
fn tell(json: bool, progress: &Progress) {
    if !json {
        eprintln!("draining: {} running, {} not settled", progress.running, progress.unsettled);
    }
}

fn end(json: bool, state: &str, text: &str, code: u8) -> anyhow::Result<ExitCode> {
    super::print::print(json, &json!({ "state": state }), text)?;
    Ok(ExitCode::from(code))
}
