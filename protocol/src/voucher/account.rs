//! The account of a channel, which both sides keep: what has been spent, and which voucher may follow.

use super::{Allocation, BatchNumber, Voucher};
use crate::amount::{Amount, BASIS_POINTS, Overflow};
use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is paid on top of a provider's earnings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fees {
    /// The protocol's share of every debit, in basis points, for the batch being filled.
    pub protocol_bps: u16,
    /// The keeper's share of earnings, in basis points.
    pub keeper_bps: u16,
    /// The keeper's fee for collecting the channel: once per channel and batch, with its first voucher.
    pub per_channel: Amount,
}

impl Fees {
    /// The fees of a direct channel: only the protocol's.
    pub const fn direct(protocol_bps: u16) -> Self {
        Self { protocol_bps, keeper_bps: 0, per_channel: Amount::ZERO }
    }

    /// By how much `total` must rise so that the provider earns `increase`: the least `t` with
    /// `t - ceil(t * protocolBps / 10000) >= increase + keeper's fee`.
    pub fn gross(&self, increase: Amount, first_in_batch: bool) -> Result<Amount, Overflow> {
        let mut net = increase.plus(increase.share_up(self.keeper_bps)?)?;
        if first_in_batch {
            net = net.plus(self.per_channel)?;
        }
        let rest = BASIS_POINTS - u64::from(self.protocol_bps).min(BASIS_POINTS - 1);
        let gross = (u128::from(net.get()) * u128::from(BASIS_POINTS)).div_ceil(u128::from(rest));
        u64::try_from(gross).map(Amount).map_err(|_| Overflow { operation: "adding fees to an amount" })
    }

    /// The most that can be earned when `total` may rise by `allowance`; the inverse of [`Self::gross`].
    pub fn net(&self, allowance: Amount, first_in_batch: bool) -> Amount {
        let (mut low, mut high) = (0u64, allowance.get());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let fits = self.gross(Amount(middle), first_in_batch).is_ok_and(|gross| gross <= allowance);
            if fits { low = middle } else { high = middle - 1 }
        }
        Amount(low)
    }

    /// The most that a job may earn so that all its vouchers together stay within `max_total`: each of them may round its
    /// fees up, and each batch that the job reaches into takes the fee for collecting the channel once.
    pub fn cap(&self, max_total: Amount, vouchers: u64, batches: u64) -> Amount {
        let per_channel = self.gross(Amount::ZERO, true).unwrap_or(Amount(u64::MAX)).get();
        let slack = vouchers.saturating_mul(self.rounding()).saturating_add(batches.saturating_mul(per_channel));
        self.net(Amount(max_total.get().saturating_sub(slack)), true)
    }

    /// Nano by which rounding can raise a voucher above its share of the fees: once where the protocol takes one, and
    /// where the keeper does, by what that rounds up and by the fee on it.
    fn rounding(&self) -> u64 {
        u64::from(self.protocol_bps > 0) + 2 * u64::from(self.keeper_bps > 0)
    }
}

/// Vouchers of a job that is billed every `interval_ms` and stopped after `run_ms`, at most: one an interval, one at the
/// end, and one for an interval that had begun.
pub const fn most_vouchers(run_ms: u64, interval_ms: u64) -> u64 {
    let interval = if interval_ms == 0 { 1 } else { interval_ms };
    (run_ms / interval).saturating_add(2)
}

/// What both sides know of a channel: the sum of its vouchers so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Account {
    /// Total of the newest accepted voucher; before the first, what the chain says was spent.
    pub total: Amount,
    /// Batch of the newest accepted voucher; 0 before the first and in a direct channel.
    pub batch: BatchNumber,
    /// Earnings per provider in that batch (in a direct channel: ever).
    pub earned: BTreeMap<Address, Amount>,
}

