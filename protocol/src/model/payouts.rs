//! How providers are paid: `redeem`, `distribute`, `claim`; and what `verifyLine` says.

use super::{ClaimItem, Event, Outcome, Refusal, Signed, State, Status};
use crate::amount::{Amount, Timestamp};
use crate::tree::{Node, Proof, Tree};
use crate::voucher::{BatchNumber, Voucher};
use alloy::primitives::Address;

impl State {
    /// Anyone has a direct channel's provider paid. An address that has ever bonded does so itself, in every state: else
    /// a client could spend directly what was promised for a batch.
    pub fn redeem(
        &mut self,
        now: Timestamp,
        caller: Address,
        keeper: Address,
        vouchers: &[Signed<Voucher>],
    ) -> Outcome {
        self.transact(now, keeper, |state, events| {
            if vouchers.is_empty() {
                return Err(Refusal::EmptyList);
            }
            if caller != keeper && state.keeper(keeper).status != Status::None {
                return Err(Refusal::NotTheKeeper);
            }
            for voucher in vouchers {
                let (key, _) = state.debited(voucher, keeper, 0)?;
                let mut channel = state.baseline(&key);
                let total = voucher.message.total;
                let rise = total.minus(channel.spent)?;
                channel.settled = channel.settled.plus(rise)?;
                channel.spent = total;
                state.channels.insert(key, channel);
                let fee = rise.share_up(state.fee_bps)?;
                let amount = rise.minus(fee)?;
                state.fees = state.fees.plus(fee)?;
                state.tokens.push(keeper, amount)?;
                events.push(Event::Redeemed { channel: key.id(), keeper, amount, fee });
            }
            Ok(())
        })
    }

    /// Anyone pays a whole final batch of which nothing was paid.
    pub fn distribute(
        &mut self,
        now: Timestamp,
        keeper: Address,
        batch: BatchNumber,
        leaves: &[(Address, Amount)],
    ) -> Outcome {
        self.transact(now, keeper, |state, events| {
            if leaves.is_empty() {
                return Err(Refusal::EmptyList);
            }
            let earnings = state.final_earnings(keeper, batch)?;
            if state.distributed.contains_key(&(keeper, batch)) || state.is_partly_paid(keeper, batch) {
                return Err(Refusal::AlreadyPaid);
            }
            let nodes = leaves.iter().map(|(provider, amount)| Node::earning(*provider, *amount)).collect();
            if Tree::build(nodes).map(|tree| tree.root()) != Ok(earnings) {
                return Err(Refusal::LeavesMismatch);
            }
            state.distributed.insert((keeper, batch), ());
            for (provider, amount) in leaves {
                state.tokens.push(*provider, *amount)?;
            }
            events.push(Event::Distributed { keeper, batch, amount: earnings.sum });
            Ok(())
        })
    }

    /// Anyone has a provider paid what it earned in final batches.
    pub fn claim(&mut self, now: Timestamp, keeper: Address, provider: Address, items: &[ClaimItem]) -> Outcome {
        self.transact(now, keeper, |state, events| {
            if items.is_empty() {
                return Err(Refusal::EmptyList);
            }
            let mut payments = Vec::new();
            for item in items {
                let rise = state.claim_one(keeper, provider, item)?;
                if rise > Amount::ZERO {
                    payments.push((item.batch, rise));
                }
            }
            if !payments.is_empty() {
                let amount = Amount::sum(payments.iter().map(|(_, rise)| *rise))?;
                state.tokens.push(provider, amount)?;
                events.push(Event::Claimed { keeper, provider, amount, payments });
            }
            Ok(())
        })
    }

    /// Whether the keeper stated this usage line in a final batch.
    pub fn verify_line(&self, now: Timestamp, keeper: Address, batch: BatchNumber, line: Node, proof: &Proof) -> bool {
        let committed = self.batches.get(&(keeper, batch)).filter(|_| self.is_final(now, keeper, batch));
        committed.is_some_and(|committed| proof.verify(line, committed.lines).is_ok())
    }

    /// By how much an item raises what the provider was paid: nothing where that much is paid already.
    fn claim_one(&mut self, keeper: Address, provider: Address, item: &ClaimItem) -> Result<Amount, Refusal> {
        let ClaimItem { batch, amount, ref proof } = *item;
        let earnings = self.final_earnings(keeper, batch)?;
        let slot = (keeper, batch, provider);
        let paid = self.paid.get(&slot).copied().unwrap_or_default();
        if self.distributed.contains_key(&(keeper, batch)) || amount <= paid {
            return Ok(Amount::ZERO);
        }
        if proof.verify(Node::earning(provider, amount), earnings).is_err() {
            return Err(Refusal::LeafNotProven { batch, amount });
        }
        self.paid.insert(slot, amount);
        Ok(amount.minus(paid)?)
    }

    /// Root and sum of a batch below the keeper's; none for the number 0, which is below too but no batch's.
    fn final_earnings(&self, keeper: Address, batch: BatchNumber) -> Result<Node, Refusal> {
        if batch >= self.keeper(keeper).batch {
            return Err(Refusal::BatchNotFinal { batch });
        }
        Ok(self.batches.get(&(keeper, batch)).map_or(Node::EMPTY, |committed| committed.earnings))
    }

    fn is_partly_paid(&self, keeper: Address, batch: BatchNumber) -> bool {
        let whole = (keeper, batch, Address::ZERO)..=(keeper, batch, Address::repeat_byte(0xff));
        self.paid.range(whole).next().is_some()
    }
}
