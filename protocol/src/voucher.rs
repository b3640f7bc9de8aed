//! Vouchers and acceptances: how a receipt becomes money.
//!
//! A channel's session key signs a [`Voucher`] for everything the channel has ever spent with a keeper; the keeper
//! answers with an [`Acceptance`] of what the provider is owed in the batch. Both sides keep the same [`Account`] of a
//! channel, and the rules of what may follow are its methods.

use crate::amount::{Amount, BASIS_POINTS, Overflow};
use crate::bindings::messages;
use crate::signature::{Domain, Signature, SignatureError, SigningKey};
use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::{SolStruct, SolValue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of a keeper's batch, from 1; 0 marks the vouchers of a direct channel.
pub type BatchNumber = u32;

/// `keccak256(abi.encode(payer, signer, keeper))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub B256);

impl ChannelId {
    /// The channel that `payer` funded, whose session key is `signer`, with `keeper`.
    pub fn of(payer: Address, signer: Address, keeper: Address) -> Self {
        Self(keccak256((payer, signer, keeper).abi_encode()))
    }
}

impl std::fmt::Display for ChannelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The newest part of a voucher: who earned what, for which receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allocation {
    /// Who is paid.
    pub provider: Address,
    /// That provider's earnings in this channel and this batch (direct: the channel's total).
    pub earned: Amount,
    /// Struct hash of the receipt paid for.
    pub receipt: B256,
}

/// What a session key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Voucher {
    /// Who funded the channel.
    pub payer: Address,
    /// The keeper; in a direct channel the provider.
    pub keeper: Address,
    /// The keeper's batch; 0 in a direct channel.
    pub batch: BatchNumber,
    /// All that the channel has spent with this keeper, fees included, over all batches.
    pub total: Amount,
    /// What changed last.
    pub latest: Allocation,
}

/// What a keeper signs once a voucher is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acceptance {
    /// Struct hash of the voucher.
    pub voucher: B256,
    /// Who is owed.
    pub provider: Address,
    /// In which batch.
    pub batch: BatchNumber,
    /// The provider's earnings with this keeper in this batch over all channels.
    pub owed: Amount,
}

impl Allocation {
    /// The message as Solidity declares it.
    pub fn message(&self) -> messages::Allocation {
        messages::Allocation { provider: self.provider, earned: self.earned.get(), receipt: self.receipt }
    }

    /// Its struct hash, which a debit carries on chain.
    pub fn hash(&self) -> B256 {
        self.message().eip712_hash_struct()
    }
}

impl Voucher {
    /// The message as Solidity declares it.
    pub fn message(&self) -> messages::Voucher {
        messages::Voucher {
            payer: self.payer,
            keeper: self.keeper,
            batch: self.batch,
            total: self.total.get(),
            latest: self.latest.message(),
        }
    }

    /// Its struct hash, which an acceptance names.
    pub fn hash(&self) -> B256 {
        self.message().eip712_hash_struct()
    }
}

impl Acceptance {
    /// The message as Solidity declares it.
    pub fn message(&self) -> messages::Acceptance {
        messages::Acceptance {
            voucher: self.voucher,
            provider: self.provider,
            batch: self.batch,
            owed: self.owed.get(),
        }
    }

    /// Its struct hash.
    pub fn hash(&self) -> B256 {
        self.message().eip712_hash_struct()
    }
}

/// A voucher with its session key's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedVoucher {
    /// What is paid.
    pub voucher: Voucher,
    /// By the channel's session key.
    pub signature: Signature,
}

/// An acceptance with its keeper's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedAcceptance {
    /// What is owed.
    pub acceptance: Acceptance,
    /// By the keeper.
    pub signature: Signature,
}

/// A voucher with its acceptance: what a provider counts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Accepted {
    /// The session key's promise.
    pub voucher: SignedVoucher,
    /// The keeper's.
    pub acceptance: SignedAcceptance,
}

