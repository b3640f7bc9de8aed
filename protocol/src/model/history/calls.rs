//! The arguments of each call, as an honest party would give them, and now and then as a careless one.

use super::moves::current;
use super::{Dice, History, Published};
use crate::amount::{Amount, NANO, Overflow, Price, Quantity, Timestamp};
use crate::batch::{Line, Lines};
use crate::model::{Call, ChannelKey, ClaimItem, Commitment, Pair, Signed, State};
use crate::order::JobId;
use crate::resource::ResourceId;
use crate::tree::{Node, Proof, Tree};
use crate::voucher::{Acceptance, BatchNumber, Voucher};
use alloy::primitives::{Address, B256, keccak256};
use std::collections::BTreeMap;

/// The largest usual deposit.
const DEPOSIT: Amount = Amount(10_000 * NANO);

impl History {
    pub(super) fn open(&self, keeper: Address, dice: &mut Dice) -> (Address, Call) {
        let key = self.any_channel(keeper, dice);
        (key.payer, Call::Open { signer: key.signer, keeper, amount: dice.amount(DEPOSIT) })
    }

    /// The newest voucher of each channel that the keeper could debit now.
    pub(super) fn collectable(&self, state: &State, keeper: Address) -> Vec<Signed<Voucher>> {
        let batch = current(state, self.now, keeper);
        let newest = |key: &ChannelKey| {
            let channel = state.channel(key);
            let fits = |voucher: &&Signed<Voucher>| {
                let Voucher { batch: of, total, .. } = voucher.message;
                of == batch && total > channel.spent && total <= channel.deposit
            };
            self.book.vouchers.get(key)?.iter().rev().find(fits).copied()
        };
        Self::channels_of(state, keeper).iter().filter_map(newest).collect()
    }

    pub(super) fn collect(&self, state: &State, keeper: Address, dice: &mut Dice) -> Call {
        let mut vouchers = self.collectable(state, keeper);
        if dice.chance(15) {
            let key = self.any_channel(keeper, dice);
            vouchers.extend(self.any_voucher(&key, dice));
        } else if dice.chance(30) {
            let few = dice.below(vouchers.len() as u64 + 1);
            vouchers.truncate(usize::try_from(few).unwrap_or(1).max(1));
        }
        Call::Collect { vouchers }
    }

    fn any_voucher(&self, key: &ChannelKey, dice: &mut Dice) -> Option<Signed<Voucher>> {
        let vouchers: Vec<_> = self.book.vouchers.get(key)?.iter().copied().collect();
        dice.pick(&vouchers).copied()
    }

    pub(super) fn redeem(&self, state: &State, keeper: Address, dice: &mut Dice) -> Call {
        let mut vouchers = Vec::new();
        for key in Self::channels_of(state, keeper) {
            let channel = state.channel(&key);
            let careless = dice.chance(6);
            let fits = |voucher: &&Signed<Voucher>| {
                let Voucher { batch, total, .. } = voucher.message;
                careless || batch == 0 && total > channel.spent && total <= channel.deposit
            };
            if let Some(kept) = self.book.vouchers.get(&key) {
                vouchers.extend(kept.iter().rev().find(fits));
            }
        }
        vouchers.truncate(4);
        Call::Redeem { keeper, vouchers }
    }

    pub(super) fn commit(&mut self, state: &State, keeper: Address, dice: &mut Dice) -> Result<Call, Overflow> {
        let account = state.keeper(keeper);
        let sum = account.debits.minus(account.debits.share_down(account.fee_bps)?)?;
        let batch = current(state, self.now, keeper);
        let leaves = self.leaves_of(keeper, batch, sum, dice);
        let nodes = leaves.iter().map(|(provider, amount)| Node::earning(*provider, *amount)).collect();
        let built = Tree::build(nodes);
        let hash = match &built {
            Ok(tree) if !dice.chance(2) => tree.root().hash,
            _ => keccak256(dice.roll().to_be_bytes()),
        };
        // Leaves that overflow have no tree, and so no proofs.
        let tree = built.or_else(|_| Tree::build(Vec::new()))?;
        let lines = self.lines_of(&leaves, sum, dice)?;
        let commitment = Commitment {
            earnings: Node { hash, sum },
            lines: lines.root(),
            line_count: u32::try_from(lines.lines().len()).unwrap_or(u32::MAX),
            data_hash: lines.data_hash(),
        };
        self.book.draft(keeper, Published { leaves, tree, lines });
        Ok(Call::Commit { commitment })
    }

