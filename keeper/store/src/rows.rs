//! The rows.

use alloy::primitives::{Address, B256};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::batch::{Commitment, Line};
use protocol::job::{Blob, Kind};
use protocol::order::{JobId, SignedOffer, SignedOrder};
use protocol::receipt::Receipt;
use protocol::voucher::{Accepted, Account, BatchNumber, ChannelId};
use protocol::wire::{BatchState, JobState, Refusal};

/// Whose database this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The Settlement contract.
    pub settlement: Address,
    /// The keeper.
    pub keeper: Address,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "keeper {} at Settlement {} on chain {}", self.keeper, self.settlement, self.chain_id)
    }
}

/// An offer that rests in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOffer {
    /// Order of arrival, shared with jobs: time priority.
    pub sequence: u64,
    /// Struct hash.
    pub id: B256,
    /// The offer as signed.
    pub signed: SignedOffer,
    /// What is left of its capacity.
    pub remaining: Quantity,
}

/// With whom a job was matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// The offer.
    pub offer: B256,
    /// The price.
    pub price: Price,
    /// The provider.
    pub provider: Address,
    /// The worker key that runs it.
    pub worker: Address,
}

/// What accepted vouchers have paid for a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paid {
    /// Sequence of the newest receipt paid; 0 before the first.
    pub sequence: u64,
    /// The provider's earnings up to it.
    pub amount: Amount,
    /// Billed base units up to it.
    pub quantity: Quantity,
    /// What the channel was debited for it, fees included.
    pub debited: Amount,
}

/// A job, from its order to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Order of arrival, shared with offers: time priority.
    pub sequence: u64,
    /// Hash of the order.
    pub id: JobId,
    /// The order as signed.
    pub order: SignedOrder,
    /// Which channel pays.
    pub channel: ChannelId,
    /// The channel's session key.
    pub signer: Address,
    /// Kind of program.
    pub kind: Kind,
    /// Its memory limit, in bytes.
    pub memory: Quantity,
    /// How many GPUs of one worker it needs.
    pub devices: u32,
    /// Most that the provider may bill.
    pub cap: Amount,
    /// Where it stands.
    pub state: JobState,
    /// With whom, once matched.
    pub matched: Option<Matched>,
    /// The newest receipt.
    pub newest: Option<Receipt>,
    /// The outputs behind the result.
    pub outputs: Vec<Blob>,
    /// What is paid.
    pub paid: Paid,
    /// Why it ends without a result.
    pub failure: Option<Refusal>,
    /// Why it waits, for people.
    pub reason: Option<String>,
    /// When the order came in.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Job {
    /// What the provider has earned by the newest receipt.
    pub fn earned(&self) -> Amount {
        self.newest.as_ref().map_or(Amount::ZERO, |receipt| receipt.statement.amount)
    }

    /// Whether a receipt waits for a voucher: one that bills more than is paid, or the last one.
    pub fn is_unpaid(&self) -> bool {
        self.newest.as_ref().is_some_and(|receipt| {
            let said = &receipt.statement;
            said.sequence > self.paid.sequence && (said.amount > self.paid.amount || said.is_final())
        })
    }

    /// What stays reserved of its channel while it is open.
    pub fn reserved(&self) -> Amount {
        if self.state.is_terminal() {
            return Amount::ZERO;
        }
        // A client may pay more than it has to, so the debits of a job can exceed its order.
        self.order.order.max_total.minus(self.paid.debited).unwrap_or_default()
    }
}

/// Which jobs to list; `None` is any.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobFilter {
    /// Whose channel pays.
    pub payer: Option<Address>,
    /// Which session key ordered.
    pub signer: Option<Address>,
}

/// A channel that has ordered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Which.
    pub id: ChannelId,
    /// Who funded it.
    pub payer: Address,
    /// Its session key.
    pub signer: Address,
    /// Sum of its vouchers.
    pub account: Account,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Counts from 1.
    pub number: BatchNumber,
    /// Where it stands.
    pub state: BatchState,
    /// All that clients are debited in it.
    pub debits: Amount,
    /// Number of vouchers accepted in it.
    pub vouchers: u64,
    /// When the first of them was.
    pub first_at: Option<Timestamp>,
    /// What goes on chain; known before the commit is sent.
    pub prepared: Option<Prepared>,
    /// The transaction of its commit.
    pub transaction: Option<B256>,
    /// Gas of all its collects and its commit.
    pub gas: Option<u64>,
    /// When it was committed.
    pub committed_at: Option<Timestamp>,
}

impl Batch {
    /// An empty batch that takes vouchers.
    pub const fn filling(number: BatchNumber) -> Self {
        Self {
            number,
            state: BatchState::Filling,
            debits: Amount::ZERO,
            vouchers: 0,
            first_at: None,
            prepared: None,
            transaction: None,
            gas: None,
            committed_at: None,
        }
    }
}

/// What a batch's trees are built from besides its rows, and what came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// Debits that the chain holds for it after its last collect.
    pub debits: Amount,
    /// Its protocol fee rate on chain.
    pub fee_bps: u16,
    /// What is committed to.
    pub commitment: Commitment,
}

/// Everything that one accepted voucher changes, as values after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The voucher with its acceptance.
    pub accepted: Accepted,
    /// What it debits.
    pub debit: Amount,
    /// The paying channel.
    pub channel: Channel,
    /// The job paid for.
    pub job: Job,
    /// The batch it belongs to.
    pub batch: Batch,
    /// The job's usage line in that batch.
    pub line: Line,
}
