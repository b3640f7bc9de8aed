//! `capa-worker earnings`: where the money stands, from the ledger; also while the worker runs.

use super::File;
use super::print::{print, table};
use crate::ledger::{Earnings, KeeperEarnings, Ledger};
use clap::Args;
use std::process::ExitCode;

/// What to print.
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    file: File,
    /// Print JSON; amounts are in nano
    #[arg(long)]
    json: bool,
}

/// Prints what each keeper and the direct clients owe and have paid.
pub(super) async fn run(args: Show) -> anyhow::Result<ExitCode> {
    let config = args.file.load()?;
    let earnings = Ledger::open_for_reading(&config.data).await?.earnings(config.provider).await?;
    print(args.json, &earnings, &text(&earnings))?;
    Ok(ExitCode::SUCCESS)
}

fn text(earnings: &Earnings) -> String {
    let mut text = String::from("All amounts are in CAPA.\n");
    for keeper in &earnings.keepers {
        text.push_str(&format!("\nkeeper {}\n{}\n", keeper.keeper, sums(keeper)));
        if keeper.batches.is_empty() {
            continue;
        }
        let mut batches = table(&["batch", "state", "accepted here", "proven for the provider", "recovered"]);
        for batch in &keeper.batches {
            batches.add_row([
                batch.batch.to_string(),
                batch.state.to_owned(),
                batch.accepted.to_capa(),
                batch.leaf.to_capa(),
                batch.recovered.to_capa(),
            ]);
        }
        text.push_str(&format!("\n{batches}\n"));
    }
    let direct = &earnings.direct;
    let mut sums = table(&["direct clients", "amount"]);
    sums.add_row(["not accepted", &direct.unaccepted.to_capa()]);
    sums.add_row(["not redeemed, with fees", &direct.unredeemed.to_capa()]);
    sums.add_row(["redeemed, with fees", &direct.redeemed.to_capa()]);
    text.push_str(&format!("\n{sums}"));
    text
}

fn sums(keeper: &KeeperEarnings) -> String {
    let mut sums = table(&["what", "amount"]);
    for (what, amount) in [
        ("not accepted", keeper.unaccepted),
        ("accepted, not final", keeper.accepted),
        ("final, not claimed", keeper.unclaimed),
        ("claimed", keeper.claimed),
        ("void, not recovered", keeper.void),
        ("recovered", keeper.recovered),
    ] {
        sums.add_row([what, &amount.to_capa()]);
    }
    sums.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::Address;
    use protocol::amount::Amount;

    #[test]
    fn amounts_are_exact() {
        let keeper = KeeperEarnings {
            keeper: Address::repeat_byte(6),
            unaccepted: Amount(1),
            accepted: Amount(1_500_000_000),
            unclaimed: Amount(0),
            claimed: Amount(u64::MAX),
            void: Amount(0),
            recovered: Amount(0),
            batches: vec![],
        };
        let shown = text(&Earnings { keepers: vec![keeper], direct: Default::default() });
        for amount in ["0.000000001", "1.500000000", "18446744073.709551615"] {
            assert!(shown.contains(amount), "{amount} in {shown}");
        }
    }
}