/// Why a voucher does not follow from its account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherError {
    /// Signed for a batch other than the one being filled. The client signs again for `expected`, with the same total.
    #[error("the voucher is for batch {found}, the one being filled is {expected}: sign it again for {expected}")]
    WrongBatch {
        /// Batch being filled.
        expected: BatchNumber,
        /// The voucher's.
        found: BatchNumber,
    },
    /// The total does not rise by the increase and all fees.
    #[error("the voucher's total is {found} nano, it must be at least {least}")]
    TotalTooLow {
        /// Least total.
        least: Amount,
        /// The voucher's.
        found: Amount,
    },
    /// The channel is used up.
    #[error("the voucher's total of {total} nano is above the channel's deposit of {deposit}: top the channel up")]
    OverDeposit {
        /// The voucher's total.
        total: Amount,
        /// What the channel holds.
        deposit: Amount,
    },
    /// `earned` is not the last value for this provider and batch plus the increase.
    #[error("the voucher allocates {found} nano to the provider, it must be {expected}")]
    WrongEarned {
        /// Last value plus increase.
        expected: Amount,
        /// The voucher's.
        found: Amount,
    },
    /// Another receipt, provider, payer or keeper.
    #[error("the voucher names another {0} than the one to be paid")]
    Mismatch(&'static str),
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// What a voucher has to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// Who funded the channel.
    pub payer: Address,
    /// With whom.
    pub keeper: Address,
    /// Batch being filled; 0 in a direct channel.
    pub batch: BatchNumber,
    /// Who is paid.
    pub provider: Address,
    /// By how much the provider's earnings rise.
    pub increase: Amount,
    /// Struct hash of the receipt.
    pub receipt: B256,
}

impl Account {
    /// The account of a channel that has no voucher yet.
    pub fn new(spent: Amount) -> Self {
        Self { total: spent, ..Self::default() }
    }

    /// Whether a voucher of `batch` is the channel's first in it, which pays the keeper's collection fee.
    pub const fn is_first_in(&self, batch: BatchNumber) -> bool {
        self.batch < batch
    }

    /// A provider's earnings in `batch`; they restart from zero in each.
    pub fn earned_in(&self, batch: BatchNumber, provider: Address) -> Amount {
        if self.batch == batch { self.earned.get(&provider).copied().unwrap_or_default() } else { Amount::ZERO }
    }

    /// The voucher that pays exactly `payment` and its fees.
    pub fn next(&self, payment: &Payment, fees: &Fees) -> Result<Voucher, Overflow> {
        let first = self.is_first_in(payment.batch);
        Ok(Voucher {
            payer: payment.payer,
            keeper: payment.keeper,
            batch: payment.batch,
            total: self.total.plus(fees.gross(payment.increase, first)?)?,
            latest: Allocation {
                provider: payment.provider,
                earned: self.earned_in(payment.batch, payment.provider).plus(payment.increase)?,
                receipt: payment.receipt,
            },
        })
    }

    /// Checks that `voucher` pays `payment` and all fees and stays within `deposit`. It may pay more, never less.
    pub fn check(
        &self,
        voucher: &Voucher,
        payment: &Payment,
        fees: &Fees,
        deposit: Amount,
    ) -> Result<(), VoucherError> {
        for (same, name) in [
            (voucher.payer == payment.payer, "payer"),
            (voucher.keeper == payment.keeper, "keeper"),
            (voucher.latest.provider == payment.provider, "provider"),
            (voucher.latest.receipt == payment.receipt, "receipt"),
        ] {
            if !same {
                return Err(VoucherError::Mismatch(name));
            }
        }
        if voucher.batch != payment.batch || voucher.batch < self.batch {
            return Err(VoucherError::WrongBatch { expected: payment.batch, found: voucher.batch });
        }
        let expected = self.next(payment, fees)?;
        if voucher.latest.earned != expected.latest.earned {
            return Err(VoucherError::WrongEarned { expected: expected.latest.earned, found: voucher.latest.earned });
        }
        if voucher.total < expected.total {
            return Err(VoucherError::TotalTooLow { least: expected.total, found: voucher.total });
        }
        if voucher.total > deposit {
            return Err(VoucherError::OverDeposit { total: voucher.total, deposit });
        }
        Ok(())
    }

    /// Counts an accepted voucher.
    pub fn apply(&mut self, voucher: &Voucher) {
        if voucher.batch != self.batch {
            self.earned.clear();
        }
        self.batch = voucher.batch;
        self.total = voucher.total;
        self.earned.insert(voucher.latest.provider, voucher.latest.earned);
    }
}
