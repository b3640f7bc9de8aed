//! What a store answers with.

use crate::candle::Candle;
use crate::fact::{BatchId, Block, Class};
use crate::trade::{Finality, Trade};
use alloy::primitives::{Address, B256};
use protocol::amount::Price;
use protocol::batch::Commitment;

/// An answer, and the block as of which it is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf<T> {
    /// The newest block applied.
    pub block: Block,
    /// The answer.
    pub data: T,
}

impl<T> AsOf<T> {
    /// The same block with something made of the answer.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> AsOf<U> {
        AsOf { block: self.block, data: make(self.data) }
    }
}

/// Part of a list, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Key of the last item, if there are more.
    pub next: Option<Vec<u8>>,
}

/// Whether a batch's lines are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinesState {
    /// Not fetched yet; says why, if a fetch failed.
    Missing(Option<String>),
    /// What was fetched is not what was committed.
    Mismatch(String),
    /// Fetched and equal to the commitment: they count.
    Verified,
}

/// A committed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// Which.
    pub id: BatchId,
    /// What is on chain.
    pub commitment: Commitment,
    /// Block of the commit.
    pub block: u64,
    /// Position of its log.
    pub log_index: u64,
    /// Its transaction.
    pub transaction: B256,
    /// Its time.
    pub committed_at: u64,
    /// Where it stands.
    pub finality: Finality,
    /// Challenges not yet answered.
    pub open_challenges: u32,
    /// Whether its lines are known.
    pub lines: LinesState,
}

impl BatchRow {
    /// Its key in lists: block and log of its commit.
    pub fn key(&self) -> Vec<u8> {
        [self.block.to_be_bytes(), self.log_index.to_be_bytes()].concat()
    }
}

/// A trade and where its batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradeRow {
    /// The trade.
    pub trade: Trade,
    /// Of its batch.
    pub finality: Finality,
}

/// A class of the catalog and its newest price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRow {
    /// The class.
    pub class: Class,
    /// The newest counted trade, pending or proven.
    pub last: Option<LastPrice>,
}

/// The newest price of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastPrice {
    /// The price.
    pub price: Price,
    /// When.
    pub at: u64,
    /// Of its batch.
    pub finality: Finality,
}

/// What a provider's verified lines add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Earned, in nano.
    pub amount: u128,
    /// Lines.
    pub lines: u64,
    /// Lines that carry a result, so jobs that were finished.
    pub finished: u64,
}

/// What reached a provider, in nano, by each way that names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Payments {
    /// By `claim`.
    pub claimed: u128,
    /// By `recover`.
    pub recovered: u128,
    /// By `redeem`.
    pub redeemed: u128,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRow {
    /// Its address.
    pub address: Address,
    /// Where it can be asked; `None` for one that earned without being registered.
    pub endpoint: Option<String>,
    /// Hash of its terms.
    pub terms: Option<B256>,
    /// Keys that sign for it now.
    pub workers: Vec<Address>,
    /// By proven lines.
    pub proven: Totals,
    /// By pending and proven lines.
    pub all: Totals,
    /// What it received.
    pub payments: Payments,
}

/// A candle and where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandleRow {
    /// Start of its stretch of time.
    pub start: u64,
    /// The candle.
    pub candle: Candle,
}

/// Candles of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandleRows {
    /// Oldest first.
    pub rows: Vec<CandleRow>,
    /// Candles that end by then are proven and never change again.
    pub settled_before: u64,
    /// Start of the next candle that was left out, if the limit cut some off.
    pub next_start: Option<u64>,
}

/// How far the index is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Batches in their challenge window.
    pub pending: u64,
    /// Final batches.
    pub proven: u64,
    /// Void batches.
    pub void: u64,
    /// Batches that count, or may count, and whose lines are not known.
    pub lines_missing: u64,
}

/// A batch whose lines are to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub id: BatchId,
    /// What the lines have to match.
    pub commitment: Commitment,
}

/// Something that changed, in the order in which this indexer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Counts up, and is never used twice.
    pub id: i64,
    /// What happened.
    pub kind: ChangeKind,
    /// To which batch.
    pub batch: BatchId,
}

/// What can happen to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was committed.
    Committed,
    /// Its lines were verified: its trades can be read.
    Verified,
    /// It became final.
    Proven,
    /// It was voided.
    Voided,
    /// The chain took its commit, or its becoming final or void, back.
    Reverted,
}

impl ChangeKind {
    /// Its number in a database.
    pub const fn code(self) -> i64 {
        match self {
            Self::Committed => 0,
            Self::Verified => 1,
            Self::Proven => 2,
            Self::Voided => 3,
            Self::Reverted => 4,
        }
    }

    /// The one of that number.
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Committed),
            1 => Some(Self::Verified),
            2 => Some(Self::Proven),
            3 => Some(Self::Voided),
            4 => Some(Self::Reverted),
            _ => None,
        }
    }
}
