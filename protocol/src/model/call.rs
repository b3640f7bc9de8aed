//! What can be asked of the settlement, as data.

use crate::amount::{Amount, Timestamp};
use crate::tree::{Node, Proof};
use crate::voucher::{Acceptance, BatchNumber, Voucher};
use alloy::primitives::{Address, B256};

/// A message and the address whose key signed it; `None` stands for bytes that are no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<M> {
    /// What was signed.
    pub message: M,
    /// By whom.
    pub by: Option<Address>,
}

/// A voucher with its acceptance, for `recover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The session key's promise.
    pub voucher: Signed<Voucher>,
    /// The keeper's.
    pub acceptance: Signed<Acceptance>,
}

/// One batch's leaf and proof, for `claim`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimItem {
    /// The batch.
    pub batch: BatchNumber,
    /// What the leaf credits.
    pub amount: Amount,
    /// That it is in the tree.
    pub proof: Proof,
}

/// What `commit` fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    /// Root and sum of the earnings.
    pub earnings: Node,
    /// Root and sum of the usage lines.
    pub lines: Node,
    /// How many lines there are.
    pub line_count: u32,
    /// Hash of the published data.
    pub data_hash: B256,
}

/// A function of the contract with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the parameters of the functions that the variants name")]
pub enum Call {
    /// Funds the caller's channel.
    Open { signer: Address, keeper: Address, amount: Amount },
    /// Starts a withdrawal.
    Close { signer: Address, keeper: Address },
    /// Takes back what is left.
    Withdraw { signer: Address, keeper: Address },
    /// Posts a bond.
    Bond { amount: Amount, owner: Address },
    /// Announces a keeper's end.
    Retire { keeper: Address },
    /// Takes the bond back.
    Unbond { keeper: Address },
    /// Debits channels.
    Collect { vouchers: Vec<Signed<Voucher>> },
    /// Fixes a batch.
    Commit { commitment: Commitment },
    /// Demands a proof.
    Challenge { keeper: Address, acceptance: Signed<Acceptance> },
    /// Gives it.
    Answer { keeper: Address, provider: Address, amount: Amount, proof: Proof },
    /// Winds down a keeper that did not.
    Void { keeper: Address, provider: Address },
    /// Winds down a silent keeper.
    Lapse { keeper: Address },
    /// Pays providers from the channels of a wound-down keeper.
    Recover { keeper: Address, pairs: Vec<Pair> },
    /// Pays a direct channel's provider.
    Redeem { keeper: Address, vouchers: Vec<Signed<Voucher>> },
    /// Pays a whole batch.
    Distribute { keeper: Address, batch: BatchNumber, leaves: Vec<(Address, Amount)> },
    /// Pays a provider's earnings of many batches.
    Claim { keeper: Address, provider: Address, items: Vec<ClaimItem> },
    /// Pays the treasury.
    SweepFees,
    /// Sets the fee rate.
    SetFeeBps { fee_bps: u16 },
    /// Sets the least first bond.
    SetMinimumBond { minimum_bond: Amount },
    /// Stops `open` and `bond`.
    Pause,
    /// Ends that.
    Unpause,
}

/// A call at a moment by somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Time of the block.
    pub now: Timestamp,
    /// Who sends it.
    pub caller: Address,
    /// What it asks.
    pub call: Call,
}

impl Step {
    /// The keeper that the call is about; `None` for those that concern all.
    pub fn keeper(&self) -> Option<Address> {
        match &self.call {
            Call::Open { keeper, .. }
            | Call::Close { keeper, .. }
            | Call::Withdraw { keeper, .. }
            | Call::Retire { keeper }
            | Call::Unbond { keeper }
            | Call::Challenge { keeper, .. }
            | Call::Answer { keeper, .. }
            | Call::Void { keeper, .. }
            | Call::Lapse { keeper }
            | Call::Recover { keeper, .. }
            | Call::Redeem { keeper, .. }
            | Call::Distribute { keeper, .. }
            | Call::Claim { keeper, .. } => Some(*keeper),
            Call::Bond { .. } | Call::Collect { .. } | Call::Commit { .. } => Some(self.caller),
            Call::SweepFees | Call::SetFeeBps { .. } | Call::SetMinimumBond { .. } | Call::Pause | Call::Unpause => {
                None
            }
        }
    }
}

impl Call {
    /// The function's name in the contract.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Close { .. } => "close",
            Self::Withdraw { .. } => "withdraw",
            Self::Bond { .. } => "bond",
            Self::Retire { .. } => "retire",
            Self::Unbond { .. } => "unbond",
            Self::Collect { .. } => "collect",
            Self::Commit { .. } => "commit",
            Self::Challenge { .. } => "challenge",
            Self::Answer { .. } => "answer",
            Self::Void { .. } => "void",
            Self::Lapse { .. } => "lapse",
            Self::Recover { .. } => "recover",
            Self::Redeem { .. } => "redeem",
            Self::Distribute { .. } => "distribute",
            Self::Claim { .. } => "claim",
            Self::SweepFees => "sweepFees",
            Self::SetFeeBps { .. } => "setFeeBps",
            Self::SetMinimumBond { .. } => "setMinimumBond",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }
}