    /// What the keeper owes, as far as `sum` goes, and its own share; sometimes not that.
    fn leaves_of(&self, keeper: Address, batch: BatchNumber, sum: Amount, dice: &mut Dice) -> Vec<(Address, Amount)> {
        let mut rest = sum;
        let mut earnings = BTreeMap::<Address, Amount>::new();
        for ((of, number, provider), owed) in &self.book.owed {
            let forgotten = dice.chance(2);
            if (*of, *number) == (keeper, batch) && !forgotten {
                let paid = rest.min(*owed);
                rest = rest.minus(paid).unwrap_or(Amount::ZERO);
                earnings.insert(*provider, paid);
            }
        }
        let own = earnings.entry(keeper).or_default();
        *own = own.plus(rest).unwrap_or(*own);
        earnings.retain(|_, amount| *amount > Amount::ZERO);
        let mut leaves: Vec<_> = earnings.into_iter().collect();
        if let (Some((provider, amount)), true) = (leaves.first().copied(), dice.chance(14)) {
            match dice.below(5) {
                0 => leaves.push((provider, Amount::ZERO)),
                1 => {
                    let part = Amount(dice.below(amount.get()));
                    leaves[0].1 = amount.minus(part).unwrap_or(amount);
                    leaves.push((provider, part));
                }
                2 => leaves[0].1 = Amount(amount.get().wrapping_add(1)),
                3 => leaves[0].1 = Amount(amount.get().wrapping_sub(1)),
                _ => leaves.extend([(provider, Amount(u64::MAX)), (keeper, Amount(u64::MAX))]),
            }
        }
        leaves
    }

    fn lines_of(&self, leaves: &[(Address, Amount)], sum: Amount, dice: &mut Dice) -> Result<Lines, Overflow> {
        let mut left = sum;
        let mut lines = Vec::new();
        for (provider, amount) in leaves.iter().take(3) {
            let amount = if dice.chance(2) { Amount(sum.get().saturating_add(1)) } else { left.min(*amount) };
            left = left.minus(amount).unwrap_or(Amount::ZERO);
            lines.push(Line {
                job: JobId(keccak256(dice.roll().to_be_bytes())),
                payer: dice.pick(&self.cast.payers).copied().unwrap_or_default(),
                provider: *provider,
                resource: ResourceId(1),
                quantity: Quantity(dice.below(1_000_000)),
                price: Price(dice.below(1_000_000)),
                amount,
                ended_at: self.now,
                result: B256::ZERO,
            });
        }
        Lines::new(lines)
    }

    pub(super) fn challenge(&self, state: &State, keeper: Address, dice: &mut Dice) -> Call {
        let batch = current(state, self.now, keeper);
        let wanted = |pair: &&Pair| batch_of(pair) == batch;
        let acceptance = self.some_pair(keeper, dice, wanted).map(|pair| pair.acceptance);
        let acceptance = acceptance.unwrap_or_else(|| self.unasked(keeper, batch, dice));
        Call::Challenge { keeper, acceptance }
    }

    /// An acceptance of nothing in particular, which a keeper may sign for whoever pleases it.
    fn unasked(&self, keeper: Address, batch: BatchNumber, dice: &mut Dice) -> Signed<Acceptance> {
        let provider = dice.pick(&self.cast.providers).copied().unwrap_or_default();
        let voucher = keccak256(dice.roll().to_be_bytes());
        let by = if dice.chance(10) { keeper } else { self.cast.stranger };
        Signed { message: Acceptance { voucher, provider, batch, owed: dice.amount(DEPOSIT) }, by: Some(by) }
    }

