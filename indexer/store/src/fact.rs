//! What the chain says, as data.

use alloy::primitives::{Address, B256};
use protocol::amount::{Amount, Quantity};
use protocol::batch::Commitment;
use protocol::resource::ResourceId;

/// A block whose facts are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time: the clock by which batches become final.
    pub timestamp: u64,
}

/// Names a batch everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    /// Whose batch.
    pub keeper: Address,
    /// Counts from 1.
    pub number: u32,
}

/// A fact and where it stands on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Position of its log in the block.
    pub log_index: u64,
    /// Transaction that emitted it.
    pub transaction: B256,
    /// The fact.
    pub fact: Fact,
}

/// One thing that a contract said and that an indexer keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A keeper fixed a batch.
    BatchCommitted {
        /// Which.
        batch: BatchId,
        /// What it fixed.
        commitment: Commitment,
    },
    /// The keeper has to prove a leaf: the batch is not final before it did.
    Challenged {
        /// Which batch.
        batch: BatchId,
        /// For whom.
        provider: Address,
    },
    /// The keeper proved that leaf.
    Answered {
        /// Which batch.
        batch: BatchId,
        /// For whom.
        provider: Address,
    },
    /// A challenge stayed unanswered.
    BatchVoided {
        /// Which batch.
        batch: BatchId,
    },
    /// A provider registered or changed its record.
    ProviderRecorded {
        /// Who.
        provider: Address,
        /// Where it can be asked.
        endpoint: String,
        /// Hash of its terms.
        terms: B256,
    },
    /// A key signs for a provider from now on, or no longer.
    WorkerChanged {
        /// For whom.
        provider: Address,
        /// The key.
        worker: Address,
        /// Whether it signs from now on.
        added: bool,
    },
    /// A class of compute was added to the catalog.
    ResourceAdded(Class),
    /// A provider received money.
    Paid {
        /// Whom.
        provider: Address,
        /// How much.
        amount: Amount,
        /// By which way.
        way: PaidBy,
    },
}

/// A class of the catalog, as it was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its number.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// What is counted.
    pub unit: String,
    /// Base units in one human unit.
    pub scale: Quantity,
    /// Weight in standard compute units.
    pub scu_weight: Quantity,
}

/// Ways in which money reaches one provider. `distribute` pays a whole batch, names no provider, and is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaidBy {
    /// By `claim`, from a final batch.
    Claim,
    /// By `recover`, from a channel of a keeper that was wound down.
    Recovery,
    /// By `redeem`, from a direct channel.
    Redemption,
}

impl PaidBy {
    /// Its number in a database.
    pub const fn code(self) -> i64 {
        match self {
            Self::Claim => 0,
            Self::Recovery => 1,
            Self::Redemption => 2,
        }
    }
}
