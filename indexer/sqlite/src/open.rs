//! Opening the file, and the store's interface over it.

use crate::codec::{to_address, to_i64, to_u64};
use crate::fault::Fault;
use crate::{attach, read, write};
use alloy::primitives::{Address, B256};
use indexer_store::fact::{BatchId, Block, Located};
use indexer_store::query::{CandleQuery, Position, TradeFilter};
use indexer_store::row::{
    AsOf, BatchRow, CandleRows, Change, Counts, Page, ProviderRow, ResourceRow, TradeRow, Wanted,
};
use indexer_store::store::{Scheme, Store, StoreError};
use protocol::batch::Lines;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use std::path::Path;
use std::time::Duration;

/// How long a call waits for another's transaction.
const BUSY: Duration = Duration::from_secs(5);
/// Connections that read at the same time.
const READERS: u32 = 8;

/// An index in one SQLite file. Clones share it.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    scheme: Scheme,
}

impl SqliteStore {
    /// Opens the file at `path`, making it if there is none, for one deployment.
    pub async fn open(path: &Path, scheme: Scheme) -> Result<Self, StoreError> {
        Self::connect(path, scheme).await.map_err(StoreError::from)
    }

    async fn connect(path: &Path, scheme: Scheme) -> Result<Self, Fault> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(false)
            .busy_timeout(BUSY);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        sqlx::migrate!().run(&writer).await.map_err(|error| StoreError::Foreign(error.to_string()))?;
        adopt(&writer, &scheme).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { writer, readers, scheme })
    }

    pub(crate) const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Waits for its turn to write: two writers would fail on each other's locks.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, Fault> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Whatever is read in one transaction is true as of one block.
    async fn read(&self) -> Result<Transaction<'static, Sqlite>, Fault> {
        Ok(self.readers.begin().await?)
    }
}

/// Writes the deployment into a new file, and refuses a file of another one.
async fn adopt(writer: &SqlitePool, scheme: &Scheme) -> Result<(), Fault> {
    let (chain_id, settlement) = (to_i64(scheme.chain_id), scheme.settlement.as_slice());
    let (period, lateness) = (to_i64(scheme.challenge_period), to_i64(scheme.lateness));
    sqlx::query!(
        "INSERT INTO scheme (only_row, chain_id, settlement, challenge_period, lateness) VALUES (1, $1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
        chain_id,
        settlement,
        period,
        lateness,
    )
    .execute(writer)
    .await?;
    let row =
        sqlx::query!("SELECT chain_id, settlement, challenge_period, lateness FROM scheme").fetch_one(writer).await?;
    let stored = Scheme {
        chain_id: to_u64(row.chain_id),
        settlement: to_address(&row.settlement)?,
        challenge_period: to_u64(row.challenge_period),
        lateness: to_u64(row.lateness),
    };
    if stored == *scheme {
        return Ok(());
    }
    let text = format!("it indexes Settlement {} on chain {}", stored.settlement, stored.chain_id);
    Err(StoreError::Foreign(text).into())
}

/// Runs `$body` in a write transaction and commits it.
macro_rules! writing {
    ($self:ident, $tx:ident, $body:expr) => {{
        let mut $tx = $self.write().await?;
        let value = $body.await?;
        $tx.commit().await.map_err(Fault::from)?;
        Ok(value)
    }};
}

/// Runs `$body` in a read transaction, together with the block that it is true of.
macro_rules! reading {
    ($self:ident, $tx:ident, $body:expr) => {{
        let mut $tx = $self.read().await?;
        let block = read::as_of(&mut $tx).await?;
        let data = $body.await?;
        Ok(AsOf { block, data })
    }};
}

impl Store for SqliteStore {
    async fn recent(&self) -> Result<Vec<Block>, StoreError> {
        let mut tx = self.read().await?;
        Ok(read::recent(&mut tx).await?)
    }

    async fn apply(&self, block: Block, facts: Vec<Located>) -> Result<(), StoreError> {
        writing!(self, tx, write::apply(&mut tx, self.scheme(), block, &facts))
    }

    async fn undo(&self, block: u64) -> Result<(), StoreError> {
        writing!(self, tx, write::undo(&mut tx, block))
    }

    async fn wanted(&self, keeper: Address) -> Result<Vec<Wanted>, StoreError> {
        let mut tx = self.read().await?;
        Ok(read::wanted(&mut tx, keeper).await?)
    }

    async fn attach(&self, id: BatchId, lines: &Lines) -> Result<bool, StoreError> {
        writing!(self, tx, attach::attach(&mut tx, self.scheme(), id, lines))
    }

    async fn complain(&self, id: BatchId, problem: &str, mismatch: bool) -> Result<(), StoreError> {
        writing!(self, tx, attach::complain(&mut tx, id, problem, mismatch))
    }

    async fn as_of(&self) -> Result<Block, StoreError> {
        let mut tx = self.read().await?;
        Ok(read::as_of(&mut tx).await?)
    }

    async fn counts(&self) -> Result<AsOf<Counts>, StoreError> {
        reading!(self, tx, read::counts(&mut tx))
    }

    async fn resources(&self) -> Result<AsOf<Vec<ResourceRow>>, StoreError> {
        reading!(self, tx, read::resources(&mut tx))
    }

    async fn candles(&self, query: CandleQuery) -> Result<AsOf<CandleRows>, StoreError> {
        reading!(self, tx, read::candles(&mut tx, self.scheme(), query))
    }

    async fn trades(&self, filter: TradeFilter, position: Position) -> Result<AsOf<Page<TradeRow>>, StoreError> {
        reading!(self, tx, read::trades(&mut tx, filter, &position))
    }

    async fn trades_of(&self, id: BatchId, index: u32, limit: u32) -> Result<Vec<TradeRow>, StoreError> {
        let mut tx = self.read().await?;
        Ok(read::trades_of(&mut tx, id, index, limit).await?)
    }

    async fn batches(&self, keeper: Option<Address>, position: Position) -> Result<AsOf<Page<BatchRow>>, StoreError> {
        reading!(self, tx, read::batches(&mut tx, keeper, &position))
    }

    async fn batch(&self, id: BatchId) -> Result<AsOf<Option<BatchRow>>, StoreError> {
        reading!(self, tx, read::batch(&mut tx, id))
    }

    async fn file(&self, data_hash: B256) -> Result<Option<Vec<u8>>, StoreError> {
        let mut tx = self.read().await?;
        Ok(read::file(&mut tx, data_hash).await?)
    }

    async fn providers(&self, position: Position) -> Result<AsOf<Page<ProviderRow>>, StoreError> {
        reading!(self, tx, read::providers(&mut tx, &position))
    }

    async fn provider(&self, address: Address) -> Result<AsOf<Option<ProviderRow>>, StoreError> {
        reading!(self, tx, read::provider(&mut tx, address))
    }

    async fn changes(&self, after: i64, limit: u32) -> Result<Vec<Change>, StoreError> {
        let mut tx = self.read().await?;
        Ok(read::changes(&mut tx, after, limit).await?)
    }

    async fn newest_change(&self) -> Result<i64, StoreError> {
        let mut tx = self.read().await?;
        Ok(read::newest_change(&mut tx).await?)
    }
}