impl SignedVoucher {
    /// Signs a voucher.
    pub fn sign(voucher: Voucher, domain: &Domain, session: &SigningKey) -> Self {
        Self { voucher, signature: session.sign(domain.digest(voucher.hash())) }
    }

    /// The session key that signed.
    pub fn signer(&self, domain: &Domain) -> Result<Address, SignatureError> {
        self.signature.recover(domain.digest(self.voucher.hash()))
    }

    /// The packed debit that `collect` reads: payer, total, allocation hash, signature (124 bytes).
    pub fn to_debit(&self) -> [u8; 124] {
        let mut bytes = [0; 124];
        bytes[..20].copy_from_slice(self.voucher.payer.as_slice());
        bytes[20..28].copy_from_slice(&self.voucher.total.get().to_be_bytes());
        bytes[28..60].copy_from_slice(self.voucher.latest.hash().as_slice());
        bytes[60..].copy_from_slice(&self.signature.0);
        bytes
    }

    /// The packed voucher that `redeem` reads: payer, keeper, total, allocation hash, signature (144 bytes).
    pub fn to_redemption(&self) -> [u8; 144] {
        let mut bytes = [0; 144];
        bytes[..20].copy_from_slice(self.voucher.payer.as_slice());
        bytes[20..40].copy_from_slice(self.voucher.keeper.as_slice());
        bytes[40..48].copy_from_slice(&self.voucher.total.get().to_be_bytes());
        bytes[48..80].copy_from_slice(self.voucher.latest.hash().as_slice());
        bytes[80..].copy_from_slice(&self.signature.0);
        bytes
    }
}

impl SignedAcceptance {
    /// Signs an acceptance.
    pub fn sign(acceptance: Acceptance, domain: &Domain, keeper: &SigningKey) -> Self {
        Self { acceptance, signature: keeper.sign(domain.digest(acceptance.hash())) }
    }

    /// The packed acceptance that `challenge` reads: voucher, provider, batch, owed, signature (128 bytes).
    pub fn to_challenge(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[..32].copy_from_slice(self.acceptance.voucher.as_slice());
        bytes[32..52].copy_from_slice(self.acceptance.provider.as_slice());
        bytes[52..56].copy_from_slice(&self.acceptance.batch.to_be_bytes());
        bytes[56..64].copy_from_slice(&self.acceptance.owed.get().to_be_bytes());
        bytes[64..].copy_from_slice(&self.signature.0);
        bytes
    }
}

impl Accepted {
    /// The packed item that `recover` reads (228 bytes).
    pub fn to_recovery(&self) -> [u8; 228] {
        let voucher = &self.voucher.voucher;
        let mut bytes = [0; 228];
        bytes[..20].copy_from_slice(voucher.payer.as_slice());
        bytes[20..24].copy_from_slice(&voucher.batch.to_be_bytes());
        bytes[24..32].copy_from_slice(&voucher.total.get().to_be_bytes());
        bytes[32..52].copy_from_slice(voucher.latest.provider.as_slice());
        bytes[52..60].copy_from_slice(&voucher.latest.earned.get().to_be_bytes());
        bytes[60..92].copy_from_slice(voucher.latest.receipt.as_slice());
        bytes[92..156].copy_from_slice(&self.voucher.signature.0);
        bytes[156..164].copy_from_slice(&self.acceptance.acceptance.owed.get().to_be_bytes());
        bytes[164..].copy_from_slice(&self.acceptance.signature.0);
        bytes
    }

    /// Whether the two belong together: same voucher, provider and batch, and at least what this channel owes.
    pub fn is_consistent(&self) -> bool {
        let (voucher, acceptance) = (&self.voucher.voucher, &self.acceptance.acceptance);
        acceptance.voucher == voucher.hash()
            && acceptance.provider == voucher.latest.provider
            && acceptance.batch == voucher.batch
            && acceptance.owed >= voucher.latest.earned
    }
}

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

#[cfg(test)]
mod tests;
