//! The worst case: a keeper was wound down, and what it owes is recovered straight from the channels, before they are
//! their clients' again.

use super::send::{List, Payout, PayoutKind, lists};
use super::{Demand, Watch, WatchError};
use crate::ledger::BatchStage;
use crate::market::ReadError;
use crate::observe;
use alloy::eips::BlockId;
use alloy::primitives::{Address, Bytes, keccak256};
use alloy::sol_types::SolCall;
use protocol::amount::Amount;
use protocol::bindings::settlement;
use protocol::voucher::{Accepted, BatchNumber, ChannelId};
use std::collections::BTreeMap;

/// Most vouchers of one transaction: about 43,000 gas each.
const VOUCHERS: usize = 100;

/// An accepted voucher, and how far it is recovered.
#[derive(Debug, Clone)]
struct Item {
    accepted: Accepted,
    channel: ChannelId,
    /// What `recover` has paid for it, at the newest block.
    recovered: Amount,
    /// The same at the safe head.
    safe: Amount,
    /// What the channel can still pay, at the newest block.
    left: Amount,
}

impl Item {
    const fn batch(&self) -> BatchNumber {
        self.accepted.voucher.voucher.batch
    }

    const fn total(&self) -> Amount {
        self.accepted.voucher.voucher.total
    }

    /// What a call would pay: what is missing, as far as the channel has it.
    fn due(&self) -> Amount {
        let earned = self.accepted.voucher.voucher.latest.earned;
        Amount(earned.get().saturating_sub(self.recovered.get())).min(self.left)
    }
}

/// Recoveries from one keeper's channels.
struct Recoveries {
    keeper: Address,
}

impl List for Recoveries {
    type Item = Item;

    fn key(&self, items: &[Item]) -> String {
        // A list that was short before is sent again under another key.
        let paid: Vec<u8> = items.iter().flat_map(|item| item.recovered.get().to_be_bytes()).collect();
        format!("recover:{}:{}", self.keeper, keccak256([self.call(items), paid].concat()))
    }

    fn call(&self, items: &[Item]) -> Vec<u8> {
        let items: Vec<u8> = items.iter().flat_map(|item| item.accepted.to_recovery()).collect();
        settlement::recoverCall { keeper: self.keeper, items: Bytes::from(items) }.abi_encode()
    }

    fn size(&self, item: &Item) -> usize {
        item.accepted.to_recovery().len()
    }
}

impl Watch {
    /// Recovers every accepted voucher of the batches that will never be final. What fails is tried again in the next
    /// pass, until the recovery period ends.
    pub(super) async fn recover(
        &self,
        keeper: Address,
        demand: Demand,
        paid: &mut Vec<Payout>,
    ) -> Result<(), WatchError> {
        let rows = self.ledger.unsettled_batches(keeper).await?;
        let is_void = |stage| matches!(stage, BatchStage::Void | BatchStage::Recovered);
        let void: Vec<_> = rows.into_iter().filter(|row| is_void(row.stage)).map(|row| row.number).collect();
        if void.is_empty() {
            return Ok(());
        }
        let Some(end) = self.market.recovery_end(keeper).await? else {
            // A reorganisation took the wind-down back: the batches are to be proven and claimed after all.
            for batch in void {
                self.ledger.set_stage(keeper, batch, BatchStage::Open).await?;
            }
            return Ok(());
        };
        let mut items = Vec::new();
        for accepted in self.ledger.recoverable(keeper).await? {
            items.extend(self.item(keeper, accepted).await?);
        }
        let now = self.market.now().await?;
        let is_over = now >= end;
        self.note_recovered(keeper, &void, &items, is_over).await?;
        let mut open: Vec<Item> = items.into_iter().filter(|item| item.due() > Amount::ZERO).collect();
        if is_over || open.is_empty() {
            return Ok(());
        }
        sort(&mut open);
        // In the second half of the period nothing waits for cheaper gas any more.
        let is_urgent = now >= end.saturating_sub(self.market.periods().recovery / 2);
        self.send_recoveries(keeper, &open, if is_urgent { Demand::Everything } else { demand }, paid).await
    }

    async fn send_recoveries(
        &self,
        keeper: Address,
        open: &[Item],
        demand: Demand,
        paid: &mut Vec<Payout>,
    ) -> Result<(), WatchError> {
        let recoveries = Recoveries { keeper };
        let mut result = Ok(());
        for items in lists(&recoveries, open, VOUCHERS) {
            let due = Amount::sum(items.iter().map(Item::due))?;
            if !self.is_worth_sending(&recoveries.call(&items), due, demand).await? {
                observe::payout_waits("recovery", due);
                continue;
            }
            let (sent, failure) = self.send_all(&recoveries, &items).await;
            for (items, outcome) in sent {
                let amount = Amount::sum(items.iter().map(Item::due))?;
                observe::recovered(keeper, amount, items.len());
                let (transaction, gas) = (outcome.hash, outcome.gas_used);
                paid.push(Payout { kind: PayoutKind::Recovery, keeper, amount, items: items.len(), transaction, gas });
            }
            result = result.and(failure);
        }
        result
    }

