//! What a provider checks before it counts an acceptance as money. Pure: the facts are read elsewhere.
//!
//! PROTOCOL.md section 9, rule by rule, with the function that checks it and the test that shows it:
//!
//! | rule | checked by | shown by |
//! | --- | --- | --- |
//! | both signatures, of this channel's session key and of this keeper | `check_parties` | `each_party_must_be_the_right_one`, `the_pair_must_belong_together` |
//! | itself as provider | `check_parties` | `each_party_must_be_the_right_one` |
//! | its own receipt | [`Facts::receipt`], read by hash from its own ledger | `a_receipt_that_is_not_ours_pays_nothing` |
//! | deposit at the safe head, `total <= deposit` | `check_chain`; `Market::channel` reads both heads | `the_channel_must_hold_it_safely_and_stay_open`, `pay/limits.rs` |
//! | not closing, at the newest block | [`check_standing`] | the same |
//! | keeper Active: bonded at the safe head, not at its end at the newest block, not late | [`check_standing`]; `Market::keeper` | `the_keeper_must_be_active_and_in_time` |
//! | the open batch, if not committed, or the next | [`KeeperFacts::takes`] | `the_batch_must_be_the_open_one_or_the_next` |
//! | `earned` rose by the increase | [`check`]: what it rose by less is not counted as paid | `a_receipt_is_paid_as_far_as_earned_rose` |
//! | `owed` covers all channels, and rises with `earned` | [`check`] | `owed_must_cover_every_channel`, `owed_never_loses_what_other_workers_earned` |
//! | the channel can pay it: `total` less what has left it covers all that it owes | `check_chain` | `a_total_must_cover_what_is_owed_beside_what_was_paid_out` |
//! | the newest pair of each channel and batch is kept | `Ledger::credit` | `an_older_pair_never_replaces_a_newer_one` |
//! | stops on a close, retirement, late commit or full limit | `KeeperLink::standing`, before a job and in every interval | `pay/keeper_path.rs`, `pay/limits.rs` |
//! | after a commit: a proof of at least `owed`, or a challenge, by `committedAt + D` | `watch::follow`; `watch::answer` finds a proof that is shown on chain only | `a_keeper_that_hides_its_proofs_is_challenged_and_wound_down` |
//! | `void`, `lapse`, `recover` in time | `watch::{follow, recover}` | `pay/keeper_path.rs`, `pay/recovery.rs` |
//!
//! **Several workers of one provider** each see their own channels only. A keeper that lies together with a client can
//! show the same rise of `earned` to each of them; `owed` is then at least what each of them has seen, not their sum. So
//! the limits of trust are per worker, and a provider with *n* workers at one keeper risks *n* times `limits.keeper`. An
//! honest keeper counts all workers in one order, and nothing is lost.

use crate::ledger::Assignment;
use alloy::primitives::Address;
use protocol::amount::{Amount, Overflow};
use protocol::receipt::Statement;
use protocol::signature::{Domain, SignatureError};
use protocol::voucher::{Accepted, BatchNumber, ChannelId};
use protocol::wire::Code;

/// A channel, as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelFacts {
    /// Its deposit, as far as it is at the safe head and at the newest block.
    pub deposit: Amount,
    /// Its deposit at the newest block.
    pub held: Amount,
    /// What the chain counts as spent, at the newest block.
    pub spent: Amount,
    /// The same at the safe head.
    pub safe_spent: Amount,
    /// What has left it for good, at the newest block: nothing of that can pay for anything else.
    pub settled: Amount,
    /// Whether it is closing, at the newest block or at the safe head.
    pub closing: bool,
}

/// A keeper, as the chain has it at its newest block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperFacts {
    /// Whether its bond stands, at the safe head as well, and it has not announced its end.
    pub active: bool,
    /// Whether its next commit is overdue, so that anybody may wind it down.
    pub late: bool,
    /// Its first batch that is not final.
    pub batch: BatchNumber,
    /// Whether that batch is committed already.
    pub committed: bool,
}

impl KeeperFacts {
    /// Whether vouchers of `batch` can still be collected: the open batch, or the one after it.
    pub fn takes(&self, batch: BatchNumber) -> bool {
        Some(batch) == self.batch.checked_add(1) || (batch == self.batch && !self.committed)
    }
}

