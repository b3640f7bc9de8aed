//! Why a call is refused.

use super::Status;
use crate::amount::{Amount, Overflow, Timestamp};
use crate::voucher::BatchNumber;
use alloy::primitives::Address;

/// A check that failed. Where the contract has a custom error for it, the variant has the error's name and those of
/// its values that the caller does not know anyway.
///
/// Where several checks fail at once, the first one named by the function's page in `docs/operations` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its values mean")]
pub enum Refusal {
    #[error("open and bond are paused")]
    EnforcedPause,
    #[error("nothing is paused")]
    ExpectedPause,
    #[error("an address that must be given is zero")]
    ZeroAddress,
    #[error("an amount that must be positive is zero")]
    ZeroAmount,
    #[error("the list is empty")]
    EmptyList,
    #[error("the keeper is {status:?}")]
    WrongKeeperStatus { status: Status },
    #[error("the bond is owned by {owner}")]
    NotBondOwner { owner: Address },
    #[error("the first bond named {owner} as its owner")]
    OwnerMismatch { owner: Address },
    #[error("the first bond must be at least {minimum}")]
    BondTooSmall { minimum: Amount },
    #[error("the channel never held a deposit, or all of it has left")]
    ChannelEmpty,
    #[error("the channel is closing and thaws at {thaw_at}")]
    AlreadyClosing { thaw_at: Timestamp },
    #[error("the channel is not closing")]
    NotClosing,
    #[error("this is possible from {not_before} on")]
    TooEarly { not_before: Timestamp },
    #[error("this was possible until {end}")]
    TooLate { end: Timestamp },
    #[error("batch {batch} is pending")]
    BatchPending { batch: BatchNumber },
    #[error("batch {batch} is not pending")]
    BatchNotPending { batch: BatchNumber },
    #[error("batch {batch} is not final")]
    BatchNotFinal { batch: BatchNumber },
    #[error("{debits} collected for the open batch are not committed")]
    DebitsOpen { debits: Amount },
    #[error("an address that has bonded redeems its direct vouchers itself")]
    NotTheKeeper,
    #[error("these bytes are no signature")]
    InvalidSignature,
    #[error("the voucher's total {total} is not above the {spent} spent")]
    TotalNotAbove { total: Amount, spent: Amount },
    #[error("the voucher's total {total} is above the deposit {deposit}")]
    TotalAboveDeposit { total: Amount, deposit: Amount },
    #[error("the earnings must add up to {expected}, not {given}")]
    SumMismatch { given: Amount, expected: Amount },
    #[error("the lines add up to {lines_sum}, more than {sum}")]
    LinesAboveSum { lines_sum: Amount, sum: Amount },
    #[error("the message is for batch {given}, not for {expected}")]
    WrongBatch { given: BatchNumber, expected: BatchNumber },
    #[error("the keeper did not sign this acceptance")]
    NotSignedByKeeper,
    #[error("{owed} is not above {highest}, the highest demanded so far")]
    OwedNotAbove { owed: Amount, highest: Amount },
    #[error("the provider has no open challenge")]
    NotChallenged,
    #[error("{amount} is less than the {owed} demanded")]
    AmountBelowOwed { amount: Amount, owed: Amount },
    #[error("the leaf of {amount} in batch {batch} is not proven")]
    LeafNotProven { batch: BatchNumber, amount: Amount },
    #[error("some of the batch has been paid")]
    AlreadyPaid,
    #[error("these are not the leaves of the committed tree")]
    LeavesMismatch,
    #[error("{given} basis points are above the maximum {maximum}")]
    FeeTooHigh { given: u16, maximum: u16 },
    #[error("a minimum bond of {given} is above the maximum {maximum}")]
    MinimumBondTooHigh { given: Amount, maximum: Amount },
    #[error("only the governor may do this")]
    NotGovernor,
    #[error("only guardian and governor may pause")]
    NotGuardian,
    #[error("the token refused to take the amount from its holder")]
    PullFailed,
    #[error("the token refused a payment")]
    PaymentFailed,
    #[error("an amount does not fit")]
    Overflow,
}

impl From<Overflow> for Refusal {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}
