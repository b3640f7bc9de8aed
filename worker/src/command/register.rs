//! `capa-worker register`: whether the registry knows provider and worker key, and what to do if not.
//!
//! Registering is the provider's own doing, with the wallet that is paid; its key has no place on this machine. The worker
//! key only has to consent, and that signature is printed here.

use super::File;
use super::print::print;
use crate::account::{Registration, registration};
use clap::Args;
use std::process::ExitCode;

/// Exit status where the registry does not know them yet.
const NOT_REGISTERED: u8 = 5;

/// What to print.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 the worker can sell for its provider; 5 something is to be done first; 1 otherwise."
)]
pub struct Register {
    #[command(flatten)]
    file: File,
    /// Print the signature by which the worker key consents, and nothing else
    #[arg(long)]
    consent: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Looks, and tells what is to be done.
pub(super) async fn run(args: Register) -> anyhow::Result<ExitCode> {
    let found = registration(args.file.load()?).await?;
    let text = if args.consent { found.consent.to_string() } else { text(&found) };
    print(args.json, &found, &text)?;
    let is_done = args.consent || found.to_do.is_empty();
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(NOT_REGISTERED) })
}

fn text(found: &Registration) -> String {
    let state = |is: bool| if is { "registered" } else { "not registered" };
    let (staked, least) = (found.staked.to_capa(), found.minimum_stake.to_capa());
    let stake = format!("{staked} CAPA (at least {least}, or nothing)");
    let mut text = format!(
        "provider    {}  {}, stake {stake}\nworker key  {}  {}, {} wei for gas\n",
        found.provider,
        state(found.is_provider),
        found.worker,
        state(found.is_worker),
        found.balance,
    );
    if found.to_do.is_empty() {
        text.push_str("\nnothing is to be done");
    } else {
        text.push_str("\nto be done, the first two with the provider's wallet, which need not be on this machine:");
        for step in &found.to_do {
            text.push_str(&format!("\n- {step}"));
        }
    }
    text
}
