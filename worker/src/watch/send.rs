//! Sends calls, in lists that fit a transaction, where they are worth their gas.

use super::{Demand, Watch, WatchError};
use crate::gas::is_worth;
use alloy::primitives::{Address, B256};
use protocol::amount::Amount;
use serde::{Deserialize, Serialize};
use service::chain::{ChainError, Intent, Outcome, SendError};
use std::sync::atomic::Ordering;

/// Most bytes of one list: nodes take transactions of 128 KiB.
const LIST_BYTES: usize = 100_000;

/// How something was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PayoutKind {
    /// From final batches.
    Claim,
    /// From the channels of a keeper that was wound down.
    Recovery,
    /// From direct channels.
    Redemption,
}

/// A transaction that paid the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Payout {
    /// How.
    pub(crate) kind: PayoutKind,
    /// Whose promise it was; of direct channels the provider itself.
    pub(crate) keeper: Address,
    /// How much was due; of direct channels before the protocol's fee.
    pub(crate) amount: Amount,
    /// Batches, or channels.
    pub(crate) items: usize,
    /// Its hash.
    pub(crate) transaction: B256,
    /// Gas that it used.
    pub(crate) gas: u64,
}

/// A list of items as one call.
pub(super) trait List {
    /// One of them.
    type Item: Clone;
    /// The name of the call, the same for the same items.
    fn key(&self, items: &[Self::Item]) -> String;
    /// The call.
    fn call(&self, items: &[Self::Item]) -> Vec<u8>;
    /// Bytes of one item.
    fn size(&self, item: &Self::Item) -> usize;
}

impl Watch {
    /// Sends a call. One that was mined and reverted is settled under its key, so the next pass takes another.
    pub(super) async fn send(&self, key: String, data: Vec<u8>) -> Result<Outcome, WatchError> {
        // A call that a reorganisation took back is settled by its record; this has it sent again.
        self.sender.reconcile().await?;
        let key = format!("{key}:{}", self.attempt.load(Ordering::Relaxed));
        let intent = Intent { key, to: self.market.settlement(), data: data.into() };
        let sent = self.sender.send(intent).await;
        if matches!(sent, Err(SendError::Failed { .. })) {
            self.attempt.fetch_add(1, Ordering::Relaxed);
        }
        Ok(sent?)
    }

    /// Sends all items, a list that the contract or a block refuses in halves, so that one item holds up no other.
    /// Returns what was sent, and the first failure.
    pub(super) async fn send_all<L: List>(
        &self,
        list: &L,
        items: &[L::Item],
    ) -> (Vec<(Vec<L::Item>, Outcome)>, Result<(), WatchError>) {
        let (mut sent, mut result) = (Vec::new(), Ok(()));
        let mut waiting = vec![items];
        while let Some(items) = waiting.pop().filter(|items| !items.is_empty()) {
            match self.send(list.key(items), list.call(items)).await {
                Ok(outcome) => sent.push((items.to_vec(), outcome)),
                Err(WatchError::Send(SendError::Reverted { .. } | SendError::TooMuchGas { .. })) if items.len() > 1 => {
                    let (first, second) = items.split_at(items.len() / 2);
                    waiting.extend([second, first]);
                }
                Err(error) => {
                    let is_this_call = matches!(
                        error,
                        WatchError::Send(
                            SendError::Reverted { .. } | SendError::TooMuchGas { .. } | SendError::Failed { .. }
                        )
                    );
                    result = result.and(Err(error));
                    if !is_this_call {
                        break;
                    }
                }
            }
        }
        (sent, result)
    }

    /// Whether a call is worth its gas: by the configured share of `value`, or always where everything is demanded.
    pub(super) async fn is_worth_sending(
        &self,
        call: &[u8],
        value: Amount,
        demand: Demand,
    ) -> Result<bool, WatchError> {
        match demand {
            Demand::Everything => Ok(value > Amount::ZERO),
            Demand::Worthwhile => self.costs_at_most(call, value, self.config.claim.max_cost_bps).await,
        }
    }

    /// Whether a call that cannot wait costs no more than it is about.
    pub(super) async fn is_affordable(&self, call: &[u8], value: Amount) -> Result<bool, WatchError> {
        self.costs_at_most(call, value, 10_000).await
    }

    async fn costs_at_most(&self, call: &[u8], value: Amount, share_bps: u16) -> Result<bool, WatchError> {
        let coin = self.config.claim.coin_price;
        if coin == Amount::ZERO {
            return Ok(true);
        }
        match self.market.quote(self.sender.address(), call.to_vec()).await {
            Ok(quote) => Ok(is_worth(value, quote.cost(coin), share_bps)),
            // Sending it tells what is wrong, and costs nothing.
            Err(ChainError::Reverted { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Cuts items into lists of at most `most` items that fit a transaction, in their order.
pub(super) fn lists<L: List>(list: &L, items: &[L::Item], most: usize) -> Vec<Vec<L::Item>> {
    let mut lists: Vec<Vec<L::Item>> = Vec::new();
    let mut bytes = 0usize;
    for item in items {
        let size = list.size(item);
        match lists.last_mut().filter(|last| last.len() < most && bytes.saturating_add(size) <= LIST_BYTES) {
            Some(last) => {
                bytes = bytes.saturating_add(size);
                last.push(item.clone());
            }
            None => {
                bytes = size;
                lists.push(vec![item.clone()]);
            }
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sized;

    impl List for Sized {
        type Item = usize;
        fn key(&self, items: &[usize]) -> String {
            format!("{items:?}")
        }
        fn call(&self, _: &[usize]) -> Vec<u8> {
            Vec::new()
        }
        fn size(&self, item: &usize) -> usize {
            *item
        }
    }

    #[test]
    fn lists_are_bounded_by_items_and_by_bytes() {
        assert_eq!(lists(&Sized, &[], 2), Vec::<Vec<usize>>::new());
        assert_eq!(lists(&Sized, &[1, 2, 3, 4, 5], 2), [vec![1, 2], vec![3, 4], vec![5]]);
        let (half, all) = (LIST_BYTES / 2, LIST_BYTES);
        assert_eq!(
            lists(&Sized, &[half, half, 1, all, all + 1], 9),
            [vec![half, half], vec![1], vec![all], vec![all + 1]]
        );
    }
}