/// Everything that an acceptance is held against.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Where signatures count.
    pub domain: &'a Domain,
    /// Whose worker this is.
    pub provider: Address,
    /// The job, as matched.
    pub assignment: &'a Assignment,
    /// The own receipt that the voucher names; `None` where there is none.
    pub receipt: Option<&'a Statement>,
    /// What was paid of the job before.
    pub paid: Amount,
    /// The newest `earned` of this channel and batch.
    pub earned: Amount,
    /// The `owed` that came with it.
    pub owed: Amount,
    /// What this channel has earned in the batches before this one that are not final.
    pub pending: Amount,
    /// The sum of the newest `earned` over all other channels in this batch.
    pub elsewhere: Amount,
    /// The keeper on chain.
    pub keeper: &'a KeeperFacts,
    /// The channel on chain.
    pub channel: &'a ChannelFacts,
    /// Whether the batch is committed already and a leaf of at least `owed` is proven under its root. That is more
    /// than any promise, so nothing else of the chain matters then.
    pub proven: bool,
}

/// Why an acceptance is not counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptanceError {
    /// Voucher and acceptance do not belong together.
    #[error("the acceptance does not belong to its voucher")]
    Inconsistent,
    /// It pays somebody else.
    #[error("the voucher names another {0}")]
    Mismatch(&'static str),
    /// It names no receipt of this job.
    #[error("the voucher pays for a receipt that this worker did not write")]
    UnknownReceipt,
    /// Another key signed.
    #[error("the {part} is not signed as it must be: {source}")]
    Signature {
        /// `voucher` or `acceptance`.
        part: &'static str,
        /// What was wrong.
        source: SignatureError,
    },
    /// The channel does not hold that much at the safe head (yet).
    #[error("the voucher's total of {total} nano is above the {deposit} that the channel safely holds")]
    OverDeposit {
        /// The voucher's total.
        total: Amount,
        /// Deposit at the safe head.
        deposit: Amount,
    },
    /// The client is taking its money back.
    #[error("the channel is closing")]
    Closing,
    /// The keeper is not Active.
    #[error("the keeper is not active")]
    KeeperNotActive,
    /// The keeper has missed its heartbeat.
    #[error("the keeper's commit is overdue: it can be wound down at any moment")]
    KeeperLate,
    /// The chain does not take, or not yet take, this batch.
    #[error("the voucher is for batch {found}; on chain, batch {open} is the first that is not final")]
    WrongBatch {
        /// First batch not final on chain.
        open: BatchNumber,
        /// The voucher's.
        found: BatchNumber,
    },
    /// It allocates less than a voucher before it.
    #[error("the voucher allocates {found} nano to the provider, an earlier one of this batch allocates {least}")]
    EarnedTooLow {
        /// The last value.
        least: Amount,
        /// The voucher's.
        found: Amount,
    },
    /// It allocates more than the channel has ever spent, so the channel cannot stand for it.
    #[error("the voucher allocates {earned} nano to the provider, more than its total of {total}")]
    EarnedAboveTotal {
        /// The voucher's total.
        total: Amount,
        /// What it allocates.
        earned: Amount,
    },
    /// The channel has paid out, or owes elsewhere, so much that its total does not cover this as well.
    #[error("the voucher's total of {total} nano covers {covered} of the {wanted} that the channel owes the provider")]
    NotCovered {
        /// The voucher's total.
        total: Amount,
        /// What of it is not paid out.
        covered: Amount,
        /// What the channel owes the provider in batches that are not final.
        wanted: Amount,
    },
    /// The keeper promises less than it has accepted.
    #[error("the keeper owes {found} nano in this batch, its acceptances add up to {least}")]
    OwedTooLow {
        /// Sum of the newest `earned` over all channels.
        least: Amount,
        /// The acceptance's.
        found: Amount,
    },
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl AcceptanceError {
    /// Whether a newer look at the chain may change the answer.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::OverDeposit { .. } | Self::WrongBatch { .. } | Self::NotCovered { .. } | Self::KeeperLate)
    }

    /// The reason a job ends with it.
    pub const fn code(&self) -> Code {
        match self {
            Self::Closing => Code::ChannelClosing,
            Self::OverDeposit { .. } | Self::NotCovered { .. } => Code::InsufficientFunds,
            Self::KeeperNotActive | Self::KeeperLate => Code::Unsupported,
            _ => Code::BadVoucher,
        }
    }
}

