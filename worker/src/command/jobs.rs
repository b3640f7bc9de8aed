//! `capa-worker jobs`: what this worker ran, from its ledger; also while it runs.

use super::File;
use super::print::{line, print, table};
use crate::ledger::{JobRow, JobStage, Ledger};
use alloy::primitives::Address;
use clap::Args;
use clap::builder::PossibleValuesParser;
use protocol::amount::{Amount, Timestamp};
use protocol::job::Kind;
use protocol::order::JobId;
use serde::Serialize;
use std::process::ExitCode;

/// What to list.
#[derive(Debug, Args)]
pub struct Jobs {
    #[command(flatten)]
    file: File,
    /// Only jobs in this state
    #[arg(long, value_parser = PossibleValuesParser::new(JobStage::ALL.map(JobStage::as_str)))]
    state: Option<String>,
    /// At most so many, the newest first
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Print JSON; amounts are in nano
    #[arg(long)]
    json: bool,
}

/// One job.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    job: JobId,
    state: &'static str,
    kind: Option<Kind>,
    /// Absent of a direct job.
    keeper: Option<Address>,
    payer: Address,
    billed: Amount,
    paid: Amount,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
    reason: Option<String>,
}

impl View {
    fn new(row: JobRow, billed: Amount, provider: Address) -> Self {
        let keeper = row.assignment.keeper;
        Self {
            job: row.assignment.job(),
            state: row.stage.as_str(),
            kind: row.kind,
            keeper: (keeper != provider).then_some(keeper),
            payer: row.assignment.order.order.payer,
            billed,
            paid: row.paid,
            created_at: row.created_at,
            ended_at: row.ended_at,
            reason: row.refusal.map(|refusal| refusal.detail),
        }
    }
}

/// Lists them.
pub(super) async fn run(args: Jobs) -> anyhow::Result<ExitCode> {
    let config = args.file.load()?;
    let stage = args.state.as_deref().and_then(|name| JobStage::ALL.into_iter().find(|stage| stage.as_str() == name));
    let ledger = Ledger::open_for_reading(&config.data).await?;
    let rows = ledger.newest_jobs(stage, args.limit).await?;
    let views: Vec<View> = rows.into_iter().map(|(row, billed)| View::new(row, billed, config.provider)).collect();
    let mut shown = table(&["job", "state", "kind", "billed CAPA", "paid CAPA", "for", "reason"]);
    for view in &views {
        shown.add_row([
            view.job.to_string(),
            view.state.to_owned(),
            view.kind.map(|kind| kind.to_string()).unwrap_or_default(),
            view.billed.to_capa(),
            view.paid.to_capa(),
            view.keeper.map_or_else(|| "direct".to_owned(), |keeper| keeper.to_string()),
            view.reason.as_deref().map(line).unwrap_or_default(),
        ]);
    }
    print(args.json, &views, &shown.to_string())?;
    Ok(ExitCode::SUCCESS)
}