    fn some_pair(&self, keeper: Address, dice: &mut Dice, wanted: impl Fn(&&Pair) -> bool) -> Option<Pair> {
        let all: Vec<_> = self.book.pairs.get(&keeper)?.iter().copied().collect();
        let fit: Vec<_> = all.iter().filter(|pair| wanted(pair)).copied().collect();
        let from = if dice.chance(92) && !fit.is_empty() { &fit } else { &all };
        dice.pick(from).copied()
    }

    /// A provider with an open challenge, if there is one.
    pub(super) fn challenger(&self, state: &State, keeper: Address, dice: &mut Dice) -> Address {
        let batch = state.keeper(keeper).batch;
        let open = state.challenges.iter().filter(|((of, number, _), challenge)| {
            (*of, *number) == (keeper, batch) && challenge.deadline > Timestamp::ZERO
        });
        let open: Vec<_> = open.map(|((.., provider), _)| *provider).collect();
        dice.pick(&open).or_else(|| self.cast.providers.first()).copied().unwrap_or_default()
    }

    pub(super) fn answer(&self, state: &State, keeper: Address, dice: &mut Dice) -> Call {
        let provider = self.challenger(state, keeper, dice);
        let leaf = self.leaf(keeper, state.keeper(keeper).batch, provider, dice);
        let (amount, proof) = leaf.unwrap_or((Amount(1), Proof { index: 0, siblings: Vec::new() }));
        Call::Answer { keeper, provider, amount, proof }
    }

    /// One of the provider's leaves in a batch, with its proof.
    fn leaf(&self, keeper: Address, batch: BatchNumber, provider: Address, dice: &mut Dice) -> Option<(Amount, Proof)> {
        let published = self.book.published.get(&(keeper, batch))?;
        let own: Vec<_> = (0..).zip(&published.leaves).filter(|(_, (who, _))| *who == provider).collect();
        let (index, (_, amount)) = *dice.pick(&own)?;
        Some((*amount, published.tree.proof(index)?))
    }

    pub(super) fn recover(&self, state: &State, keeper: Address, dice: &mut Dice) -> Call {
        let least = state.keeper(keeper).batch;
        let wanted = |pair: &&Pair| batch_of(pair) >= least;
        let pairs = (0..=dice.below(3)).filter_map(|_| self.some_pair(keeper, dice, wanted)).collect();
        Call::Recover { keeper, pairs }
    }

    pub(super) fn distribute(&self, state: &State, keeper: Address, dice: &mut Dice) -> Call {
        let batch = self.some_batch(state, keeper, dice);
        let leaves = self.book.published.get(&(keeper, batch)).map(|published| published.leaves.clone());
        Call::Distribute { keeper, batch, leaves: leaves.unwrap_or_default() }
    }

    pub(super) fn claim(&self, state: &State, keeper: Address, dice: &mut Dice) -> Call {
        let first = self.some_batch(state, keeper, dice);
        let leaves = self.book.published.get(&(keeper, first)).map(|published| published.leaves.as_slice());
        let provider = dice.pick(leaves.unwrap_or_default()).map_or(self.cast.stranger, |(provider, _)| *provider);
        let mut items = Vec::new();
        for batch in first..=first + u32::try_from(dice.below(3)).unwrap_or(0) {
            if state.is_final(self.now, keeper, batch) || dice.chance(5) {
                let leaf = self.leaf(keeper, batch, provider, dice);
                items.extend(leaf.map(|(amount, proof)| ClaimItem { batch, amount, proof }));
            }
        }
        Call::Claim { keeper, provider, items }
    }

    /// Mostly one of the last few final batches.
    fn some_batch(&self, state: &State, keeper: Address, dice: &mut Dice) -> BatchNumber {
        let current = current(state, self.now, keeper);
        let back = u32::try_from(dice.below(4)).unwrap_or(0) + u32::from(!dice.chance(4));
        current.saturating_sub(back)
    }
}

/// The batch that a pair is for.
fn batch_of(pair: &Pair) -> BatchNumber {
    pair.voucher.message.batch
}