    /// How far a voucher is recovered; `None` for a pair that was never counted, because its signature recovers nobody.
    async fn item(&self, keeper: Address, accepted: Accepted) -> Result<Option<Item>, ReadError> {
        let voucher = &accepted.voucher.voucher;
        let Ok(signer) = accepted.voucher.signer(&self.domain) else { return Ok(None) };
        let channel = ChannelId::of(voucher.payer, signer, keeper);
        let provider = self.provider();
        let recovered = self.market.recovered(channel, provider, voucher.batch, BlockId::latest()).await?;
        let safe = self.market.recovered(channel, provider, voucher.batch, BlockId::safe()).await?;
        self.market.refresh(keeper, channel);
        let facts = self.market.channel(keeper, channel).await?;
        let spent = facts.spent.max(voucher.total.min(facts.held));
        let left = Amount(spent.get().saturating_sub(facts.settled.get()));
        Ok(Some(Item { accepted, channel, recovered, safe, left }))
    }

    /// Writes down how far each batch is recovered. It is settled once there is nothing left to recover and the safe
    /// head shows it, or once the time is over.
    async fn note_recovered(
        &self,
        keeper: Address,
        void: &[BatchNumber],
        items: &[Item],
        is_over: bool,
    ) -> Result<(), WatchError> {
        for batch in void {
            let of_batch = || items.iter().filter(|item| item.batch() == *batch);
            self.ledger.set_recovered(keeper, *batch, Amount::sum(of_batch().map(|item| item.recovered))?).await?;
            let is_done = of_batch().all(|item| item.due() == Amount::ZERO);
            let stage = if is_done || is_over { BatchStage::Recovered } else { BatchStage::Void };
            self.ledger.set_stage(keeper, *batch, stage).await?;
            if is_over || (is_done && of_batch().all(|item| item.safe == item.recovered)) {
                self.ledger.set_safe(keeper, *batch).await?;
            }
        }
        Ok(())
    }
}

/// Puts the channels that have most at stake first, and of each channel the voucher with the highest total: it raises
/// what the channel has spent, out of which the others are paid as well.
fn sort(items: &mut [Item]) {
    let mut stakes: BTreeMap<ChannelId, Amount> = BTreeMap::new();
    for item in items.iter() {
        let stake = stakes.entry(item.channel).or_default();
        *stake = Amount(stake.get().saturating_add(item.due().get()));
    }
    let stake = |item: &Item| stakes.get(&item.channel).copied().unwrap_or_default();
    items.sort_by(|a, b| {
        let by_channel = stake(b).cmp(&stake(a)).then(a.channel.cmp(&b.channel));
        by_channel.then(b.total().cmp(&a.total())).then(b.batch().cmp(&a.batch()))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use alloy::primitives::B256;
    use protocol::voucher::SignedVoucher;

    fn item(session: u8, batch: BatchNumber, earned: u64, total: u64) -> Item {
        let session = fixture::key(session);
        let assignment = fixture::assignment_of(&session, fixture::keeper_key().address(), 1);
        let receipt = fixture::receipt(&assignment, 1, earned / 2, B256::ZERO);
        let mut voucher = fixture::voucher(&assignment, &session, &receipt, total).voucher;
        voucher.batch = batch;
        let voucher = SignedVoucher::sign(voucher, &fixture::domain(), &session);
        let accepted = fixture::accepted(voucher, earned, &fixture::keeper_key());
        let (channel, zero) = (assignment.channel, Amount::ZERO);
        Item { accepted, channel, recovered: zero, safe: zero, left: Amount(u64::MAX) }
    }

    #[test]
    fn the_highest_total_of_a_channel_comes_first() {
        let mut items = vec![item(1, 3, 100, 110), item(2, 3, 400, 500), item(1, 4, 80, 200), item(1, 5, 60, 150)];
        sort(&mut items);
        let order: Vec<_> = items.iter().map(|item| (item.batch(), item.total().get())).collect();
        assert_eq!(order, [(3, 500), (4, 200), (5, 150), (3, 110)]);
    }

    #[test]
    fn what_is_due_is_what_is_missing_and_there() {
        let mut item = item(1, 3, 100, 110);
        assert_eq!(item.due(), Amount(100));
        item.recovered = Amount(30);
        assert_eq!(item.due(), Amount(70));
        item.left = Amount(20);
        assert_eq!(item.due(), Amount(20), "the channel has no more");
        item.recovered = Amount(101);
        assert_eq!(item.due(), Amount(0));
    }

    #[test]
    fn a_list_that_was_short_is_another_call() {
        let recoveries = Recoveries { keeper: fixture::keeper_key().address() };
        let before = item(1, 3, 100, 110);
        let after = Item { recovered: Amount(30), ..before.clone() };
        let key = |item| recoveries.key(std::slice::from_ref(item));
        let (first, again) = (key(&before), key(&after));
        assert_ne!(first, again);
        assert_eq!(recoveries.call(&[before]), recoveries.call(&[after]));
    }
}
