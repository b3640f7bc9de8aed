//! What is stored, as the storage table of the page's section 5 lists it.

use super::{Refusal, Table};
use crate::amount::{Amount, Overflow, Timestamp};
use crate::tree::Node;
use crate::voucher::{BatchNumber, ChannelId};
use alloy::primitives::Address;

/// The times of section 6, in seconds, by their letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// W.
    pub challenge: u32,
    /// R.
    pub answer: u32,
    /// T.
    pub heartbeat: u32,
    /// THAW.
    pub thaw: u32,
    /// U.
    pub retirement: u32,
    /// X.
    pub recovery: u32,
    /// F.
    pub inclusion: u32,
    /// D.
    pub reaction: u32,
}

/// Who a channel belongs to. On chain its hash, the [`ChannelId`], stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelKey {
    /// Who funded it.
    pub payer: Address,
    /// The session key that spends it.
    pub signer: Address,
    /// The keeper, or the provider of a direct channel.
    pub keeper: Address,
}

impl ChannelKey {
    /// The channel's identity on chain.
    pub fn id(&self) -> ChannelId {
        ChannelId::of(self.payer, self.signer, self.keeper)
    }
}

/// A client's deposit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Channel {
    /// Deposited over its life, less what was withdrawn.
    pub deposit: Amount,
    /// Highest total that reached the chain.
    pub spent: Amount,
    /// Part of it that has left the channel; stale while `batch` is below the keeper's.
    pub settled: Amount,
    /// Batch of the last debit.
    pub batch: BatchNumber,
    /// When it can be withdrawn; zero while it is not closing.
    pub thaw_at: Timestamp,
}

/// Where a keeper stands in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// Never bonded.
    #[default]
    None,
    /// At work.
    Active,
    /// At work, taking no new channels.
    Retiring,
    /// Ended in order.
    Closed,
    /// Ended by `void` or `lapse`.
    WoundDown,
}

impl Status {
    /// Active or Retiring.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Retiring)
    }
}

/// A keeper's account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeper {
    /// What it forfeits when it breaks a promise.
    pub bond: Amount,
    /// Collected for the open batch.
    pub debits: Amount,
    /// First batch that is not final.
    pub batch: BatchNumber,
    /// When the heartbeat period started.
    pub since: Timestamp,
    /// Where it stands.
    pub status: Status,
    /// Rate of the batch being collected.
    pub fee_bps: u16,
    /// Rate of the batch after it.
    pub next_fee_bps: u16,
    /// Holds the bond.
    pub owner: Address,
    /// When it retired.
    pub retired_at: Timestamp,
    /// When it was wound down.
    pub wound_at: Timestamp,
}

/// A committed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Root and sum of the earnings.
    pub earnings: Node,
    /// The protocol's fee.
    pub fee: Amount,
    /// Root and sum of the usage lines.
    pub lines: Node,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Challenges without an answer.
    pub open: u32,
}

impl Batch {
    /// From when on it cannot be challenged.
    pub fn challenge_end(&self, periods: &Periods) -> Timestamp {
        later(self.committed_at, periods.challenge)
    }

    /// Final of itself, as far as the batch alone can tell: not in time and not by an open challenge held back.
    pub fn is_ripe(&self, now: Timestamp, periods: &Periods) -> bool {
        now >= self.challenge_end(periods) && self.open == 0
    }
}

/// What a provider demands in a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The highest amount demanded.
    pub owed: Amount,
    /// Until when it can be answered; zero while it is not open.
    pub deadline: Timestamp,
}

/// The token: who holds how much, and what is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// What the settlement holds.
    pub held: Amount,
    /// What everybody else holds.
    pub balances: Table<Address, Amount>,
    /// Destroyed.
    pub burned: Amount,
}

impl Tokens {
    /// What an account holds.
    pub fn balance(&self, account: Address) -> Amount {
        self.balances.get(&account).copied().unwrap_or_default()
    }

    /// Takes `amount` from an account, which has approved it.
    pub(super) fn pull(&mut self, from: Address, amount: Amount) -> Result<(), Refusal> {
        let rest = self.balance(from).minus(amount).map_err(|_| Refusal::PullFailed)?;
        self.held = self.held.plus(amount)?;
        self.balances.insert(from, rest);
        Ok(())
    }

    /// Pays an account. The token takes no transfer to the zero address.
    pub(super) fn push(&mut self, to: Address, amount: Amount) -> Result<(), Refusal> {
        if to == Address::ZERO {
            return Err(Refusal::PaymentFailed);
        }
        self.held = self.held.minus(amount)?;
        let sum = self.balance(to).plus(amount)?;
        self.balances.insert(to, sum);
        Ok(())
    }

    /// Destroys what the settlement holds.
    pub(super) fn burn(&mut self, amount: Amount) -> Result<(), Overflow> {
        self.held = self.held.minus(amount)?;
        self.burned = self.burned.plus(amount)?;
        Ok(())
    }
}

/// A moment some seconds later.
pub(super) fn later(moment: Timestamp, seconds: u32) -> Timestamp {
    Timestamp(moment.get().saturating_add(u64::from(seconds)))
}
