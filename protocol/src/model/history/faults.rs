//! Wrong on purpose: what a careless or hostile caller changes in a call.

use super::{Dice, History};
use crate::amount::Amount;
use crate::model::{Call, ClaimItem, Pair, Signed, State, Step};
use crate::tree::{MAX_DEPTH, Node, Proof};
use crate::voucher::Voucher;
use alloy::primitives::{Address, B256};

impl History {
    /// Changes one thing.
    pub(super) fn spoil(&self, step: &mut Step, state: &State, dice: &mut Dice) {
        if dice.chance(25) {
            step.caller = self.cast.anyone(dice);
            return;
        }
        let other = self.cast.anyone(dice);
        match &mut step.call {
            Call::Open { signer, keeper, amount } => match dice.below(5) {
                0 => *signer = Address::ZERO,
                1 => *keeper = Address::ZERO,
                2 => *amount = Amount::ZERO,
                3 => *amount = Amount(u64::MAX),
                _ => *amount = state.tokens.balance(step.caller).plus(Amount(1)).unwrap_or_default(),
            },
            Call::Bond { amount, owner } => match dice.below(5) {
                0 => *amount = Amount::ZERO,
                1 => *amount = Amount(state.minimum_bond.get().wrapping_sub(1)),
                2 => *owner = Address::ZERO,
                3 => *owner = other,
                _ => *amount = Amount(u64::MAX),
            },
            Call::Close { signer, .. } | Call::Withdraw { signer, .. } => *signer = other,
            Call::Retire { keeper } | Call::Unbond { keeper } | Call::Lapse { keeper } => *keeper = other,
            Call::Void { provider, .. } => *provider = other,
            Call::Collect { vouchers } | Call::Redeem { vouchers, .. } => self.spoil_vouchers(vouchers, dice),
            Call::Recover { pairs, .. } => self.spoil_pairs(pairs, dice),
            Call::Commit { .. } | Call::Challenge { .. } | Call::Answer { .. } => {
                self.spoil_batch(&mut step.call, other, dice);
            }
            Call::Distribute { batch, leaves, .. } => spoil_leaves(batch, leaves, dice),
            Call::Claim { provider, items, .. } => match items.last_mut() {
                Some(item) => spoil_item(item, dice),
                None => *provider = other,
            },
            Call::SetFeeBps { .. } | Call::SetMinimumBond { .. } | Call::SweepFees | Call::Pause | Call::Unpause => {
                self.spoil_settings(step, dice)
            }
        }
    }

    fn spoil_batch(&self, call: &mut Call, other: Address, dice: &mut Dice) {
        match call {
            Call::Commit { commitment } => match dice.below(4) {
                0 => commitment.earnings.sum = Amount(commitment.earnings.sum.get() ^ 1),
                1 => commitment.lines.sum = Amount(commitment.earnings.sum.get().wrapping_add(1)),
                2 => commitment.earnings = Node::EMPTY,
                _ => commitment.earnings.sum = Amount(u64::MAX),
            },
            Call::Challenge { acceptance, .. } => match dice.below(5) {
                0 => acceptance.by = None,
                1 => acceptance.by = Some(self.cast.stranger),
                2 => acceptance.message.batch ^= 1,
                3 => acceptance.message.owed = Amount::ZERO,
                _ => acceptance.message.provider = Address::ZERO,
            },
            Call::Answer { provider, amount, proof, .. } => match dice.below(4) {
                0 => *provider = other,
                1 => *amount = Amount(amount.get().wrapping_sub(1)),
                _ => spoil_proof(amount, proof, dice),
            },
            _ => {}
        }
    }

    fn spoil_settings(&self, step: &mut Step, dice: &mut Dice) {
        match &mut step.call {
            Call::SetFeeBps { fee_bps } => *fee_bps = State::MAXIMUM_FEE_BPS + 1,
            Call::SetMinimumBond { minimum_bond } if dice.chance(25) => *minimum_bond = Amount::ZERO,
            Call::SetMinimumBond { minimum_bond } => {
                *minimum_bond = Amount(State::MAXIMUM_MINIMUM_BOND.get() + 1);
            }
            Call::Unpause => step.call = Call::Pause,
            _ => {
                step.caller = self.cast.governor;
                step.call = Call::Unpause;
            }
        }
    }

    fn spoil_pairs(&self, pairs: &mut Vec<Pair>, dice: &mut Dice) {
        let Some(pair) = pairs.last_mut() else { return };
        match dice.below(7) {
            0 => pair.voucher.by = None,
            1 => pair.voucher.by = Some(self.cast.stranger),
            2 => pair.acceptance.by = None,
            3 => pair.acceptance.by = Some(self.cast.stranger),
            4 => pairs.clear(),
            5 => *pair = self.book.any_pair(dice).unwrap_or(*pair),
            _ => {
                let last = *pair;
                pairs.push(last);
            }
        }
    }

    fn spoil_vouchers(&self, vouchers: &mut Vec<Signed<Voucher>>, dice: &mut Dice) {
        let Some(voucher) = vouchers.last_mut() else { return };
        match dice.below(5) {
            0 => voucher.by = None,
            1 => voucher.by = Some(self.cast.stranger),
            2 => vouchers.clear(),
            // What somebody signed for another channel, keeper or batch.
            3 => *voucher = self.book.any_voucher(dice).unwrap_or(*voucher),
            _ => {
                let last = *voucher;
                vouchers.push(last);
            }
        }
    }
}

fn spoil_leaves(batch: &mut u32, leaves: &mut Vec<(Address, Amount)>, dice: &mut Dice) {
    match dice.below(6) {
        0 => *batch += 1,
        1 => leaves.clear(),
        2 => leaves.reverse(),
        3 => leaves.extend([(Address::ZERO, Amount(u64::MAX)), (Address::ZERO, Amount(u64::MAX))]),
        4 => {
            leaves.pop();
        }
        _ => {
            if let Some((_, amount)) = leaves.first_mut() {
                *amount = Amount(amount.get() ^ 1);
            }
        }
    }
}

fn spoil_item(item: &mut ClaimItem, dice: &mut Dice) {
    match dice.below(4) {
        0 => item.batch += 1,
        1 => item.batch = 0,
        _ => spoil_proof(&mut item.amount, &mut item.proof, dice),
    }
}

fn spoil_proof(amount: &mut Amount, proof: &mut Proof, dice: &mut Dice) {
    let filler = Node { hash: B256::repeat_byte(7), sum: Amount(1) };
    match dice.below(7) {
        0 => *amount = Amount(amount.get().wrapping_add(1)),
        1 => proof.index ^= 1,
        2 => proof.index |= 1 << proof.siblings.len().min(31),
        3 => proof.siblings.push(filler),
        4 => proof.siblings.resize(MAX_DEPTH + 1, filler),
        5 => {
            proof.siblings.pop();
        }
        _ => {
            if let Some(sibling) = proof.siblings.last_mut() {
                sibling.sum = Amount(u64::MAX);
            }
        }
    }
}
