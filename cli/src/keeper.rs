//! `capa keeper`: a keeper's bond, and its terms.

use crate::channel::{capa, report};
use crate::context::Context;
use crate::error::CliError;
use crate::output::table;
use alloy::primitives::Address;
use client::anchor::{Anchor, Settling};
use protocol::amount::Amount;
use serde_json::json;

/// Verbs of `keeper`.
#[derive(Debug, clap::Subcommand)]
pub enum KeeperCommand {
    /// Post or raise the bond of the wallet's key, which thereby is a keeper
    Bond {
        /// How much, in CAPA
        #[arg(value_parser = capa)]
        amount: Amount,
        /// Who can end the keeper and take the bond back: an address whose key lies elsewhere
        #[arg(long)]
        owner: Address,
    },
    /// Print a keeper's terms and where it stands on chain
    Status,
}

/// Runs a verb.
pub async fn run(command: KeeperCommand, context: &Context) -> Result<(), CliError> {
    match command {
        KeeperCommand::Bond { amount, owner } => {
            let wallet = context.wallet().await?;
            let question =
                format!("Posts {} CAPA as the bond of {}, owned by {owner}.", amount.to_capa(), wallet.address());
            context.output.confirm(&question, context.settings.yes)?;
            report(context, "bonded", &wallet.bond(amount, owner).await?)
        }
        KeeperCommand::Status => status(context).await,
    }
}

async fn status(context: &Context) -> Result<(), CliError> {
    let info = context.keeper()?.info().await?;
    let (_, anchor) = context.anchor().await?;
    let settling = anchor.settling(info.keeper).await?;
    let mut view = table(&["keeper", info.keeper.to_string().as_str()]);
    let status = match settling {
        Settling::Netted(terms) => format!("{:?}, batch {} on chain", terms.status, terms.current),
        Settling::Direct { .. } => "no bond: direct payments only".into(),
    };
    for (name, value) in [
        ("status", status.clone()),
        ("batch being filled", info.batch.to_string()),
        ("protocol fee", format!("{} basis points", info.fees.protocol_bps)),
        ("keeper's fee", format!("{} basis points", info.fees.keeper_bps)),
        ("per channel and batch", format!("{} CAPA", info.fees.per_channel.to_capa())),
    ] {
        view.add_row([name.to_owned(), value]);
    }
    context.output.data(&json!({ "info": info, "status": status }), &view)
}
