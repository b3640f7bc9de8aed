//! Redeems direct vouchers: when a channel owes enough, and at once when its client takes the rest back.

use super::send::{List, Payout, PayoutKind, lists};
use super::{Demand, Watch, WatchError};
use crate::ledger::DirectRow;
use crate::observe;
use alloy::primitives::{Address, Bytes, keccak256};
use alloy::sol_types::SolCall;
use protocol::amount::Amount;
use protocol::bindings::settlement;

/// Most vouchers of one transaction: about 13,000 gas each.
const VOUCHERS: usize = 100;

/// A channel's newest voucher, and what it would pay now.
#[derive(Debug, Clone)]
struct Redeemable {
    row: DirectRow,
    value: Amount,
}

/// Vouchers of one provider.
struct Redemptions {
    provider: Address,
}

impl List for Redemptions {
    type Item = Redeemable;

    fn key(&self, items: &[Redeemable]) -> String {
        format!("redeem:{}", keccak256(self.call(items)))
    }

    fn call(&self, items: &[Redeemable]) -> Vec<u8> {
        let packed: Vec<u8> = items.iter().flat_map(|item| item.row.voucher.to_debit()).collect();
        settlement::redeemCall { keeper: self.provider, vouchers: Bytes::from(packed) }.abi_encode()
    }

    fn size(&self, item: &Redeemable) -> usize {
        item.row.voucher.to_debit().len()
    }
}

impl Watch {
    /// Redeems channels that owe enough, and all that are closing.
    pub(super) async fn redeem(&self, demand: Demand, paid: &mut Vec<Payout>) -> Result<(), WatchError> {
        let (mut closing, mut enough) = (Vec::new(), Vec::new());
        for row in self.ledger.redeemable().await? {
            let Some((item, is_closing)) = self.redeemable(row).await? else { continue };
            if is_closing {
                closing.push(item);
            } else if demand == Demand::Everything || item.value >= self.least_redemption() {
                enough.push(item);
            }
        }
        if closing.is_empty() && enough.is_empty() {
            return Ok(());
        }
        if self.market.keeps_batches(self.provider()).await? {
            return Err(WatchError::PayoutKeepsBatches(self.provider()));
        }
        // After the thaw it is the client's again, so what is closing never waits for cheaper gas.
        let result = self.redeem_all(&closing, Demand::Everything, paid).await;
        result.and(self.redeem_all(&enough, demand, paid).await)
    }

    /// What a channel's voucher would pay now, and whether the channel is closing.
    async fn redeemable(&self, row: DirectRow) -> Result<Option<(Redeemable, bool)>, WatchError> {
        let facts = self.market.channel(self.provider(), row.channel).await?;
        let total = row.voucher.voucher.total;
        self.ledger.set_redeemed(row.channel, facts.spent, facts.safe_spent).await?;
        let value = Amount(total.get().saturating_sub(facts.spent.get()));
        if value == Amount::ZERO {
            return Ok(None);
        }
        if total > facts.held {
            // Only a channel that was withdrawn from after its thaw holds less than it once did.
            observe::voucher_uncovered(row.channel, value);
            return Ok(None);
        }
        Ok(Some((Redeemable { row, value }, facts.closing)))
    }

    async fn redeem_all(&self, items: &[Redeemable], demand: Demand, paid: &mut Vec<Payout>) -> Result<(), WatchError> {
        let redemptions = Redemptions { provider: self.provider() };
        let mut result = Ok(());
        for items in lists(&redemptions, items, VOUCHERS) {
            let value = Amount::sum(items.iter().map(|item| item.value))?;
            if !self.is_worth_sending(&redemptions.call(&items), value, demand).await? {
                observe::payout_waits("redemption", value);
                continue;
            }
            let (sent, failure) = self.send_all(&redemptions, &items).await;
            for (items, outcome) in sent {
                let amount = Amount::sum(items.iter().map(|item| item.value))?;
                for item in &items {
                    self.market.refresh(self.provider(), item.row.channel);
                }
                observe::redeemed(amount, items.len());
                let (keeper, items, transaction, gas) = (self.provider(), items.len(), outcome.hash, outcome.gas_used);
                paid.push(Payout { kind: PayoutKind::Redemption, keeper, amount, items, transaction, gas });
            }
            result = result.and(failure);
        }
        result
    }
}
