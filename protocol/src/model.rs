//! The settlement's reference model: what `docs/protocol.md` sections 3 to 7 say, as plain data and checked arithmetic.
//!
//! It was written from that page and not from the contracts, so that the two are two opinions. The same random
//! [`history`] drives both, and wherever they differ, the page, the model or the contract is wrong. [`audit`] holds
//! section 10's invariants against every step, and [`exit`] proves by doing it that everybody can leave.
//!
//! Signatures are taken for what they prove: a message is [`Signed`] by an address or it is malformed. The chain cannot
//! see which message a signature was made for, so a voucher for another batch, keeper or payer is there a voucher by a
//! stranger with an empty channel. The model says the same in those words.

mod table;
mod accounts;
mod call;
mod event;
mod refusal;

mod escrow;
mod govern;
mod batches;
mod payouts;
mod windups;

pub mod audit;
pub mod history;
pub mod exit;

pub use accounts::{Batch, Challenge, Channel, ChannelKey, Keeper, Periods, Status, Tokens};
pub use call::{Call, ClaimItem, Commitment, Pair, Signed, Step};
pub use event::Event;
pub use refusal::Refusal;
pub use table::Table;

use crate::amount::{Amount, Timestamp};
use crate::voucher::BatchNumber;
use alloy::primitives::Address;

/// What a successful call leaves behind, or why it was refused. A refused call changes nothing.
pub type Outcome = Result<Vec<Event>, Refusal>;

/// Everything that the contract stores, and the token balances beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Times fixed at deployment.
    pub periods: Periods,
    /// Sets rate and minimum bond; may pause and alone may end a pause.
    pub governor: Address,
    /// May pause.
    pub guardian: Address,
    /// Receives the fees.
    pub treasury: Address,
    /// Current protocol fee rate in basis points.
    pub fee_bps: u16,
    /// Least first bond.
    pub minimum_bond: Amount,
    /// Whether `open` and `bond` are paused.
    pub paused: bool,
    /// Channels that ever held a deposit.
    pub channels: Table<ChannelKey, Channel>,
    /// Addresses that ever bonded.
    pub keepers: Table<Address, Keeper>,
    /// Committed batches by keeper and number.
    pub batches: Table<(Address, BatchNumber), Batch>,
    /// Challenges by keeper, batch and provider.
    pub challenges: Table<(Address, BatchNumber, Address), Challenge>,
    /// What `claim` paid by keeper, batch and provider.
    pub paid: Table<(Address, BatchNumber, Address), Amount>,
    /// Batches that `distribute` paid as a whole.
    pub distributed: Table<(Address, BatchNumber), ()>,
    /// What `recover` paid by channel, provider and batch.
    pub recovered: Table<(ChannelKey, Address, BatchNumber), Amount>,
    /// Fees of final batches and direct payments, not yet swept.
    pub fees: Amount,
    /// Who holds how many tokens.
    pub tokens: Tokens,
}

impl State {
    /// The largest protocol fee rate, in basis points.
    pub const MAXIMUM_FEE_BPS: u16 = 500;

    /// The largest minimum bond, so that it cannot close the market to new keepers.
    pub const MAXIMUM_MINIMUM_BOND: Amount = Amount(1_000_000_000_000_000);

    /// Does what a step says.
    pub fn apply(&mut self, step: &Step) -> Outcome {
        let (now, caller) = (step.now, step.caller);
        match &step.call {
            Call::Open { signer, keeper, amount } => self.open(now, caller, *signer, *keeper, *amount),
            Call::Close { signer, keeper } => self.close(now, caller, *signer, *keeper),
            Call::Withdraw { signer, keeper } => self.withdraw(now, caller, *signer, *keeper),
            Call::Bond { amount, owner } => self.bond(now, caller, *amount, *owner),
            Call::Retire { keeper } => self.retire(now, caller, *keeper),
            Call::Unbond { keeper } => self.unbond(now, caller, *keeper),
            Call::Collect { vouchers } => self.collect(now, caller, vouchers),
            Call::Commit { commitment } => self.commit(now, caller, commitment),
            Call::Challenge { keeper, acceptance } => self.challenge(now, *keeper, acceptance),
            Call::Answer { keeper, provider, amount, proof } => self.answer(now, *keeper, *provider, *amount, proof),
            Call::Void { keeper, provider } => self.void(now, *keeper, *provider),
            Call::Lapse { keeper } => self.lapse(now, *keeper),
            Call::Recover { keeper, pairs } => self.recover(now, *keeper, pairs),
            Call::Redeem { keeper, vouchers } => self.redeem(now, caller, *keeper, vouchers),
            Call::Distribute { keeper, batch, leaves } => self.distribute(now, *keeper, *batch, leaves),
            Call::Claim { keeper, provider, items } => self.claim(now, *keeper, *provider, items),
            Call::SweepFees => self.sweep_fees(),
            Call::SetFeeBps { fee_bps } => self.set_fee_bps(caller, *fee_bps),
            Call::SetMinimumBond { minimum_bond } => self.set_minimum_bond(caller, *minimum_bond),
            Call::Pause => self.pause(caller),
            Call::Unpause => self.unpause(caller),
        }
    }

