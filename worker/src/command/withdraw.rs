//! `capa-worker withdraw`: pays out everything that can be paid now, whatever the minimum and the gas.
//!
//! It goes to the provider's address, which the contract takes from the signed messages: neither this command nor the
//! worker key can send it anywhere else. Where the worker runs, it does the work; else this process does.

use super::File;
use super::print::{print, table};
use crate::account;
use crate::admin::{AdminClient, AdminError};
use crate::config::Config;
use crate::watch::{Payout, PayoutKind};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Exit status where something that is due could not be paid.
const NOT_PAID: u8 = 4;

/// How to print.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 all that is due was paid, or nothing is; 4 something could not be paid; 1 otherwise."
)]
pub struct Withdraw {
    #[command(flatten)]
    file: File,
    /// Print JSON; amounts are in nano
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    provider: alloy::primitives::Address,
    payouts: &'a [Payout],
    /// Why not all was paid.
    failure: Option<String>,
}

/// Pays out and prints the transactions.
pub(super) async fn run(args: Withdraw) -> anyhow::Result<ExitCode> {
    let config = args.file.load()?;
    let (payouts, failure) = match ask(&config).await {
        Ok(payouts) => (payouts, None),
        Err(AdminError::NotRunning(_)) => {
            let (payouts, result) = account::withdraw(config.clone()).await?;
            (payouts, result.err().map(|error| error.to_string()))
        }
        Err(AdminError::Refused(reason)) => (Vec::new(), Some(reason)),
        Err(error) => return Err(error.into()),
    };
    let mut shown = table(&["payout", "due CAPA", "of", "items", "transaction", "gas"]);
    for payout in &payouts {
        shown.add_row([
            name(payout.kind).to_owned(),
            payout.amount.to_capa(),
            payout.keeper.to_string(),
            payout.items.to_string(),
            payout.transaction.to_string(),
            payout.gas.to_string(),
        ]);
    }
    let mut text = if payouts.is_empty() { "nothing is due now".to_owned() } else { shown.to_string() };
    if let Some(failure) = &failure {
        text = format!("{text}\nnot all could be paid: {failure}");
    }
    let is_paid = failure.is_none();
    print(args.json, &Document { provider: config.provider, payouts: &payouts, failure }, &text)?;
    Ok(if is_paid { ExitCode::SUCCESS } else { ExitCode::from(NOT_PAID) })
}

async fn ask(config: &Config) -> Result<Vec<Payout>, AdminError> {
    AdminClient::find(config)?.withdraw().await
}

const fn name(kind: PayoutKind) -> &'static str {
    match kind {
        PayoutKind::Claim => "claim",
        PayoutKind::Recovery => "recovery",
        PayoutKind::Redemption => "redemption",
    }
}
