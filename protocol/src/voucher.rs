//! Vouchers and acceptances: how a receipt becomes money.
//!
//! A channel's session key signs a [`Voucher`] for everything the channel has ever spent with a keeper; the keeper
//! answers with an [`Acceptance`] of what the provider is owed in the batch. Both sides keep the same [`Account`] of a
//! channel, and the rules of what may follow are its methods.

use crate::amount::Amount;
use crate::bindings::messages;
use crate::signature::{Domain, Signature, SignatureError, SigningKey};
use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::{SolStruct, SolValue};
use serde::{Deserialize, Serialize};

mod account;

pub use account::{Account, Fees, Payment, VoucherError, most_vouchers};

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

    /// The packed debit that `collect` and `redeem` read: payer, total, allocation hash, signature (124 bytes).
    pub fn to_debit(&self) -> [u8; 124] {
        let mut bytes = [0; 124];
        bytes[..20].copy_from_slice(self.voucher.payer.as_slice());
        bytes[20..28].copy_from_slice(&self.voucher.total.get().to_be_bytes());
        bytes[28..60].copy_from_slice(self.voucher.latest.hash().as_slice());
        bytes[60..].copy_from_slice(&self.signature.0);
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

#[cfg(test)]
mod tests;