    /// A channel as stored; one that never held a deposit is all zero.
    pub fn channel(&self, key: &ChannelKey) -> Channel {
        self.channels.get(key).copied().unwrap_or_default()
    }

    /// A keeper as stored; an address that never bonded is all zero.
    pub fn keeper(&self, keeper: Address) -> Keeper {
        self.keepers.get(&keeper).copied().unwrap_or_default()
    }

    /// Whether the batch pays out now, though nobody may have called since it became final.
    pub fn is_final(&self, now: Timestamp, keeper: Address, batch: BatchNumber) -> bool {
        let account = self.keeper(keeper);
        if batch == 0 || batch > account.batch {
            return false;
        }
        let Some(committed) = self.batches.get(&(keeper, batch)) else { return false };
        batch < account.batch || account.status.is_live() && committed.is_ripe(now, &self.periods)
    }

    /// Both rules that come first in every function, and all or nothing after them.
    fn transact(
        &mut self,
        now: Timestamp,
        keeper: Address,
        body: impl FnOnce(&mut Self, &mut Vec<Event>) -> Result<(), Refusal>,
    ) -> Outcome {
        let before = self.clone();
        let mut events = Vec::new();
        let done = self.advance(now, keeper, &mut events).and_then(|()| body(self, &mut events));
        match done {
            Ok(()) => Ok(events),
            Err(refusal) => {
                *self = before;
                Err(refusal)
            }
        }
    }

    /// Writes down that the keeper's pending batch became final, if it did.
    fn advance(&mut self, now: Timestamp, keeper: Address, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let mut account = self.keeper(keeper);
        let batch = account.batch;
        let Some(committed) = self.batches.get(&(keeper, batch)).filter(|_| account.status.is_live()) else {
            return Ok(());
        };
        if committed.is_ripe(now, &self.periods) {
            self.fees = self.fees.plus(committed.fee)?;
            account.since = account.since.max(committed.challenge_end(&self.periods));
            account.batch += 1;
            self.keepers.insert(keeper, account);
            events.push(Event::BatchFinalized { keeper, batch });
        }
        Ok(())
    }

    /// The keeper's account if it is Active or Retiring.
    fn live(&self, keeper: Address) -> Result<Keeper, Refusal> {
        let account = self.keeper(keeper);
        if account.status.is_live() { Ok(account) } else { Err(Refusal::WrongKeeperStatus { status: account.status }) }
    }

    /// The keeper's account if it is live and its batch is still open.
    fn collecting(&self, keeper: Address) -> Result<Keeper, Refusal> {
        let account = self.live(keeper)?;
        if self.batches.contains_key(&(keeper, account.batch)) {
            return Err(Refusal::BatchPending { batch: account.batch });
        }
        Ok(account)
    }

    /// The number and content of the live keeper's pending batch. To be asked after `advance`.
    fn pending(&self, keeper: Address) -> Result<(BatchNumber, Batch), Refusal> {
        let batch = self.live(keeper)?.batch;
        let committed = self.batches.get(&(keeper, batch)).ok_or(Refusal::BatchNotPending { batch })?;
        Ok((batch, *committed))
    }

    /// The channel with its `settled` as it counts: all of `spent` once the batch of its last debit is over.
    fn baseline(&self, key: &ChannelKey) -> Channel {
        let mut channel = self.channel(key);
        if channel.batch < self.keeper(key.keeper).batch {
            channel.settled = channel.spent;
        }
        channel
    }
}

#[cfg(test)]
mod tests;
