//! What a call leaves in the log.

use super::ChannelKey;
use crate::amount::{Amount, Timestamp};
use crate::voucher::{BatchNumber, ChannelId};
use alloy::primitives::{Address, B256};

/// An event of the contract, with its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's events, which its interface explains")]
pub enum Event {
    ChannelOpened {
        channel: ChannelId,
        payer: Address,
        keeper: Address,
        signer: Address,
        amount: Amount,
        deposit: Amount,
    },
    ChannelClosing {
        channel: ChannelId,
        thaw_at: Timestamp,
    },
    Withdrawn {
        channel: ChannelId,
        amount: Amount,
    },
    Bonded {
        keeper: Address,
        owner: Address,
        amount: Amount,
        bond: Amount,
    },
    Retired {
        keeper: Address,
        retired_at: Timestamp,
    },
    Unbonded {
        keeper: Address,
        amount: Amount,
    },
    BatchFinalized {
        keeper: Address,
        batch: BatchNumber,
    },
    FeesSwept {
        treasury: Address,
        amount: Amount,
    },
    FeeBpsChanged {
        fee_bps: u16,
    },
    MinimumBondChanged {
        minimum_bond: Amount,
    },
    Paused {
        account: Address,
    },
    Unpaused {
        account: Address,
    },
    Collected {
        keeper: Address,
        batch: BatchNumber,
        debits: Amount,
        count: u32,
    },
    BatchCommitted {
        keeper: Address,
        batch: BatchNumber,
        root: B256,
        sum: Amount,
        fee: Amount,
        lines_root: B256,
        lines_sum: Amount,
        line_count: u32,
        data_hash: B256,
    },
    Challenged {
        keeper: Address,
        batch: BatchNumber,
        provider: Address,
        owed: Amount,
        deadline: Timestamp,
    },
    Answered {
        keeper: Address,
        batch: BatchNumber,
        provider: Address,
    },
    BatchVoided {
        keeper: Address,
        batch: BatchNumber,
        provider: Address,
        burned: Amount,
    },
    Lapsed {
        keeper: Address,
        batch: BatchNumber,
        burned: Amount,
    },
    Recovered {
        channel: ChannelId,
        provider: Address,
        batch: BatchNumber,
        amount: Amount,
    },
    BondForfeited {
        keeper: Address,
        provider: Address,
        rewarded: Amount,
        burned: Amount,
    },
    Redeemed {
        channel: ChannelId,
        keeper: Address,
        amount: Amount,
        fee: Amount,
    },
    Claimed {
        keeper: Address,
        provider: Address,
        amount: Amount,
        payments: Vec<(BatchNumber, Amount)>,
    },
    Distributed {
        keeper: Address,
        batch: BatchNumber,
        amount: Amount,
    },
}

impl Event {
    pub(super) fn withdrawn(key: &ChannelKey, amount: Amount) -> Self {
        Self::Withdrawn { channel: key.id(), amount }
    }
}