/// Checks an acceptance; returns what is paid of the job with it, all in all.
///
/// The receipt is paid as far as `earned` rose. It may rise by more than this worker expects, because another worker of
/// the provider may have earned in the same channel. Where it rises by less, an acceptance of an earlier batch was
/// missed, and what is short still counts as unaccepted.
pub fn check(accepted: &Accepted, facts: &Facts<'_>) -> Result<Amount, AcceptanceError> {
    let receipt = facts.receipt.ok_or(AcceptanceError::UnknownReceipt)?;
    check_parties(accepted, facts)?;
    let voucher = &accepted.voucher.voucher;
    if voucher.latest.earned > voucher.total {
        return Err(AcceptanceError::EarnedAboveTotal { total: voucher.total, earned: voucher.latest.earned });
    }
    if !facts.proven {
        check_chain(accepted, facts)?;
    }
    let increase = receipt.amount.minus(receipt.amount.min(facts.paid))?;
    let (least, found) = (facts.earned, voucher.latest.earned);
    let rise = found.minus(least).map_err(|_| AcceptanceError::EarnedTooLow { least, found })?;
    let owed = accepted.acceptance.acceptance.owed;
    // The keeper counts the provider's earnings in one serial order, and a channel's vouchers are in order: so `owed`
    // rises with `earned` at least, and what other workers of the provider have earned cannot fall out of it again.
    let least = facts.elsewhere.plus(voucher.latest.earned)?.max(facts.owed.plus(rise)?);
    if owed < least {
        return Err(AcceptanceError::OwedTooLow { least, found: owed });
    }
    Ok(facts.paid.plus(increase.min(rise))?)
}

/// Who signed what, and whom it pays.
fn check_parties(accepted: &Accepted, facts: &Facts<'_>) -> Result<(), AcceptanceError> {
    let voucher = &accepted.voucher.voucher;
    let (keeper, payer) = (facts.assignment.keeper, facts.assignment.order.order.payer);
    if !accepted.is_consistent() {
        return Err(AcceptanceError::Inconsistent);
    }
    for (same, name) in [
        (voucher.latest.provider == facts.provider, "provider"),
        (voucher.keeper == keeper, "keeper"),
        (voucher.payer == payer, "payer"),
    ] {
        if !same {
            return Err(AcceptanceError::Mismatch(name));
        }
    }
    let signature = |part| move |source| AcceptanceError::Signature { part, source };
    let signer = accepted.voucher.signer(facts.domain).map_err(signature("voucher"))?;
    if ChannelId::of(voucher.payer, signer, keeper) != facts.assignment.channel {
        return Err(AcceptanceError::Mismatch("channel"));
    }
    let acceptance = &accepted.acceptance;
    acceptance
        .signature
        .verify(facts.domain.digest(acceptance.acceptance.hash()), keeper)
        .map_err(signature("acceptance"))
}

/// What the chain says of channel, keeper and batch.
fn check_chain(accepted: &Accepted, facts: &Facts<'_>) -> Result<(), AcceptanceError> {
    let voucher = &accepted.voucher.voucher;
    check_standing(facts.keeper, facts.channel)?;
    if voucher.total > facts.channel.deposit {
        return Err(AcceptanceError::OverDeposit { total: voucher.total, deposit: facts.channel.deposit });
    }
    if !facts.keeper.takes(voucher.batch) {
        return Err(AcceptanceError::WrongBatch { open: facts.keeper.batch, found: voucher.batch });
    }
    // `recover` pays out of what the channel has spent and not paid out yet, for all batches that are not final.
    let covered = Amount(voucher.total.get().saturating_sub(facts.channel.settled.get()));
    let wanted = facts.pending.plus(voucher.latest.earned)?;
    if wanted > covered {
        return Err(AcceptanceError::NotCovered { total: voucher.total, covered, wanted });
    }
    Ok(())
}

/// Whether work for this channel and keeper may go on at all.
pub fn check_standing(keeper: &KeeperFacts, channel: &ChannelFacts) -> Result<(), AcceptanceError> {
    if channel.closing {
        return Err(AcceptanceError::Closing);
    }
    if !keeper.active {
        return Err(AcceptanceError::KeeperNotActive);
    }
    if keeper.late {
        return Err(AcceptanceError::KeeperLate);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
