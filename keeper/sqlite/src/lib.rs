//! The keeper's store in SQLite.
//!
//! One connection writes, several read. The log is flushed at every commit (`synchronous = FULL`), because an
//! acceptance that left the keeper must not be forgotten in a power cut. Every statement is checked against the
//! migrations when this crate is compiled.

#![warn(missing_docs)]

mod batches;
mod column;
mod jobs;
mod ledger;
mod offers;
mod transactions;

use alloy::primitives::{Address, B256};
use column::unavailable;
use keeper_store::{Batch, Channel, Entry, Identity, Job, JobFilter, Store, StoreError, StoredOffer};
use protocol::amount::{Amount, Quantity, Timestamp};
use protocol::batch::Line;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::voucher::{Accepted, BatchNumber, ChannelId, SignedVoucher};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

type Result<T> = std::result::Result<T, StoreError>;

/// How long a connection waits for a lock that another process holds, such as a backup.
const BUSY: Duration = Duration::from_secs(5);
/// Connections that read.
const READERS: u32 = 4;

/// A keeper's store in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, creates it where there is none, and brings its tables up to date.
    pub async fn connect(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writer =
            SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(unavailable)?;
        sqlx::migrate!().run(&writer).await.map_err(StoreError::corrupt)?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(unavailable)?;
        Ok(Self { writer, reader })
    }

    async fn claim_identity(&self, identity: &Identity) -> Result<()> {
        let chain_id = column::integer(identity.chain_id, "the chain id")?;
        let (settlement, keeper) = (identity.settlement.as_slice(), identity.keeper.as_slice());
        sqlx::query!(
            "INSERT INTO identity (one, chain_id, settlement, keeper) VALUES (1, $1, $2, $3) ON CONFLICT DO NOTHING",
            chain_id,
            settlement,
            keeper
        )
        .execute(&self.writer)
        .await
        .map_err(unavailable)?;
        let row = sqlx::query!("SELECT chain_id, settlement, keeper FROM identity WHERE one = 1")
            .fetch_one(&self.writer)
            .await
            .map_err(unavailable)?;
        let found = Identity {
            chain_id: column::unsigned(row.chain_id)?,
            settlement: column::address(&row.settlement)?,
            keeper: column::address(&row.keeper)?,
        };
        if found == *identity {
            Ok(())
        } else {
            Err(StoreError::Foreign { expected: identity.to_string(), found: found.to_string() })
        }
    }
}

impl Store for SqliteStore {
    async fn claim(&self, identity: &Identity) -> Result<()> {
        self.claim_identity(identity).await
    }

    async fn last_sequence(&self) -> Result<u64> {
        offers::last_sequence(&self.reader).await
    }

    async fn put_offer(&self, offer: &StoredOffer) -> Result<()> {
        let mut connection = self.writer.acquire().await.map_err(unavailable)?;
        offers::put(&mut connection, offer).await
    }

    async fn drop_offers_before(&self, now: Timestamp) -> Result<()> {
        offers::drop_before(&self.writer, now).await
    }

    async fn offers(&self) -> Result<Vec<StoredOffer>> {
        offers::all(&self.reader).await
    }

    async fn put_job(&self, job: &Job, left: Option<(B256, Quantity)>) -> Result<()> {
        let mut transaction = self.writer.begin().await.map_err(unavailable)?;
        jobs::put(&mut transaction, job).await?;
        if let Some((offer, remaining)) = left {
            offers::put_remaining(&mut transaction, offer, remaining).await?;
        }
        transaction.commit().await.map_err(unavailable)
    }

    async fn put_receipt(&self, job: &Job, receipt: &Receipt) -> Result<()> {
        let mut transaction = self.writer.begin().await.map_err(unavailable)?;
        jobs::put(&mut transaction, job).await?;
        jobs::put_receipt(&mut transaction, job.sequence, receipt).await?;
        transaction.commit().await.map_err(unavailable)
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        jobs::one(&self.reader, id).await
    }

    async fn open_jobs(&self) -> Result<Vec<Job>> {
        jobs::open(&self.reader).await
    }

    async fn jobs(&self, filter: JobFilter, limit: u32) -> Result<Vec<Job>> {
        jobs::list(&self.reader, filter, limit).await
    }

    async fn receipt(&self, job: JobId, hash: B256) -> Result<Option<Receipt>> {
        jobs::receipt(&self.reader, job, hash).await
    }

    async fn channel(&self, id: ChannelId) -> Result<Option<Channel>> {
        ledger::channel(&self.reader, id).await
    }

    async fn put_channel(&self, channel: &Channel) -> Result<()> {
        let mut connection = self.writer.acquire().await.map_err(unavailable)?;
        ledger::put_channel(&mut connection, channel).await
    }

    async fn accept(&self, entry: &Entry) -> Result<()> {
        let mut transaction = self.writer.begin().await.map_err(unavailable)?;
        ledger::accept(&mut transaction, entry).await?;
        transaction.commit().await.map_err(unavailable)
    }

    async fn newest_accepted(&self, channel: ChannelId) -> Result<Option<Accepted>> {
        ledger::newest_accepted(&self.reader, channel).await
    }

    async fn accepted_for(&self, job: JobId) -> Result<Option<Accepted>> {
        ledger::accepted_for(&self.reader, job).await
    }

    async fn batch(&self, number: BatchNumber) -> Result<Option<Batch>> {
        batches::one(&self.reader, number).await
    }

    async fn batches(&self, limit: u32) -> Result<Vec<Batch>> {
        batches::newest(&self.reader, limit).await
    }

    async fn put_batch(&self, batch: &Batch) -> Result<()> {
        let mut connection = self.writer.acquire().await.map_err(unavailable)?;
        batches::put(&mut connection, batch).await
    }

    async fn close_batch(&self, closed: &Batch, next: &Batch) -> Result<()> {
        let mut transaction = self.writer.begin().await.map_err(unavailable)?;
        batches::put(&mut transaction, closed).await?;
        batches::put(&mut transaction, next).await?;
        transaction.commit().await.map_err(unavailable)
    }

    async fn debits(&self, number: BatchNumber) -> Result<Vec<(ChannelId, SignedVoucher)>> {
        batches::debits(&self.reader, number).await
    }

    async fn owed(&self, number: BatchNumber) -> Result<BTreeMap<Address, Amount>> {
        batches::owed(&self.reader, number).await
    }

    async fn lines(&self, number: BatchNumber) -> Result<Vec<Line>> {
        batches::lines(&self.reader, number).await
    }
}
