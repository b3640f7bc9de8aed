//! What the parties keep off chain: signed vouchers, acceptances, published batches.

use super::super::{ChannelKey, Pair, Signed};
use super::{Dice, Promises};
use crate::amount::Amount;
use crate::batch::Lines;
use crate::tree::Tree;
use crate::voucher::{Acceptance, Allocation, BatchNumber, Voucher};
use alloy::primitives::{Address, B256};
use std::collections::{BTreeMap, VecDeque};

/// How many of its newest vouchers a channel keeps; older ones are for replays only.
const VOUCHERS: usize = 6;

/// How many of its newest acceptances a keeper is remembered by.
const PAIRS: usize = 48;

/// A committed batch and everything that proves something about it.
#[derive(Debug, Clone)]
pub struct Published {
    /// Who earned what, in the tree's order.
    pub leaves: Vec<(Address, Amount)>,
    /// The tree over them.
    pub tree: Tree,
    /// The usage lines.
    pub lines: Lines,
}

/// All books in one.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) promises: Promises,
    pub(super) vouchers: BTreeMap<ChannelKey, VecDeque<Signed<Voucher>>>,
    pub(super) pairs: BTreeMap<Address, VecDeque<Pair>>,
    pub(super) owed: BTreeMap<(Address, BatchNumber, Address), Amount>,
    pub(super) published: BTreeMap<(Address, BatchNumber), Published>,
    drafts: BTreeMap<Address, Published>,
    earned: BTreeMap<(ChannelKey, Address, BatchNumber), Amount>,
}

/// A payment that a session key is about to sign.
pub(super) struct Payment {
    pub(super) key: ChannelKey,
    pub(super) batch: BatchNumber,
    pub(super) provider: Address,
    pub(super) total: Amount,
    pub(super) increase: Amount,
    pub(super) receipt: B256,
}

impl Book {
    /// The highest total that the channel's key signed.
    pub(super) fn signed(&self, key: &ChannelKey) -> Amount {
        self.promises.signed.get(key).copied().unwrap_or_default()
    }

    /// The session key signs.
    pub(super) fn sign(&mut self, payment: &Payment) -> Signed<Voucher> {
        let Payment { key, batch, provider, total, increase, receipt } = *payment;
        let earned = self.earned.entry((key, provider, batch)).or_default();
        *earned = earned.plus(increase).unwrap_or(*earned);
        let latest = Allocation { provider, earned: *earned, receipt };
        let message = Voucher { payer: key.payer, keeper: key.keeper, batch, total, latest };
        let voucher = Signed { message, by: Some(key.signer) };
        self.keep(key, voucher);
        voucher
    }

    /// The keeper accepts; `short` is by how much it states less than it owes.
    pub(super) fn accept(&mut self, voucher: Signed<Voucher>, increase: Amount, short: Amount) -> Pair {
        let Voucher { keeper, batch, latest, .. } = voucher.message;
        let owed = self.owed.entry((keeper, batch, latest.provider)).or_default();
        *owed = owed.plus(increase).unwrap_or(*owed);
        let stated = owed.minus(short).unwrap_or(*owed);
        let named = voucher.message.hash();
        let message = Acceptance { voucher: named, provider: latest.provider, batch, owed: stated };
        let pair = Pair { voucher, acceptance: Signed { message, by: Some(keeper) } };
        self.remember(pair);
        pair
    }

    /// Another session key signs a voucher that was accepted: the acceptance names it all the same.
    pub(super) fn sign_again(&mut self, pair: &Pair, signer: Address) -> Pair {
        let again = Pair { voucher: Signed { by: Some(signer), ..pair.voucher }, ..*pair };
        let Voucher { payer, keeper, .. } = pair.voucher.message;
        self.keep(ChannelKey { payer, signer, keeper }, again.voucher);
        self.remember(again);
        again
    }

    /// A voucher of any channel.
    pub(super) fn any_voucher(&self, dice: &mut Dice) -> Option<Signed<Voucher>> {
        let all: Vec<_> = self.vouchers.values().flatten().copied().collect();
        dice.pick(&all).copied()
    }

    /// An accepted voucher of any keeper.
    pub(super) fn any_pair(&self, dice: &mut Dice) -> Option<Pair> {
        let all: Vec<_> = self.pairs.values().flatten().copied().collect();
        dice.pick(&all).copied()
    }

    fn keep(&mut self, key: ChannelKey, voucher: Signed<Voucher>) {
        let highest = self.promises.signed.entry(key).or_default();
        *highest = (*highest).max(voucher.message.total);
        let vouchers = self.vouchers.entry(key).or_default();
        vouchers.push_back(voucher);
        if vouchers.len() > VOUCHERS {
            vouchers.pop_front();
        }
    }

    fn remember(&mut self, pair: Pair) {
        let Voucher { payer, keeper, batch, latest, .. } = pair.voucher.message;
        if let Some(signer) = pair.voucher.by {
            let slot = (ChannelKey { payer, signer, keeper }, latest.provider, batch);
            let highest = self.promises.accepted.entry(slot).or_default();
            *highest = (*highest).max(latest.earned);
        }
        let pairs = self.pairs.entry(keeper).or_default();
        pairs.push_back(pair);
        if pairs.len() > PAIRS {
            pairs.pop_front();
        }
    }

    /// A keeper has built its trees.
    pub(super) fn draft(&mut self, keeper: Address, published: Published) {
        self.drafts.insert(keeper, published);
    }

    /// The chain took the commitment to them.
    pub(super) fn publish(&mut self, keeper: Address, batch: BatchNumber) {
        if let Some(draft) = self.drafts.remove(&keeper) {
            self.published.insert((keeper, batch), draft);
        }
    }
}
