//! The store that an indexer needs.

use crate::fact::{BatchId, Block, Located};
use crate::query::{CandleQuery, Position, TradeFilter};
use crate::row::{AsOf, BatchRow, CandleRows, Change, Counts, Page, ProviderRow, ResourceRow, TradeRow, Wanted};
use alloy::primitives::{Address, B256};
use protocol::amount::Overflow;
use protocol::batch::Lines;
use std::future::Future;

/// What a store belongs to, and the periods by which batches become final. Fixed for the life of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The Settlement contract.
    pub settlement: Address,
    /// W: seconds after its commit at which a batch without open challenges is final.
    pub challenge_period: u64,
    /// How long before its commit a line may have ended: no acceptance of an honest keeper waits longer.
    pub lateness: u64,
}

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No block has been applied yet: ask again.
    #[error("nothing is indexed yet: wait until the first block was read from the chain")]
    Empty,
    /// The database is busy or unreachable: try again.
    #[error("the database did not answer: {0}")]
    Unavailable(String),
    /// The database holds another chain, another deployment, or another version's data.
    #[error("the database belongs to something else: {0}; give this indexer a data folder of its own")]
    Foreign(String),
    /// Blocks came in an order that no chain has.
    #[error("block {got} cannot follow block {newest}")]
    Order {
        /// The newest block stored.
        newest: u64,
        /// The one that came.
        got: u64,
    },
    /// A cursor that this store never gave out.
    #[error("the cursor is not one of this list: start again without it")]
    Cursor,
    /// A sum does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The database holds what this program never writes.
    #[error("the database is damaged: {0}; delete the data folder to index again")]
    Damaged(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Empty | Self::Unavailable(_))
    }
}

/// Everything an indexer writes and reads. Each call is one transaction.
pub trait Store: Clone + Send + Sync + 'static {
    /// The newest applied blocks, oldest first.
    fn recent(&self) -> impl Future<Output = Result<Vec<Block>, StoreError>> + Send;

    /// Adds a block and its facts, and makes final what its clock makes final. The same block again changes nothing.
    fn apply(&self, block: Block, facts: Vec<Located>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes back this block and all above it: the exact inverse of [`Store::apply`].
    fn undo(&self, block: u64) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A keeper's batches that may count and whose lines are not known, oldest first.
    fn wanted(&self, keeper: Address) -> impl Future<Output = Result<Vec<Wanted>, StoreError>> + Send;

    /// Keeps verified lines for good and counts them wherever a batch commits to them. `false` if no batch does.
    fn attach(&self, id: BatchId, lines: &Lines) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Remembers why the lines of a batch do not count yet. `mismatch` says that the keeper published other lines than
    /// it committed to.
    fn complain(
        &self,
        id: BatchId,
        problem: &str,
        mismatch: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest block applied.
    fn as_of(&self) -> impl Future<Output = Result<Block, StoreError>> + Send;

    /// How far the index is.
    fn counts(&self) -> impl Future<Output = Result<AsOf<Counts>, StoreError>> + Send;

    /// All classes of the catalog, by number.
    fn resources(&self) -> impl Future<Output = Result<AsOf<Vec<ResourceRow>>, StoreError>> + Send;

    /// Candles.
    fn candles(&self, query: CandleQuery) -> impl Future<Output = Result<AsOf<CandleRows>, StoreError>> + Send;

    /// Trades, newest first.
    fn trades(
        &self,
        filter: TradeFilter,
        position: Position,
    ) -> impl Future<Output = Result<AsOf<Page<TradeRow>>, StoreError>> + Send;

    /// The trades of one batch from `index` on, in the order of its lines.
    fn trades_of(
        &self,
        id: BatchId,
        index: u32,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<TradeRow>, StoreError>> + Send;

    /// Batches, newest first.
    fn batches(
        &self,
        keeper: Option<Address>,
        position: Position,
    ) -> impl Future<Output = Result<AsOf<Page<BatchRow>>, StoreError>> + Send;

    /// One batch.
    fn batch(&self, id: BatchId) -> impl Future<Output = Result<AsOf<Option<BatchRow>>, StoreError>> + Send;

    /// The lines file of that hash, if it was verified.
    fn file(&self, data_hash: B256) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Providers, by address.
    fn providers(&self, position: Position)
    -> impl Future<Output = Result<AsOf<Page<ProviderRow>>, StoreError>> + Send;

    /// One provider; `None` for an address that neither registered nor earned.
    fn provider(&self, address: Address) -> impl Future<Output = Result<AsOf<Option<ProviderRow>>, StoreError>> + Send;

    /// What happened after the change `after`, oldest first.
    fn changes(&self, after: i64, limit: u32) -> impl Future<Output = Result<Vec<Change>, StoreError>> + Send;

    /// Number of the newest change; 0 before the first.
    fn newest_change(&self) -> impl Future<Output = Result<i64, StoreError>> + Send;
}
