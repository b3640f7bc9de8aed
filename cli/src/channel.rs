//! `capa channel`: the deposit that jobs are paid from.

use crate::context::Context;
use crate::error::CliError;
use crate::output::table;
use alloy::primitives::Address;
use client::anchor::Anchor;
use client::wallet::Receipt;
use protocol::amount::Amount;
use protocol::voucher::ChannelId;
use serde_json::json;
use service::chain::Tag;
use std::time::{Duration, Instant};

/// How long `open` waits for its block to be safe: enough for a local chain; on others a hint is printed instead.
const SAFE_PATIENCE: Duration = Duration::from_secs(30);

/// Verbs of `channel`.
#[derive(Debug, clap::Subcommand)]
pub enum ChannelCommand {
    /// Deposit CAPA for the session key to spend with one keeper; again to add to it
    Open {
        /// How much, in CAPA, such as 25.5
        #[arg(value_parser = crate::channel::capa)]
        amount: Amount,
        #[command(flatten)]
        with: With,
    },
    /// Print what is deposited, spent and left
    Status {
        #[command(flatten)]
        with: With,
    },
    /// Start the withdrawal; what was signed before can still be collected until the channel has thawed
    Close {
        #[command(flatten)]
        with: With,
    },
    /// Take back what is left, once the channel has thawed
    Withdraw {
        #[command(flatten)]
        with: With,
    },
}

/// The other side of a channel.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct With {
    /// The keeper's address, or a provider's for a direct channel; else whoever answers at --keeper
    #[arg(long, value_name = "ADDRESS")]
    pub with: Option<Address>,
}

/// Runs a verb.
pub async fn run(command: ChannelCommand, context: &Context) -> Result<(), CliError> {
    match command {
        ChannelCommand::Open { amount, with } => open(context, amount, with).await,
        ChannelCommand::Status { with } => status(context, with).await,
        ChannelCommand::Close { with } => {
            let keeper = context.channel_keeper(with.with).await?;
            let (_, signer) = context.parties()?;
            let question = format!("Closes the channel with {keeper}: no new debits, withdrawal after the thaw.");
            context.output.confirm(&question, context.settings.yes)?;
            report(context, "closed", &context.wallet().await?.close_channel(signer, keeper).await?)
        }
        ChannelCommand::Withdraw { with } => {
            let keeper = context.channel_keeper(with.with).await?;
            let (_, signer) = context.parties()?;
            report(context, "withdrawn", &context.wallet().await?.withdraw_channel(signer, keeper).await?)
        }
    }
}

async fn open(context: &Context, amount: Amount, with: With) -> Result<(), CliError> {
    let keeper = context.channel_keeper(with.with).await?;
    let (_, signer) = context.parties()?;
    let question = format!("Deposits {} CAPA with {keeper}, to be spent by session key {signer}.", amount.to_capa());
    context.output.confirm(&question, context.settings.yes)?;
    let wallet = context.wallet().await?;
    let receipt = wallet.open_channel(signer, keeper, amount).await?;
    wait_until_safe(context, receipt.block).await?;
    report(context, "opened", &receipt)
}

/// A keeper counts a deposit from the chain's safe head, so an order before that would be refused.
async fn wait_until_safe(context: &Context, block: u64) -> Result<(), CliError> {
    let chain = context.chain(&context.book()?).await?;
    let start = Instant::now();
    while chain.head(Tag::Safe).await?.number < block {
        if start.elapsed() > SAFE_PATIENCE {
            context.output.note("the deposit counts once its block is safe; orders are refused until then");
            return Ok(());
        }
        tokio::time::sleep(chain.poll()).await;
    }
    Ok(())
}

async fn status(context: &Context, with: With) -> Result<(), CliError> {
    let keeper = context.channel_keeper(with.with).await?;
    let (payer, signer) = context.parties()?;
    let (_, anchor) = context.anchor().await?;
    let id = ChannelId::of(payer, signer, keeper);
    let state = anchor.channel(id).await?;
    // The keeper knows of vouchers that are not collected yet; without it the chain's word is all there is.
    let account = match context.keeper() {
        Ok(api) => api.vouchers(id).await.ok(),
        Err(_) => None,
    };
    let signed = account.as_ref().map_or(state.spent, |view| view.account.total.max(state.spent));
    let reserved = account.as_ref().map_or(Amount::ZERO, |view| view.reserved);
    let left = state.deposit.minus(signed).and_then(|left| left.minus(reserved)).unwrap_or_default();
    let mut view = table(&["channel", id.to_string().as_str()]);
    let closing = state.thaw_at.map_or_else(|| "no".into(), |at| format!("withdrawal from Unix time {at} on"));
    for (name, value) in [
        ("with", keeper.to_string()),
        ("session key", signer.to_string()),
        ("deposit", state.deposit.to_capa()),
        ("spent on chain", state.spent.to_capa()),
        ("signed", signed.to_capa()),
        ("reserved for jobs", reserved.to_capa()),
        ("left", left.to_capa()),
        ("closing", closing),
    ] {
        view.add_row([name.to_owned(), value]);
    }
    let document = json!({
        "channel": id, "payer": payer, "signer": signer, "keeper": keeper,
        "deposit": state.deposit, "spent": state.spent, "settled": state.settled,
        "signed": signed, "reserved": reserved, "left": left, "thawAt": state.thaw_at,
    });
    context.output.data(&document, &view)
}

/// Prints a settled transaction.
pub fn report(context: &Context, what: &str, receipt: &Receipt) -> Result<(), CliError> {
    let mut view = table(&["done", "transaction", "block", "gas"]);
    let row = [what.to_owned(), receipt.transaction.to_string(), receipt.block.to_string(), receipt.gas.to_string()];
    view.add_row(row);
    context.output.data(receipt, &view)
}

/// Reads an amount in CAPA.
pub fn capa(text: &str) -> Result<Amount, String> {
    Amount::from_capa(text).map_err(|error| error.to_string())
}
